"""④ What an operation's run works with: references to pictures, and steps by name. It keeps each step's result.

A step that has to wait doesn't return. The run then says what it wants, to leave or to end, and its coroutine is
dropped; no exception passes through the operation, which so can't catch it by mistake.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Never
from uuid import UUID

from tallyframe.assets import rows as asset_rows
from tallyframe.errors import FailureCode, GenerationError
from tallyframe.generations.claim import Claim, ClaimLost
from tallyframe.generations.steps.decide import combine
from tallyframe.generations.steps.execute import RunDependencies, Step
from tallyframe.generations.steps.results import read_result
from tallyframe.generations.steps.rows import StepRows
from tallyframe.generations.steps.values import Decision, Done, End, Fail, InDoubt, Leave, Snooze, Try, Verdict
from tallyframe.operations.base import Stored
from tallyframe.providers.base import Media, Task
from tallyframe.storages.base import StorageError

#: The outcome of a run that has lost its claim, and so may not write any more.
LOST = "claim_lost"

UNREADABLE = "A picture of this order could not be read."

Wish = Leave | End | str

#: It is part of a file's name in the storage.
_NAME = re.compile(r"[a-z0-9_]{1,60}")


@dataclass
class RunContext:
    """The operation's `Context` for one claimed generation. `wish` is done when the run is to leave or to end."""

    _dependencies: RunDependencies
    _claim: Claim
    _rows: StepRows
    wish: "asyncio.Future[Wish]" = field(default_factory=asyncio.Future)
    _tries: dict[str, list[Try]] | None = None  # by step, once they have been read
    _named: set[str] = field(default_factory=set)
    _asking: asyncio.Task[Any] | None = None  # who asks for steps right now
    _is_misused: bool = False

    def input(self, picture: UUID | Stored) -> "Picture":
        """Return a reference to a picture of the order, by its id, or to a file that a step before has made."""
        return Picture(self._dependencies, self._claim.user_id, picture)

    async def step(self, name: str, task: Task) -> Any:  # noqa: ANN401  # Stored, or an instance of the task's model
        """Have one task done, once, and return its result."""
        return (await self.steps({name: task}))[name]

    async def steps(self, tasks: Mapping[str, Task]) -> dict[str, Any]:
        """Have several tasks done side by side, each once, and return all results by their names."""
        with self._alone():
            return await self._steps(tasks)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse calls beside each other: the first that left would cut off what the others have just ordered."""
        if self._asking:
            self._is_misused = True
            self._asking.cancel()  # what it has placed by now is followed as a detached call
        if self._is_misused:
            raise RuntimeError("Steps that are done side by side are asked for by one call of context.steps().")
        self._asking = asyncio.current_task()
        try:
            yield
        finally:
            self._asking = None

    async def _steps(self, tasks: Mapping[str, Task]) -> dict[str, Any]:
        for name in tasks:
            if name in self._named or not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a step, or one that this run has had already")
            self._named.add(name)
        try:
            results = await self._perform(tasks)
        except ClaimLost:
            await self._want(LOST)
        return {name: read_result(task, results[name]) for name, task in tasks.items()}

    async def _perform(self, tasks: Mapping[str, Task]) -> dict[str, Mapping[str, Any]]:
        """Do all steps at once; what each decides is kept as soon as it is known, the last with the move.

        While some take long, those that wait are looked at again when they are due: no ticket waits for a slow order.
        """
        if self._tries is None:
            self._tries = await self._rows.tries()
        else:
            await asyncio.sleep(0)  # as the query above: a call beside this one is refused before anything is placed
        step, tries = partial(Step, self._dependencies, self._claim, self._rows), self._tries
        steps = {name: step(name, task, tries.get(name, ())) for name, task in tasks.items()}
        performing = {asyncio.create_task(each.perform()): name for name, each in steps.items()}
        results: dict[str, Mapping[str, Any]] = {}
        undone: dict[str, tuple[float, Decision]] = {}  # with the time (monotonic seconds) at which it was decided
        try:
            while performing:
                due = {name: at + each.seconds for name, (at, each) in undone.items() if isinstance(each, Snooze)}
                patience = max(min(due.values()) - monotonic(), 0) if due else None
                finished, _ = await asyncio.wait(performing, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                for each in finished:
                    name, decision = performing.pop(each), each.result()
                    if isinstance(decision, Done):
                        results[name] = decision.result
                        continue
                    undone[name] = (monotonic(), decision)
                    if isinstance(decision, Fail | InDoubt) or not performing:
                        unkept = [decision.verdict] if decision.verdict else []
                        await self._want(combine(list(undone.values()), monotonic(), unkept))
                    if decision.verdict:
                        await asyncio.shield(self._keep(decision.verdict))
                if not finished:
                    for name in [name for name, at in due.items() if at <= monotonic()]:
                        del undone[name]
                        performing[asyncio.create_task(steps[name].perform(again=True))] = name
        finally:
            await self._drop(performing)
        if undone:
            await self._want(combine(list(undone.values()), monotonic(), []))
        return results

    async def _drop(self, performing: "Mapping[asyncio.Task[Decision], str]") -> None:
        """Cancel what is still under way; orders at vendors go on, detached. What was decided just now is kept."""
        for each in performing:
            each.cancel()
        decisions = await asyncio.gather(*performing, return_exceptions=True)
        verdicts = [each.verdict for each in decisions if not isinstance(each, BaseException | Done) and each.verdict]
        await asyncio.shield(asyncio.gather(*map(self._keep, verdicts), return_exceptions=True))  # each logs its error

    def _keep(self, verdict: Verdict) -> "asyncio.Task[None]":
        """Keep a verdict to the end, also when the run is cut meanwhile: it may be all that leads to a ticket."""
        return self._dependencies.detached.finish(self._claim.id, self._rows.keep(verdict))

    async def _want(self, wish: Wish) -> Never:
        """Say what the run wants, and wait to be dropped."""
        if not self.wish.done():
            self.wish.set_result(wish)
        await asyncio.get_running_loop().create_future()
        raise AssertionError("a run that wants to leave is dropped")


class Picture:
    """An `InputRef`: a picture of the user's, or a file that a step has made. It is read once, when it is needed."""

    def __init__(self, dependencies: RunDependencies, user_id: UUID, source: UUID | Stored) -> None:
        self._dependencies = dependencies
        self._user_id = user_id
        self._source = source
        self._reading: asyncio.Task[Media] | None = None

    async def read(self) -> Media:
        """Return its bytes. Raises GenerationError: invalid_input when it is gone, storage_unavailable (retryable)."""
        self._reading = reading = self._reading or asyncio.create_task(self._read())
        try:
            return await asyncio.shield(reading)  # steps that are ordered side by side may share it
        except Exception:
            self._reading = None  # the next reader tries again
            raise

    async def _read(self) -> Media:
        file = await self._file()
        try:
            data = await self._dependencies.storages.by_name[file.storage].get(file.key)
        except (StorageError, KeyError) as error:
            raise GenerationError(
                FailureCode.STORAGE_UNAVAILABLE, UNREADABLE, retryable=True, operator_message=str(error)
            ) from None
        return Media(data, file.content_type, file.width, file.height, file.duration_seconds)

    async def public_url(self) -> str | None:
        """Return a public address of it; None if its storage has none."""
        file = await self._file()
        storage = self._dependencies.storages.by_name.get(file.storage)
        url = storage.url(file.key) if storage else ""
        return url if url.startswith("https://") else None

    async def _file(self) -> "asset_rows.Asset | Stored":
        if isinstance(self._source, Stored):
            return self._source
        found = await asset_rows.find(self._dependencies.db, self._user_id, [self._source])
        if self._source not in found:
            raise GenerationError(FailureCode.INVALID_INPUT, "A picture of this order has been deleted.")
        return found[self._source]
