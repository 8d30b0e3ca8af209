"""Polls that are answered from what the process has just read: never with an older state than the client has."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tallyframe.settings import Settings
from tests.conftest import ClientFor, enroll, serving
from tests.support.cast import Member


@pytest.fixture
async def remembering(settings: Settings) -> AsyncIterator[ClientFor]:
    async with serving(settings.replaced(tag_memory_seconds=60, tag_memory_projects=2)) as client_for:
        yield client_for


@pytest.fixture
async def alice(db: Any, remembering: ClientFor) -> Member:
    return await enroll(db, remembering, "alice@example.com", 20)


async def polled(member: Member, project_id: str, *tags: str) -> httpx.Response:
    return await member.http.get(f"/v1/projects/{project_id}", headers={"If-None-Match": ", ".join(tags)})


async def tag_of(member: Member, project_id: str) -> str:
    return str((await member.http.get(f"/v1/projects/{project_id}")).headers["etag"])


async def change(owner: Any, project_id: str) -> None:
    """As a worker or another process does."""
    await owner.execute("UPDATE projects SET status_sequence = status_sequence + 1 WHERE id = $1", project_id)


async def test_a_poll_with_the_tag_that_was_read_last_is_not_read_again(alice: Member, owner: Any) -> None:
    project = (await alice.order())["id"]
    old = await tag_of(alice, project)
    first = await polled(alice, project, old)
    await change(owner, project)
    again = await polled(alice, project, old)
    assert (first.status_code, again.status_code) == (304, 304)
    for name in ("etag", "cache-control", "retry-after"):
        assert again.headers[name] == first.headers[name]
    new = await tag_of(alice, project)  # whoever asks in full gets what there is
    assert new != old


async def test_who_has_seen_a_newer_state_gets_no_older_one(alice: Member, owner: Any) -> None:
    project = (await alice.order())["id"]
    old = await tag_of(alice, project)
    assert (await polled(alice, project, old)).status_code == 304
    await change(owner, project)
    new = await tag_of(alice, project)
    for tags in ([new], [f"W/{new}"], [old, new], [new, old], ["*"]):
        answer = await polled(alice, project, *tags)
        assert (answer.status_code, answer.headers["etag"]) == (304, new), tags
    await change(owner, project)
    for tags in ([old], ['"other"'], [old, "W/" + old]):
        answer = await polled(alice, project, *tags)
        assert answer.status_code == 200, tags
        assert answer.headers["etag"] not in {old, new}


@pytest.mark.parametrize("act", ["cancel", "delete"])
async def test_what_the_process_changes_itself_is_forgotten(alice: Member, act: str) -> None:
    project = (await alice.order())["id"]
    tag = await tag_of(alice, project)
    assert (await polled(alice, project, tag)).status_code == 304
    path = f"/v1/projects/{project}"
    (await alice.http.post(f"{path}/cancel")).raise_for_status()
    assert (await polled(alice, project, tag)).status_code == 200
    if act == "delete":
        tag = await tag_of(alice, project)
        assert (await polled(alice, project, tag)).status_code == 304
        (await alice.http.delete(path)).raise_for_status()
        assert (await polled(alice, project, tag)).status_code == 404


async def test_others_learn_nothing_from_it(alice: Member, db: Any, remembering: ClientFor) -> None:
    bob = await enroll(db, remembering, "bob@example.com", 20)
    project = (await alice.order())["id"]
    tag = await tag_of(alice, project)
    assert (await polled(alice, project, tag)).status_code == 304
    assert (await polled(bob, project, tag)).status_code == 404


async def test_so_many_projects_are_remembered_and_no_more(alice: Member, owner: Any) -> None:
    projects = [(await alice.order(f"cup {number}"))["id"] for number in range(3)]
    tags = [await tag_of(alice, each) for each in projects]
    for project, tag in zip(projects, tags, strict=True):
        assert (await polled(alice, project, tag)).status_code == 304
        await change(owner, project)
    # The latest first: what is read anew takes a place, too.
    latest_first = [*zip(projects, tags, strict=True)][::-1]
    assert [(await polled(alice, *each)).status_code for each in latest_first] == [304, 304, 200]


async def test_without_a_memory_each_poll_reads(settings: Settings, db: Any, owner: Any) -> None:
    async with serving(settings.replaced(tag_memory_seconds=0)) as client_for:
        alice = await enroll(db, client_for, "alice@example.com", 20)
        project = (await alice.order())["id"]
        tag = await tag_of(alice, project)
        assert (await polled(alice, project, tag)).status_code == 304
        await change(owner, project)
        assert (await polled(alice, project, tag)).status_code == 200
