"""④ What an operation's run works with: references to pictures, and steps by name. It keeps each step's result.

A step that has to wait doesn't return. The run then says what it wants, to leave or to end, and its coroutine is
dropped; no exception passes through the operation, which so can't catch it by mistake.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any, Never
from uuid import UUID

from pydantic import BaseModel

from tallyframe.assets import rows as asset_rows
from tallyframe.errors import FailureCode, GenerationError
from tallyframe.generations.claim import Claim, ClaimLost
from tallyframe.generations.steps.decide import Decision, Done, End, Fail, InDoubt, Leave, Retry, Snooze, Try, combine
from tallyframe.generations.steps.execute import RunDependencies, Step
from tallyframe.generations.steps.results import read_result
from tallyframe.generations.steps.rows import StepRows
from tallyframe.operations.base import Stored
from tallyframe.providers.base import Media, Task, TextTask, VisionTask
from tallyframe.storages.base import StorageError

#: A claim that was lost while the run worked: there is nothing to write any more.
LOST = "claim_lost"

Wish = Leave | End | str

#: It is part of a file's name in the storage.
_NAME = re.compile(r"[a-z0-9_]{1,60}")


class RunContext:
    """The operation's `Context` for one claimed generation. `wish` is done when the run is to leave or to end."""

    def __init__(self, dependencies: RunDependencies, claim: Claim) -> None:
        self._dependencies = dependencies
        self._claim = claim
        self._rows = StepRows(dependencies.db, claim)
        self._tries: dict[str, list[Try]] | None = None
        self._named: set[str] = set()
        self.wish: asyncio.Future[Wish] = asyncio.get_running_loop().create_future()

    def input(self, picture: UUID | Stored) -> "Picture":
        """Return a reference to a picture of the order, by its id, or to a file that a step before has made."""
        return Picture(self._dependencies, self._claim.user_id, picture)

    async def step(self, name: str, task: Task) -> Any:  # noqa: ANN401  # Stored, or an instance of the task's model
        """Have one task done, once, and return its result."""
        return (await self.steps({name: task}))[name]

    async def steps(self, tasks: Mapping[str, Task]) -> dict[str, Any]:
        """Have several tasks done side by side, each once, and return all results by their names."""
        for name in tasks:
            if name in self._named or not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name for a step, or one that this run has had already")
            self._named.add(name)
        if self._tries is None:
            self._tries = await self._rows.tries()
        try:
            results = await self._perform(tasks)
        except ClaimLost:
            await self._want(LOST)
        return {name: _as_asked(task, results[name]) for name, task in tasks.items()}

    async def _perform(self, tasks: Mapping[str, Task]) -> dict[str, Mapping[str, Any]]:
        """Do all steps at once; what each decides is kept as soon as it is known, the last with the move."""
        performing = {asyncio.create_task(self._step(name, task).perform()): name for name, task in tasks.items()}
        results: dict[str, Mapping[str, Any]] = {}
        undone: list[tuple[float, Decision]] = []  # with the time (monotonic seconds) at which it was decided
        try:
            while performing:
                finished, _ = await asyncio.wait(performing, return_when=asyncio.FIRST_COMPLETED)
                for each in finished:
                    name, decision = performing.pop(each), each.result()
                    if isinstance(decision, Done):
                        results[name] = decision.result
                        continue
                    undone.append((monotonic(), decision))
                    if isinstance(decision, Fail | InDoubt) or not performing:
                        await self._want(combine(_as_of_now(undone), [decision.verdict] if decision.verdict else []))
                    if decision.verdict:
                        await self._rows.keep(decision.verdict)
        finally:
            await self._drop(performing)
        if undone:
            await self._want(combine(_as_of_now(undone), []))
        return results

    async def _drop(self, performing: "Mapping[asyncio.Task[Decision], str]") -> None:
        """Cancel what is still under way; orders at vendors go on, detached. What was decided just now is kept."""
        for each in performing:
            each.cancel()
        for decision in await asyncio.gather(*performing, return_exceptions=True):
            if not isinstance(decision, BaseException | Done) and decision.verdict:
                with suppress(ClaimLost):  # a ticket is kept all the same, and so are the others'
                    await asyncio.shield(self._rows.keep(decision.verdict))

    def _step(self, name: str, task: Task) -> Step:
        tries: Sequence[Try] = (self._tries or {}).get(name, ())
        return Step(self._dependencies, self._claim, self._rows, name, task, tries)

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
            self._reading = None  # whoever asks next reads again
            raise

    async def _read(self) -> Media:
        file = await self._file()
        try:
            data = await self._dependencies.storages.by_name[file.storage].get(file.key)
        except (StorageError, KeyError) as error:
            raise GenerationError(
                FailureCode.STORAGE_UNAVAILABLE, retryable=True, operator_message=str(error)
            ) from None
        return Media(data, file.content_type, file.width, file.height, file.duration_seconds)

    async def public_url(self) -> str | None:
        """Return an address that anybody can fetch it from; None where it is not kept at such a place."""
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


def _as_of_now(undone: Sequence[tuple[float, Decision]]) -> list[Decision]:
    """Return the decisions with what is left of their waits: others may have taken their time meanwhile."""
    now = monotonic()
    return [
        replace(each, seconds=max(each.seconds - (now - at), 0.0)) if isinstance(each, Snooze | Retry) else each
        for at, each in undone
    ]


def _as_asked(task: Task, result: Mapping[str, Any]) -> Stored | BaseModel:
    kept = read_result(result)
    if isinstance(kept, Stored):
        return kept
    model: type[BaseModel] = task.answer if isinstance(task, TextTask | VisionTask) else BaseModel
    return model.model_validate(kept)
