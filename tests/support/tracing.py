"""Follows one failing order from POST to refund, as somebody does who reads the code: which files, in which order.

A function is listed where it is called for the first time; lambdas and comprehensions belong to the function around
them. Only our own code counts. What each figure means:

    files      that have to be opened
    switches   from one file to another
    returns    those switches that lead to a file which was open before

`python -m tests.support.tracing` prints the whole trail.
"""

import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType

import structlog

import tallyframe
from tallyframe.db import ADMIN_ROLE, WORKER_ROLE
from tallyframe.embedded import servers
from tallyframe.migrate import migrate
from tallyframe.settings import load_settings
from tests.conftest import acting_as, enroll, serving
from tests.support.cast import Member
from tests.support.ramdisk import fast_folder
from tests.support.working import Bench

SOURCE = f"{Path(tallyframe.__file__).parent}/"


@dataclass(frozen=True, slots=True)
class Function:
    file: str  # below src/tallyframe
    name: str
    line: int


@dataclass(frozen=True, slots=True)
class Trail:
    """Functions, in the order in which a reader comes to them."""

    functions: Sequence[Function]

    @property
    def files(self) -> set[str]:
        return {function.file for function in self.functions}

    @property
    def switches(self) -> int:
        return sum(one.file != another.file for one, another in pairwise(self.functions))

    @property
    def returns(self) -> int:
        return self.switches - (len(self.files) - 1)

    def listing(self) -> str:
        """One paragraph per stay in a file, then how often each file is opened, then the figures."""
        visits: dict[str, int] = {}
        lines = []
        for file, functions in groupby(self.functions, key=lambda function: function.file):
            visits[file] = visits.get(file, 0) + 1
            again = f"  (visit {visits[file]})" if visits[file] > 1 else ""
            lines.append(f"{file}{again}")
            lines += [f"    {function.line:>4}  {function.name}" for function in functions]
        often = [f"{count:>4}  {file}" for file, count in sorted(visits.items(), key=lambda item: -item[1])]
        return "\n".join([*lines, "", "visits", *often, "", str(self)])

    def __str__(self) -> str:
        return f"{len(self.files)} files, {self.switches} switches, {self.returns} returns"


@dataclass
class Tracer:
    functions: dict[Function, None] = field(default_factory=dict)  # in order

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what is called in this thread for the first time while the block runs."""
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(SOURCE) and not code.co_name.startswith("<"):
            file, name = code.co_filename.removeprefix(SOURCE), code.co_qualname.replace(".<locals>", "")
            self.functions.setdefault(Function(file, name, code.co_firstlineno))


async def follow_failing_order(member: Member, bench: Bench) -> Trail:
    """Order what the offline provider refuses, run it until its credits are back, and return the way through the code.

    The runner takes it directly: neither arq nor the loop that hands generations to slots is part of the trail.
    """
    tracer, runner = Tracer(), bench.runner()
    with tracer.watching():  # before any other request: what is kept from one to the next is part of the trail
        answer = await member.http.post("/v1/projects", json={"kind": "image", "prompt": "[fail:content_policy] a cup"})
    assert answer.status_code == 202, answer.text
    credits_left = await member.available()
    [generation_id] = await bench.due()
    with tracer.watching():
        assert await runner.run(generation_id) == "failed"
    assert await member.available() > credits_left
    return Trail(list(tracer.functions))


async def _show() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with fast_folder() as folder:
        async with servers(folder, durable=False) as both:
            await asyncio.to_thread(migrate, both.database_url)
            settings = load_settings(database_url=both.database_url, redis_url=both.redis_url, data_dir=folder / "data")
            async with (
                acting_as(ADMIN_ROLE, settings) as db,
                acting_as(WORKER_ROLE, settings) as worker_db,
                serving(settings) as client_for,
            ):
                bench = Bench(settings, worker_db)
                trail = await follow_failing_order(await enroll(db, client_for, "alice@example.com", 20), bench)
                await bench.end_all()
    sys.stdout.write(f"{trail.listing()}\n")


if __name__ == "__main__":
    asyncio.run(_show())
