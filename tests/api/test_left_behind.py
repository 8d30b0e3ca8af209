"""Files and rows stay together, whatever answer got lost and whoever died in between."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tallyframe.api import orders
from tallyframe.assets import rows
from tallyframe.errors import Unavailable
from tallyframe.generations.accept.submit import submit
from tallyframe.generations.end import settle
from tallyframe.generations.end.erase import Subject, erase
from tallyframe.generations.steps.rows import StepRows
from tallyframe.generations.tables import ERASE_PROJECT
from tallyframe.settings import Settings
from tallyframe.storages.base import StorageError
from tallyframe.storages.local import LocalStorage
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.remains import problem
from tests.support.working import Bench


def files(settings: Settings) -> list[Path]:
    return [path for path in (settings.server.data_dir / "media").rglob("*") if path.is_file()]


async def test_a_picture_whose_answer_was_lost_after_the_commit_keeps_its_file(
    alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = rows.keep

    async def cut_off(*given: Any) -> None:
        await keep(*given)
        raise Unavailable

    monkeypatch.setattr(rows, "keep", cut_off)
    upload = {"files": {"file": ("a.png", picture(), "image/png")}, "headers": {"Idempotency-Key": "a key"}}
    answer = await alice.http.post("/v1/assets", **upload)  # type: ignore[arg-type]  # as httpx takes them
    assert answer.status_code == 201  # the key tells that it was kept all the same
    assert (await alice.http.get(urlsplit(answer.json()["url"]).path)).status_code == 200


FORM: dict[str, Any] = {
    "data": {"kind": "image", "prompt": "a cup"},
    "files": [("images", picture()), ("images", picture((0, 0, 255)))],
}


@pytest.mark.parametrize("blow", [StorageError("full"), asyncio.CancelledError()])
async def test_an_order_whose_second_picture_cannot_be_stored_leaves_no_file(
    alice: Member, settings: Settings, monkeypatch: pytest.MonkeyPatch, blow: BaseException
) -> None:
    put, tries = LocalStorage.put, list[str]()

    async def every_second_fails(storage: LocalStorage, key: str, data: bytes, content_type: str) -> None:
        tries.append(key)
        if len(tries) % 2 == 0:
            raise blow
        await put(storage, key, data, content_type)

    monkeypatch.setattr(LocalStorage, "put", every_second_fails)
    for _ in range(3):
        with suppress(asyncio.CancelledError):
            problem(await alice.http.post("/v1/projects", **FORM), 503, "unavailable")
    assert (len(tries), files(settings)) == (6, [])
    assert await alice.available() == 20


async def test_an_order_whose_answer_was_lost_after_the_commit_keeps_its_pictures(
    alice: Member, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*given: Any) -> None:
        await submit(*given)
        raise Unavailable

    monkeypatch.setattr(orders, "submit", cut_off)
    answer = await alice.http.post("/v1/projects", headers={"Idempotency-Key": "a key"}, **FORM)
    assert answer.status_code == 202, answer.text
    assert len(files(settings)) == 2


async def test_with_a_project_goes_what_an_attempt_has_stored_that_never_said_so(
    alice: Member, bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await alice.order()
    runner = bench.runner()

    async def dies(*given: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(StepRows, "finish", dies)
        claim = await runner.claim_next()
        assert claim is not None
        with pytest.raises(asyncio.CancelledError):
            await runner.run_claimed(claim)
    assert await bench.drain() == ["succeeded"]
    assert len(files(settings)) == 2
    assert (await alice.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
    assert files(settings) == []


async def test_with_a_project_goes_what_was_stored_when_it_was_canceled(
    alice: Member, bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step is done, and the generation is not a success: nobody has been told of the file."""
    project, real = await alice.order(), settle.succeed

    async def cancel_first(*given: Any) -> bool:
        await alice.http.post(f"/v1/projects/{project['id']}/cancel")
        return await real(*given)

    monkeypatch.setattr(settle, "succeed", cancel_first)
    assert await bench.drain() == ["claim_lost"]
    assert len(files(settings)) == 1
    assert (await alice.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
    assert files(settings) == []


async def test_with_a_project_goes_what_a_worker_stores_that_was_frozen_until_it_was_erased(
    alice: Member, bench: Bench, owner: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await alice.order()
    runner = bench.runner()
    frozen = replace(runner, limits=replace(runner.limits, lease_seconds=300, heartbeat_seconds=60))
    storage, froze, thawed = runner.dependencies.storages.current, asyncio.Event(), asyncio.Event()
    put = storage.put

    async def put_late(key: str, data: bytes, content_type: str) -> None:
        froze.set()
        await thawed.wait()
        await put(key, data, content_type)

    monkeypatch.setattr(storage, "put", put_late)
    run = asyncio.create_task(frozen.run((await bench.due())[0]))
    await froze.wait()
    await alice.http.post(f"/v1/projects/{project['id']}/cancel")
    assert (await alice.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
    # The worker may never say what it has stored: so the project is erased once more, when it must be done with it.
    assert await owner.fetchval("SELECT due_at > now() + interval '9 min' FROM outbox WHERE kind LIKE 'erase%'")
    thawed.set()
    assert await run == "claim_lost"
    assert len(files(settings)) == 1

    [again] = await owner.fetch("SELECT ref FROM outbox WHERE kind = 'erase_project_files'")
    await erase(bench.db, runner.dependencies.storages.by_name, Subject(again["ref"], ERASE_PROJECT))
    assert files(settings) == []
    left = (
        "SELECT (SELECT count(*) FROM erased_files) + (SELECT count(*) FROM outbox WHERE kind = 'erase_project_files')"
    )
    assert await owner.fetchval(left) == 0


async def test_erasing_with_the_storage_away_is_left_for_the_next_ring(
    alice: Member, bench: Bench, owner: Any, settings: Settings
) -> None:
    project = await alice.order()
    assert await bench.drain() == ["succeeded"]
    media = settings.server.data_dir / "media"
    aside = media.rename(media.with_name("aside"))
    media.touch()
    assert (await alice.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
    await bench.handle("erase_project_files", UUID(project["id"]))
    assert await owner.fetchval("SELECT count(*) FROM outbox WHERE kind = 'erase_project_files'") == 1
    media.unlink()
    aside.rename(media)
    await bench.handle("erase_project_files", UUID(project["id"]))
    assert files(settings) == []
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_project_that_is_not_deleted_is_not_erased(alice: Member, bench: Bench, settings: Settings) -> None:
    project = await alice.order("a red cup")
    await bench.drain()
    before = await alice.project(project["id"])
    await erase(bench.db, bench.runner().dependencies.storages.by_name, Subject(UUID(project["id"]), ERASE_PROJECT))
    assert await alice.project(project["id"]) == before
    assert before["prompt"] == "a red cup"
    assert len(files(settings)) == 1
