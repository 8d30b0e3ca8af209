"""What is enqueued is done once at a time in a process, and what fails stays in the outbox."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import API_ROLE
from tallyframe.generations.end import erase
from tallyframe.lanes import HANDLERS, QUEUES, run
from tests.conftest import acting_as
from tests.support.cast import Member
from tests.support.working import Bench

LEFT = "SELECT count(*) FROM outbox WHERE kind = 'erase_project_files'"


async def deleted_project(member: Member, bench: Bench) -> UUID:
    """A project with an image, deleted by an API process that died before it removed the image."""
    project_id = UUID((await member.order())["id"])
    assert await bench.drain() == ["succeeded"]
    async with acting_as(API_ROLE, bench.settings) as api:
        assert await erase.delete(api.as_user(member.user.id), member.user.id, project_id)
    return project_id


async def test_what_is_enqueued_again_while_it_runs_takes_no_second_slot(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id, worker = await deleted_project(alice, bench), bench.tools(bench.runner())
    storage, began, go_on = worker.runner.dependencies.storages.current, asyncio.Event(), asyncio.Event()
    delete = storage.delete

    async def delete_slowly(key: str) -> None:
        began.set()
        await go_on.wait()
        await delete(key)

    monkeypatch.setattr(storage, "delete", delete_slowly)
    first = asyncio.create_task(run(worker, "erase_project_files", project_id))
    await began.wait()
    async with asyncio.timeout(5):
        await run(worker, "erase_project_files", project_id)
    assert await owner.fetchval(LEFT) == 1
    go_on.set()
    await first
    assert await owner.fetchval(LEFT) == 0


async def test_a_bug_in_a_handler_leaves_the_row_and_is_told(
    alice: Member, bench: Bench, owner: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project_id, runner = await deleted_project(alice, bench), bench.runner()
    with monkeypatch.context() as patched:
        patched.setattr(erase.Subject, "owner", lambda _: 1 / 0)
        await run(bench.tools(runner), "erase_project_files", project_id)
    assert await owner.fetchval(LEFT) == 1
    assert "job_failed" in "".join(capsys.readouterr())
    await run(bench.tools(runner), "erase_project_files", project_id)
    assert await owner.fetchval(LEFT) == 0


def test_every_kind_but_generations_is_enqueued() -> None:
    assert sorted(kind for kinds in QUEUES.values() for kind in kinds) == sorted(set(HANDLERS) - {"run_generation"})
