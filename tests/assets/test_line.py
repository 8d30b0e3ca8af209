"""Who is let in, who waits, and who is sent away."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tallyframe.assets.line import Bounds, Line, RateLimited
from tallyframe.errors import Unavailable


class House:
    """A line, and those who are in it or inside."""

    def __init__(self, bounds: Bounds) -> None:
        self.line = Line("pictures are here", bounds)
        self.inside: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._over: dict[str, asyncio.Event] = {}

    async def come(self, *names: str) -> None:
        """Let them come, by names such as `a1`: the user is the letter. Those who may go in, have by then."""
        for name in names:
            self._over[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._stay(name))
        await asyncio.sleep(0)

    async def go(self, *names: str) -> None:
        for name in names:
            self._over[name].set()
            await self.tasks[name]
        await asyncio.sleep(0)

    async def _stay(self, name: str) -> None:
        async with self.line.turn(name[0]):
            self.inside.append(name)
            try:
                await self._over[name].wait()
            finally:
                self.inside.remove(name)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """Two at once and one of each user; four may wait, and two of each user."""
    made = House(Bounds(2, 1, 4, 2, 60))
    yield made
    for task in made.tasks.values():
        task.cancel()
    await asyncio.gather(*made.tasks.values(), return_exceptions=True)
    await made.come("x", "y")  # whatever has happened, no turn is lost
    assert made.inside == ["x", "y"]
    await made.go("x", "y")


async def test_who_has_enough_lets_others_pass(house: House) -> None:
    await house.come("a1", "a2", "a3", "b1")
    assert house.inside == ["a1", "b1"]
    await house.come("c1", "b2")
    await house.go("b1")
    assert house.inside == ["a1", "c1"]
    await house.go("a1")
    assert house.inside == ["c1", "a2"]
    await house.go("c1", "a2")
    assert house.inside == ["b2", "a3"]


async def test_who_sends_many_keeps_others_waiting_for_one_of_them() -> None:
    house = House(Bounds(2, 1, 9, 3, 60))
    await house.come("a1", "b1", "a2", "a3", "b2", "c1", "b3", "d1")
    await house.go("a1")
    assert house.inside == ["b1", "c1"]  # they had no turn yet
    await house.go("b1")
    assert house.inside == ["c1", "d1"]
    await house.come("c2")
    await house.go("d1", "c1")
    assert house.inside == ["a2", "b2"]  # their latest was before c's
    await house.go("a2", "b2")
    assert house.inside == ["c2", "a3"]
    await house.go("c2", "a3", "b3")
    assert (house.inside, dict(house.line._inside), house.line._latest) == ([], {}, {})


async def test_too_many_of_one_user_and_too_many_in_all_are_refused(house: House) -> None:
    await house.come("a1", "a2", "a3", "a4")
    with pytest.raises(RateLimited, match="Too many of your pictures are here") as caught:
        await house.tasks["a4"]
    assert (caught.value.status, caught.value.data) == (429, {"retry_after": 5})
    await house.come("b1", "c1", "d1", "e1")
    with pytest.raises(Unavailable, match="Too many pictures are here") as busy:
        await house.tasks["e1"]
    assert busy.value.retry_after == 5
    assert house.inside == ["a1", "b1"]


async def test_a_wait_that_takes_too_long_ends_with_the_reason() -> None:
    house = House(Bounds(2, 1, 4, 2, 0.05))
    await house.come("a1", "a2", "b1", "c1")
    with pytest.raises(RateLimited):
        await house.tasks["a2"]
    with pytest.raises(Unavailable, match="Too many pictures are here"):
        await house.tasks["c1"]
    await house.go("a1", "b1")
    await house.come("c2", "a3")
    assert house.inside == ["c2", "a3"]
    await house.go("c2", "a3")


async def test_who_gives_up_leaves_no_trace(house: House) -> None:
    await house.come("a1", "b1", "c1", "d1")
    house.tasks["c1"].cancel()
    await asyncio.sleep(0)
    await house.go("a1")
    assert house.inside == ["b1", "d1"]


async def test_who_gives_up_when_the_turn_comes_passes_it_on(house: House) -> None:
    await house.come("a1", "b1", "c1", "d1")
    house.line.leave("a")  # c1 is let in, and hasn't noticed yet
    house.tasks["c1"].cancel()
    await asyncio.gather(house.tasks["c1"], return_exceptions=True)
    await asyncio.sleep(0)
    assert house.inside == ["a1", "b1", "d1"]
    house.line._inside["a"] += 1  # as a1 will leave, once more
