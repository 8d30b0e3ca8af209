"""Names that never answer take threads of their own: whatever else the process looks up goes on at once."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tallyframe.assets.fetch import fetch_picture
from tallyframe.assets.line import RateLimited
from tallyframe.assets.lookups import Lookups
from tallyframe.assets.public_addresses import NotPublic
from tallyframe.errors import TallyframeError, Unavailable, ValidationFailed
from tests.support.cast import Member
from tests.support.remains import World, problem

PUBLIC = "93.184.215.14"


class NameServer:
    """Stands in for the system's resolver: names below `hang.test` are answered only at the end."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = threading.Event()
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: str, port: int, *rest: Any, **options: Any) -> Any:
        if not host.endswith(".test"):
            return self._real(host, port, *rest, **options)
        self.asked.append(host)
        if host.endswith(".hang.test"):
            self.answer.wait(30)
        if host == "none.test":
            raise socket.gaierror(socket.EAI_NONAME, "there is no such name")
        return [(0, 0, 0, "", (PUBLIC, port))]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NameServer]:
    server = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server.getaddrinfo)
    yield server
    server.answer.set()
    while any(thread.name == "lookup" for thread in threading.enumerate()):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0)  # the last threads have told the loop


async def all_asked(names: NameServer, count: int) -> None:
    while len(names.asked) < count:
        await asyncio.sleep(0.01)


async def test_forty_names_that_never_answer_stop_no_other_lookup(names: NameServer) -> None:
    lookups = Lookups(at_once=41, of_one_user=40, wait=60)
    hanging = [asyncio.create_task(lookups.resolve("a", f"{n}.hang.test", 80)) for n in range(40)]
    await all_asked(names, 40)
    async with asyncio.timeout(10):
        loop = asyncio.get_running_loop()
        assert await loop.getaddrinfo("localhost", 80)
        assert await asyncio.to_thread(lambda: 1) == 1
        assert await lookups.resolve("b", "quick.test", 80) == PUBLIC
    names.answer.set()
    assert set(await asyncio.gather(*hanging)) == {PUBLIC}


async def test_names_that_never_answer_count_although_nobody_waits_any_more(names: NameServer) -> None:
    lookups = Lookups(at_once=3, of_one_user=2, wait=0.05)

    async def fetched(user: str, host: str) -> TallyframeError:
        async def resolve(host: str, port: int) -> str:
            return await lookups.resolve(user, host, port)

        with pytest.raises(TallyframeError) as caught:
            await fetch_picture(f"http://{host}/", max_bytes=9, deadline=0.2, resolve=resolve)
        return caught.value

    for host in ("1.hang.test", "2.hang.test"):
        error = await fetched("a", host)
        assert isinstance(error, ValidationFailed)
        assert error.detail == "The picture's address could not be fetched: it took longer than 0.2 seconds."
    assert isinstance(await fetched("a", "quick.test"), RateLimited)
    assert isinstance(await fetched("b", "none.test"), ValidationFailed)
    assert isinstance(await fetched("b", "3.hang.test"), ValidationFailed)
    assert isinstance(await fetched("c", "quick.test"), Unavailable)
    assert names.asked == ["1.hang.test", "2.hang.test", "none.test", "3.hang.test"]
    names.answer.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await lookups.resolve("a", "quick.test", 80) == PUBLIC
                break
            except RateLimited:
                await asyncio.sleep(0.01)


async def test_a_name_without_an_answer_is_not_public(names: NameServer) -> None:
    lookups = Lookups(at_once=1, of_one_user=1, wait=5)
    for host in ("none.test", "a" * 64 + ".\u00e9"):  # the second one can't be put into a question
        with pytest.raises(NotPublic):
            await lookups.resolve("a", host, 80)


async def test_addresses_of_a_kind_that_this_machine_has_none_of_are_left_out(
    names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags: list[int] = []

    def getaddrinfo(host: str, port: int, **options: int) -> Any:
        flags.append(options["flags"])
        return names.getaddrinfo(host, port)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    await Lookups(at_once=1, of_one_user=1, wait=5).resolve("a", "quick.test", 80)
    assert flags == [socket.AI_ADDRCONFIG]


async def test_whoever_gives_slow_names_is_limited_and_others_are_not(
    alice: Member, bob: Member, names: NameServer, world: World
) -> None:
    """With the default bounds: 8 at once, and 16 more wait."""
    before = await world.remains()

    def order(who: Member, host: str) -> "asyncio.Task[Any]":
        body = {"kind": "image", "prompt": "a", "images": [{"url": f"http://{host}/a.png"}]}
        return asyncio.create_task(who.http.post("/v1/projects", json=body))

    sent = [order(alice, f"{n}.hang.test") for n in range(40)]
    refused = await first_of(sent, 40 - 8 - 16)
    assert [answer.status_code for answer in refused] == [429] * 16
    assert refused[0].headers["retry-after"] == "5"
    said = problem(refused[0], 429, "rate_limited")
    assert said["detail"] == "Too many of your pictures are being fetched. Wait for some to end."
    assert len(names.asked) <= 8

    async with asyncio.timeout(10):
        problem(await order(bob, "none.test"), 422, "validation_failed")
        assert (await bob.http.get("/readyz")).status_code == 200
    for task in sent:
        task.cancel()
    await asyncio.gather(*sent, return_exceptions=True)
    assert await world.remains() == before


async def first_of(tasks: "list[asyncio.Task[Any]]", count: int) -> list[Any]:
    async with asyncio.timeout(20):
        while sum(task.done() for task in tasks) < count:
            await asyncio.sleep(0.01)
    return [task.result() for task in tasks if task.done()]
