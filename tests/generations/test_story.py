"""The story of one generation, from order to end, in one process."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tallyframe.errors import FAILURE_POLICY, FailureCode
from tallyframe.generations.end.sweep import sweep
from tallyframe.providers.base import Answer, Call, Task
from tallyframe.providers.offline import OfflineProvider
from tests.support.cast import Member
from tests.support.working import Bench


async def test_an_image_is_ordered_made_and_charged_once(alice: Member, bench: Bench) -> None:
    answer = await alice.http.post("/v1/projects", json={"kind": "image", "prompt": "a red cup"})

    assert answer.status_code == 202
    pending = answer.json()
    assert answer.headers["location"] == f"/v1/projects/{pending['id']}"
    assert answer.headers["retry-after"] == "2"
    assert (pending["status"], pending["is_generating"], pending["image_url"]) == ("pending", True, None)
    assert pending["generation"]["credits"] == {"quoted": 5, "charged": 5, "refunded": 0}
    assert await alice.available() == 15

    assert await bench.drain() == ["succeeded"]

    draft = await alice.project(pending["id"])
    assert (draft["status"], draft["is_generating"], draft["error"]) == ("draft", False, None)
    assert draft["status_sequence"] > pending["status_sequence"]
    assert draft["generation"]["status"] == "succeeded"
    assert (draft["generation"]["step"], draft["generation"]["attempt"]) == ("completed", 1)
    assert (draft["generation"]["provider"], draft["generation"]["model"]) == ("offline", "offline-1")
    output = draft["generation"]["outputs"][0]
    assert draft["image_url"] == output["url"]
    picture = await alice.http.get(draft["image_url"])
    assert picture.headers["content-type"] == "image/png"
    assert len(picture.content) == output["bytes"]
    assert await alice.available() == 15


async def test_a_video_of_a_project_starts_from_its_image(alice: Member, bench: Bench) -> None:
    project = await alice.order(aspect_ratio="1:1")
    await bench.drain()

    answer = await alice.http.post(f"/v1/projects/{project['id']}/video", json={"duration_seconds": 1})
    assert answer.status_code == 202
    assert answer.json()["image_url"] is not None
    assert await bench.drain() == ["snoozed", "succeeded"]

    done = await alice.project(project["id"])
    assert done["video_url"] is not None
    assert done["image_url"] is not None
    video = done["generation"]["outputs"][0]
    assert (video["content_type"], video["width"], video["height"]) == ("video/mp4", 720, 720)
    assert video["duration_seconds"] == pytest.approx(1.0)
    assert done["generation"]["attempt"] == 1
    assert await alice.available() == 5


@pytest.mark.parametrize("code", list(FailureCode))
async def test_each_failure_refunds_once_and_says_what_to_do(alice: Member, bench: Bench, code: FailureCode) -> None:
    project = await alice.order(f"[fail:{code.value}] a cup")
    assert await bench.drain() == ["failed"]

    failed = await alice.project(project["id"])
    fault, retryable, _ = FAILURE_POLICY[code]
    assert failed["status"] == "failed"
    assert (failed["error"]["code"], failed["error"]["fault"], failed["error"]["retryable"]) == (
        code.value,
        fault,
        retryable,
    )
    assert failed["error"]["message"]
    assert failed["generation"]["credits"] == {"quoted": 5, "charged": 5, "refunded": 5}
    assert await alice.available() == 20
    assert [entry["kind"] for entry in await alice.entries()] == ["refund", "debit", "grant"]


async def test_a_flaky_provider_is_tried_again_and_charged_once(alice: Member, bench: Bench) -> None:
    project = await alice.order("[flaky:2] a cup")
    assert await bench.drain() == ["retried", "retried", "succeeded"]

    done = await alice.project(project["id"])
    assert (done["status"], done["generation"]["attempt"]) == ("draft", 3)
    assert await alice.available() == 15


async def test_retries_end(alice: Member, bench: Bench) -> None:
    bench.settings = bench.settings.replaced(max_retries=1)
    await alice.order("[flaky:9] a cup")
    assert await bench.drain() == ["retried", "failed"]
    assert await alice.available() == 20


async def test_a_waiting_generation_is_a_row_and_not_a_worker(alice: Member, bench: Bench, owner: Any) -> None:
    await alice.order("[delay:1] a cup")
    runner = bench.runner()
    [generation_id] = await bench.due()
    assert await runner.run(generation_id) == "snoozed"

    row = await owner.fetchrow("SELECT status, lease_until, wake_at FROM generations")
    assert (row["status"], row["lease_until"]) == ("processing", None)
    assert row["wake_at"] is not None
    assert await runner.run(generation_id) == "not_taken"
    assert "succeeded" in await bench.drain()


async def test_cancel_refunds_and_the_late_worker_changes_nothing(alice: Member, bench: Bench, owner: Any) -> None:
    project = await alice.order("[hang:1] a cup")
    [generation_id] = await bench.due()
    running = asyncio.create_task(bench.runner().run(generation_id))
    await asyncio.sleep(0.3)

    canceled = await alice.http.post(f"/v1/projects/{project['id']}/cancel")
    assert canceled.status_code == 200
    assert (canceled.json()["status"], canceled.json()["error"]["code"]) == ("canceled", "canceled")
    assert await alice.available() == 20

    assert await running == "claim_lost"
    again = await alice.http.post(f"/v1/projects/{project['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "not_cancelable")
    assert await alice.available() == 20
    assert await owner.fetchval("SELECT count(*) FROM assets") == 0


async def test_a_result_that_came_after_the_claim_was_lost_is_delivered_by_the_next_run(
    alice: Member, bench: Bench, owner: Any
) -> None:
    project = await alice.order("a cup")
    runner = bench.runner()
    storage = runner.dependencies.storages.current
    original = storage.put

    async def put(key: str, data: bytes, content_type: str) -> None:
        await original(key, data, content_type)
        await owner.execute("UPDATE generations SET fence = fence + 1, lease_until = now() - interval '1 second'")

    storage.put = put  # type: ignore[method-assign]
    [generation] = await bench.due()
    assert await runner.run(generation) == "claim_lost"
    assert await owner.fetchval("SELECT state FROM generation_steps") == "orphaned"
    assert await runner.run(generation) == "succeeded"
    assert [tuple(row) for row in await owner.fetch("SELECT attempt, state FROM generation_steps")] == [(1, "done")]
    assert (await alice.project(project["id"]))["status"] == "draft"


async def test_a_success_after_the_refund_is_kept_as_an_orphan(alice: Member, bench: Bench, owner: Any) -> None:
    project = await alice.order("a cup")

    class CanceledMeanwhile(OfflineProvider):
        async def start(self, task: Task, call: Call) -> Answer:
            made = await super().start(task, call)
            original = bench_runner.dependencies.storages.current.put

            async def put(key: str, data: bytes, content_type: str) -> None:
                await original(key, data, content_type)
                await alice.http.post(f"/v1/projects/{project['id']}/cancel")

            bench_runner.dependencies.storages.current.put = put  # type: ignore[method-assign]
            return made

    bench_runner = bench.with_provider(CanceledMeanwhile())
    patient = replace(bench_runner.limits, lease_seconds=300, heartbeat_seconds=60)
    assert await bench.drain(replace(bench_runner, limits=patient)) == ["claim_lost"]
    assert await owner.fetchval("SELECT state FROM generation_steps") == "orphaned"
    assert await alice.available() == 20
    assert (await alice.project(project["id"]))["status"] == "canceled"


async def test_what_is_too_old_expires_with_a_refund(alice: Member, bench: Bench, owner: Any) -> None:
    project = await alice.order("[delay:60] a cup")
    await bench.runner().run((await bench.due())[0])
    await owner.execute("UPDATE generations SET expires_at = now()")

    assert (await sweep(bench.db))[1] == 1
    assert (await sweep(bench.db))[1] == 0
    expired = await alice.project(project["id"])
    assert (expired["status"], expired["error"]["code"]) == ("failed", "expired")
    assert await alice.available() == 20


async def test_a_zombie_that_wakes_after_its_lease_changes_nothing(alice: Member, bench: Bench, owner: Any) -> None:
    project = await alice.order("[hang:1] a cup")
    [generation_id] = await bench.due()
    limits = bench.runner().limits
    frozen = replace(bench.runner(), worker="zombie", limits=replace(limits, lease_seconds=60, heartbeat_seconds=50))
    zombie = asyncio.create_task(frozen.run(generation_id))
    await asyncio.sleep(0.3)
    await owner.execute("UPDATE generations SET lease_until = now() - interval '1 second'")
    assert await bench.runner().run(generation_id) == "succeeded"

    assert await zombie == "claim_lost"
    done = await alice.project(project["id"])
    assert (done["status"], done["generation"]["attempt"]) == ("draft", 2)
    assert await alice.available() == 15
    states = await owner.fetch("SELECT state FROM generation_steps ORDER BY attempt")
    assert [row["state"] for row in states] == ["in_doubt", "done"]


async def test_a_bug_ends_one_generation_and_not_the_worker(alice: Member, bench: Bench) -> None:
    class Broken(OfflineProvider):
        async def start(self, task: Task, call: Call) -> Answer:
            raise ZeroDivisionError(task.prompt)

    project = await alice.order("a secret prompt")
    assert await bench.drain(bench.with_provider(Broken())) == ["failed"]
    failed = await alice.project(project["id"])
    assert failed["error"]["code"] == "internal"
    assert "secret" not in failed["error"]["message"]
    assert await alice.available() == 20


async def test_a_poison_pill_ends_after_its_attempts(alice: Member, bench: Bench, owner: Any) -> None:
    await alice.order()
    await owner.execute("UPDATE generations SET attempt = 20")
    assert await bench.drain() == ["failed"]
    assert await alice.available() == 20


async def test_a_worker_asked_to_stop_hands_over(alice: Member, bench: Bench) -> None:
    await alice.order("[hang:2] a cup")
    [generation_id] = await bench.due()
    task = asyncio.create_task(bench.runner().run(generation_id))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.due() == [generation_id]  # and at once: nobody waits for the lease
    assert await bench.runner().run(generation_id) == "succeeded"
    assert await alice.available() == 15


async def test_regenerate_places_the_same_order_and_pays_again(alice: Member, bench: Bench) -> None:
    project = await alice.order("a cup", aspect_ratio="4:5")
    await bench.drain()
    answer = await alice.http.post(f"/v1/projects/{project['id']}/regenerate")
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    busy = await alice.http.post(f"/v1/projects/{project['id']}/regenerate")
    assert (busy.status_code, busy.json()["code"]) == (409, "generating")
    await bench.drain()
    receipts = (await alice.http.get(f"/v1/projects/{project['id']}/generations")).json()["data"]
    assert [receipt["status"] for receipt in receipts] == ["succeeded", "succeeded"]
    assert await alice.available() == 10


async def test_a_project_with_an_image_stays_a_draft_when_its_video_fails(alice: Member, bench: Bench) -> None:
    project = await alice.order()
    await bench.drain()
    await alice.http.post(f"/v1/projects/{project['id']}/video", json={"prompt": "[fail:content_policy]"})
    await bench.drain()
    after = await alice.project(project["id"])
    assert (after["status"], after["error"]["code"]) == ("draft", "content_policy")
    assert after["image_url"]
    assert await alice.available() == 15


async def test_storage_that_fails_for_good_refunds(
    alice: Member, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallyframe.generations.steps.results.STORE_RETRIES", (0.0,))
    bench.settings = bench.settings.replaced(max_retries=0)
    media = bench.settings.server.data_dir / "media"
    media.parent.mkdir(parents=True)
    media.write_text("a file where the folder should be")
    project = await alice.order()
    assert await bench.drain() == ["failed"]
    assert (await alice.project(project["id"]))["error"]["code"] == "storage_unavailable"
    assert await alice.available() == 20
