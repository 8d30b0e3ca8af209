"""Is what dies started again, and told apart from what was killed?"""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from chaos import children
from chaos.children import Child
from tallyframe.embedded.processes import Program, launch

WAITS = "print('up_started', flush=True); import time; time.sleep(60)"


def child_that(script: str, folder: Path) -> Child:
    async def is_up() -> bool:
        return "up_started" in made.log.read_text()

    made = Child("child", [sys.executable, "-c", script], {}, folder, random.Random(1), is_up)
    return made


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Child]:
    started = child_that(WAITS, tmp_path)
    await started.start()
    await started.until_up()
    yield started
    await started.stop()
    assert not started.runs


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_what_is_killed_comes_back_and_is_no_surprise(child: Child, number: signal.Signals) -> None:
    assert child.signal(number)
    await until(lambda: child.starts == 2)
    assert child.runs
    assert child.deaths == []


async def test_what_dies_by_itself_comes_back_and_is_noted(tmp_path: Path) -> None:
    child = child_that("import sys; sys.exit(3)", tmp_path)
    await child.start()
    await until(lambda: child.starts == 3)
    await child.stop()
    assert child.deaths[:2] == ["exit code 3", "exit code 3"]


async def test_a_frozen_one_is_ended_all_the_same(child: Child) -> None:
    child.signal(signal.SIGSTOP)
    assert child.runs
    await child.stop()
    assert child.deaths == []


async def test_who_ends_badly_when_asked_to_end_is_noted(tmp_path: Path) -> None:
    script = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); {WAITS}"
    child = child_that(script, tmp_path)
    await child.start()
    await child.until_up()
    child.signal(signal.SIGTERM)
    await until(lambda: child.starts == 2)
    assert await child.serves_within(20)
    assert [problem.rpartition(",")[0] for problem in child.problems] == ["child was asked to end: exit code 5"]
    child.signal(signal.SIGTERM)
    child.signal(signal.SIGKILL)  # so nobody knows how it would have ended
    await until(lambda: child.starts == 3)
    assert await child.serves_within(20)
    child.signal(signal.SIGKILL)
    child.signal(signal.SIGTERM)  # of what is dead already, and not yet buried
    await until(lambda: child.starts == 4)
    await child.stop()
    assert len(child.problems) == 1


async def test_who_does_not_end_when_asked_to_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = child_that(f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAITS}", tmp_path)
    monkeypatch.setattr(children, "_PATIENCE", 0.1)
    monkeypatch.setattr(children, "_END", ((signal.SIGTERM, 0.1),))
    await child.start()
    await child.until_up()
    child.signal(signal.SIGTERM)
    await asyncio.sleep(0.3)
    await child.stop()
    assert child.problems == ["child was asked to end 0 s ago and runs"]


async def test_what_is_stopped_while_it_is_started_again_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    async def slowly(program: Program) -> Process:
        started.set()
        await asyncio.sleep(0.3)
        return await launch(program)

    child = child_that(WAITS, tmp_path)
    await child.start()
    await child.until_up()
    monkeypatch.setattr(children, "launch", slowly)
    child.signal(signal.SIGKILL)
    await started.wait()
    async with asyncio.timeout(20):
        await child.stop()
    assert not child.runs


async def test_what_never_comes_up_is_told(tmp_path: Path) -> None:
    child = child_that("pass", tmp_path)
    await child.start()
    with pytest.raises(RuntimeError, match=r"child did not start; see .*child.log"):
        await child.until_up(20)
    await child.stop()
