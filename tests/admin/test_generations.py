"""Finding generations and looking into one: everything that explains it, and neither pictures nor tickets."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tallyframe.admin import generations
from tallyframe.admin.generations import Filter
from tallyframe.db import Database
from tallyframe.pages import Window
from tallyframe.providers.base import Ticket
from tests.admin.conftest import Acts
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.postings import Postings
from tests.support.remains import problem
from tests.support.scripted import QUICKLY, Scripted, among, failing, final
from tests.support.shared import shared_database
from tests.support.working import Bench

database_url = shared_database("test_admin_generations")

CREATED = "UPDATE generations SET created_at = $2 WHERE id = $1"


@pytest.fixture
def postings(alice: Member, owner: Any) -> Postings:
    return Postings(owner, alice.user.account_id, alice.user.id)


async def run(bench: Bench, project: dict[str, Any], *vendors: Scripted) -> str:
    runner = bench.runner(providers=among(*vendors), retry=QUICKLY)
    return await runner.run(UUID(project["generation"]["id"]))


def ids(body: dict[str, Any]) -> list[str]:
    return [row["id"] for row in body["data"]]


async def test_one_that_waits_for_a_vendor(acts: Acts, alice: Member, bench: Bench) -> None:
    project = await alice.order("her secret cup", kind="video", duration_seconds=4)
    vendor = Scripted("vendor", make=[failing(operator_message="slow down"), Ticket("a-ticket-as-good-as-a-key", 60)])
    assert await run(bench, project, vendor) == "retried"
    while await run(bench, project, vendor) == "not_taken":
        pass
    body = await acts.look(f"generations/{project['generation']['id']}")
    receipt = (await alice.http.get(f"/v1/generations/{body['id']}")).json()
    assert {name: body[name] for name in receipt} == receipt
    owner = {"id": str(alice.user.id), "email": alice.user.email, "display_name": alice.user.display_name}
    assert body["owner"] == {**owner, "deleted_at": None}
    assert (body["status"], body["retries"], body["in_doubt"], body["lease_until"]) == ("processing", 1, False, None)
    assert body["worker"]
    assert datetime.fromisoformat(body["wake_at"]) > datetime.now(UTC) + timedelta(seconds=30)
    assert datetime.fromisoformat(body["expires_at"]) > datetime.fromisoformat(body["created_at"])
    assert body["input"]["prompt"] == "her secret cup"
    first, second = body["steps"]
    assert (first["state"], first["error_code"], first["operator_message"]) == (
        "failed",
        "provider_unavailable",
        "slow down",
    )
    assert (second["state"], second["has_ticket"], first["has_ticket"]) == ("ticket", True, False)
    assert (second["name"], second["provider"], second["model"]) == ("video", "vendor", "vendor-1")
    assert (second["attempt"], second["resolution"], second["is_final"]) == (2, None, False)
    assert "a-ticket-as-good-as-a-key" not in str(body)


async def test_no_pictures(acts: Acts, alice: Member, bench: Bench) -> None:
    kept = (await alice.http.post("/v1/assets", files={"file": picture()})).json()
    project = await alice.order(images=[{"asset_id": kept["id"]}])
    assert await run(bench, project, Scripted("vendor")) == "succeeded"
    body = await acts.look(f"generations/{project['generation']['id']}")
    assert body["input"]["images"] == [kept["id"]]
    [theirs] = (await alice.project(project["id"]))["generation"]["outputs"]
    [output] = body["outputs"]
    assert output == {name: value for name, value in theirs.items() if name not in {"url", "download_url"}}
    listed = await acts.look("generations", project_id=project["id"])
    for shown in (str(body), str(listed)):
        assert "http" not in shown
        assert ".png" not in shown
    assert "prompt" not in str(listed)


async def test_the_list_shows_what_the_receipt_does(acts: Acts, alice: Member, bench: Bench) -> None:
    project = await alice.order()
    assert await run(bench, project, Scripted("vendor", make=[final(operator_message="no")])) == "failed"
    [row] = (await acts.look("generations", project_id=project["id"]))["data"]
    detail = await acts.look(f"generations/{row['id']}")
    assert {**row, **{name: detail[name] for name in ("input", "output", "metadata", "steps")}} == detail
    assert (row["error"]["code"], row["credits"]["refunded"]) == ("provider_rejected", 5)


async def test_none(acts: Acts) -> None:
    problem(await acts.admin.http.get(f"/v1/admin/generations/{uuid4()}"), 404, "not_found")
    problem(await acts.admin.http.get("/v1/admin/generations/1"), 422, "validation_failed")


async def test_newest_first_of_everybody(acts: Acts, alice: Member) -> None:
    hers, his = await alice.order(), await acts.admin.order()
    page = await acts.look("generations", limit=2)
    assert ids(page) == [his["generation"]["id"], hers["generation"]["id"]]


async def test_each_filter_finds_its_own(acts: Acts, alice: Member, bench: Bench) -> None:
    done, failed, doubtful, waiting = [await alice.order() for _ in range(4)]
    film = await acts.admin.order(kind="video")
    await run(bench, done, Scripted("a"))
    await run(bench, failed, Scripted("b", make=[final()]))
    await run(bench, doubtful, Scripted("c", make=[failing(in_doubt=True)]))
    named = {"done": done, "failed": failed, "doubtful": doubtful, "waiting": waiting, "film": film}
    mine = {name: project["generation"]["id"] for name, project in named.items()}
    asked: list[tuple[dict[str, Any], list[str]]] = [
        ({"user_id": acts.admin.user.id}, ["film"]),
        ({"project_id": done["id"]}, ["done"]),
        ({"status": "failed"}, ["failed", "doubtful"]),
        ({"status": "succeeded"}, ["done"]),
        ({"status": "pending"}, ["waiting", "film"]),
        ({"operation": "video"}, ["film"]),
        ({"provider": "b"}, ["failed"]),
        ({"error_code": "provider_rejected"}, ["failed"]),
        ({"in_doubt": True}, ["doubtful"]),
        ({"in_doubt": False}, ["done", "failed", "waiting", "film"]),
        ({"in_doubt": True, "user_id": acts.admin.user.id}, []),
        ({"status": "failed", "user_id": alice.user.id, "provider": "c", "operation": "image"}, ["doubtful"]),
    ]
    for query, names in asked:
        body = await acts.look("generations", limit=100, **query)
        found = [name for name, generation_id in mine.items() if generation_id in ids(body)]
        assert found == names, query
        assert body["next_cursor"] is None


async def test_from_a_time_on_and_before_another(acts: Acts, alice: Member, postings: Postings, owner: Any) -> None:
    noon, hour = datetime(2026, 5, 17, 12, tzinfo=UTC), timedelta(hours=1)
    early, middle, late = [(await postings.bought(1))[0] for _ in range(3)]
    for generation_id, at in ((early, noon - hour), (middle, noon), (late, noon + hour)):
        await owner.execute(CREATED, generation_id, at)
    at_noon = {"from": noon.isoformat(), "to": (noon + hour).isoformat()}
    mine = {"user_id": alice.user.id}
    assert ids(await acts.look("generations", **mine, **at_noon)) == [str(middle)]
    assert ids(await acts.look("generations", **mine, to=noon.isoformat())) == [str(early)]
    assert ids(await acts.look("generations", **mine, **{"from": (noon + hour).isoformat()})) == [str(late)]


async def test_pages_without_gaps_or_repeats_while_more_is_ordered(
    acts: Acts, alice: Member, postings: Postings
) -> None:
    made = [str((await postings.bought(1))[0]) for _ in range(7)]
    seen: list[str] = []
    query: dict[str, Any] = {"user_id": alice.user.id, "limit": 3}
    for _ in range(3):
        body = await acts.look("generations", **query)
        seen += ids(body)
        query["cursor"] = body["next_cursor"]
        await postings.bought(1)
    assert (body["next_cursor"], seen) == (None, made[::-1])


async def test_a_search_looks_at_so_many_and_goes_on_with_the_next_page(db: Database, postings: Postings) -> None:
    old, debit = await postings.bought(1, "canceled")
    await postings.refund(old, debit, 1)
    newer = [(await postings.bought(1))[0] for _ in range(7)]
    wanted, window = Filter(operation="image", status="canceled"), Window(None, 5, reach=3)
    pages = []
    for _ in range(3):
        page = await generations.listed(db, wanted, window)
        pages.append([row["generation_id"] for row in page.rows])
        window = Window(page.last, 5, reach=3)
    assert pages == [[], [], [old]]
    # Without a filter, or with an index for it, that is no limit.
    for indexed in (Filter(), Filter(user_id=postings.user)):
        page = await generations.listed(db, indexed, Window(None, 5, reach=3))
        assert [row["generation_id"] for row in page.rows] == newer[:1:-1]
    # What an index leads to is looked through, as far as that reaches.
    page = await generations.listed(db, Filter(user_id=postings.user, status="canceled"), Window(None, 5, reach=3))
    assert (page.rows, page.last) == ([], newer[-3])


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"user": "1"}, "/user"),
        ({"user_id": "1"}, "/user_id"),
        ({"status": "done"}, "/status"),
        ({"error_code": "bad_luck"}, "/error_code"),
        ({"in_doubt": "perhaps"}, "/in_doubt"),
        ({"from": "2026-05-17T12:00:00"}, "/from"),
        ({"from": "2026-05-17T12:00:00Z", "to": "2026-05-17T12:00:00Z"}, "/from"),
        ({"provider": "a\x00b"}, "/provider"),
        ({"operation": "o" * 201}, "/operation"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "101"}, "/limit"),
        ({"cursor": "nonsense"}, "/cursor"),
    ],
)
async def test_what_cannot_be_asked(acts: Acts, query: dict[str, str], pointer: str) -> None:
    answer = await acts.admin.http.get("/v1/admin/generations", params=query)
    assert [error["pointer"] for error in problem(answer, 422, "validation_failed")["errors"]] == [pointer]
