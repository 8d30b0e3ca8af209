"""④ Run a generation: claim → operation → one move. A heartbeat runs beside it; no transaction is open meanwhile."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any
from uuid import UUID

import structlog

from tallyframe import observe
from tallyframe.db import Database, retry_while_unavailable
from tallyframe.errors import FailureCode, GenerationError, Unavailable
from tallyframe.generations.claim import Claim, ClaimLost
from tallyframe.generations.end import settle
from tallyframe.generations.run import lease
from tallyframe.generations.run.context import LOST, RunContext, Wish
from tallyframe.generations.steps import detached
from tallyframe.generations.steps.execute import RunDependencies
from tallyframe.generations.steps.rows import StepRows
from tallyframe.generations.steps.values import End, Leave
from tallyframe.jitter import jittered
from tallyframe.lost import REFUSED, UNFIT, sqlstate
from tallyframe.operations.base import Operation, Operations, Result

log = structlog.get_logger()

#: Seconds to write down an answer that came in time.
HEARD = 2.0

#: The classes of SQLSTATEs that say that no row can hold a result: neither now nor after another run.
_NO_ROW_HOLDS_IT = frozenset({"22", "23"})

POISONED = "This could not be finished. Your credits are back."


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often."""

    lease_seconds: float
    heartbeat_seconds: float
    max_attempts: int  # times that a worker takes it up, without retries; a crash of the worker counts as one


@dataclass(frozen=True, slots=True)
class Runner:
    """All that a worker needs to run generations."""

    dependencies: RunDependencies
    operations: Operations
    limits: Limits
    worker: str

    @property
    def db(self) -> Database:
        """The database that decides."""
        return self.dependencies.db

    @property
    def holder(self) -> lease.Holder:
        """What this worker's claims say."""
        return lease.Holder(self.worker, self.limits.lease_seconds)

    async def claim_next(self, full: Sequence[UUID] = (), pick: lease.Pick = lease.Pick.NEW) -> Claim | None:
        """Take the generation whose turn it is, of anybody but the users in `full`."""
        return await lease.claim_next(self.db, self.holder, full, pick)

    async def run(self, generation_id: UUID) -> str:
        """Run that very generation if it is there to be taken; return what became of it, for the log."""
        claim = await lease.claim(self.db, self.holder, generation_id)
        return await self.run_claimed(claim) if claim else "not_taken"

    async def run_claimed(self, claim: Claim) -> str:
        """Run what has been taken; return what became of it, for the log."""
        with structlog.contextvars.bound_contextvars(
            generation_id=str(claim.id), user_id=str(claim.user_id), operation=claim.operation, attempt=claim.attempt
        ):
            try:
                made = await self._work(claim)
                outcome = await _uncut(self._move(claim, made))
            except (ClaimLost, Unavailable):  # taken over or ended; or the lease decides, when the database is back
                outcome = LOST
            except asyncio.CancelledError:
                # Somebody else may go on at once, unless an order is under way that can't be placed again: its answer
                # is heard first, or the next run would take it for lost.
                pause = detached.PATIENCE + HEARD if self.dependencies.detached.has(claim.id) else 0
                await asyncio.shield(lease.leave(self.db, claim, seconds=pause, counts=True))
                raise
            log.info("generation_left", outcome=outcome)
            return outcome

    async def _work(self, claim: Claim) -> Result | Wish:
        """Run the operation; return its result, or what the run wants instead."""
        operation = self.operations.get(claim.operation)
        if claim.attempt - claim.retries > self.limits.max_attempts:  # each step counts its retries by itself
            return End(GenerationError(FailureCode.INTERNAL, POISONED, operator_message="too many attempts"))
        if operation is None:
            return End(GenerationError(FailureCode.PROVIDER_UNAVAILABLE, operator_message="the operation isn't served"))
        try:
            return await self._with_heartbeat(claim, operation)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # a bug ends one generation, logged in full, and not the worker
            return _bug_or_failure(error)

    async def _with_heartbeat(self, claim: Claim, operation: Operation[Any]) -> Result | Wish:
        """Run the operation while the lease is kept; drop it as soon as the lease is lost."""
        context = RunContext(self.dependencies, claim, StepRows(self.db, claim))
        beating = asyncio.create_task(self._beat(claim))
        working = asyncio.create_task(_operate(operation, claim, context))
        try:
            try:
                await asyncio.wait((working, beating, context.wish), return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                if not context.wish.done():  # else it has what a vendor has said: we go once that is kept
                    raise
            if context.wish.done():
                return context.wish.result()
            if working.done():
                return working.result()
            if error := beating.exception():
                log.error("heartbeat_failed", error=repr(error))
        finally:
            for task in (working, beating):
                task.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)
        return LOST

    async def _move(self, claim: Claim, made: Result | Wish) -> str:
        """Make the run's last move, with the verdicts that come with it, in one statement."""
        match made:
            case Result():
                try:
                    kept = await retry_while_unavailable(partial(settle.succeed, self.db, claim, made))
                except (*REFUSED, *UNFIT) as error:
                    if isinstance(error, REFUSED) and sqlstate(error)[:2] not in _NO_ROW_HOLDS_IT:
                        raise
                    return await self._move(claim, _bug_or_failure(error))
                return "succeeded" if kept else LOST
            case End(error, verdicts):
                log.warning("generation_failed", code=error.code.value, operator_message=error.operator_message)
                fail = partial(settle.fail, self.db, claim, error.code, error.message, verdicts)
                return "failed" if await retry_while_unavailable(fail) else LOST
            case Leave(seconds, outcome, verdicts):
                retried = outcome != "snoozed"
                # Up to a quarter more, so that what failed together doesn't come back together.
                wait = jittered(seconds, 1.0, 1.25) if retried else seconds
                leave = partial(lease.leave, self.db, claim, seconds=wait, counts=retried, verdicts=verdicts)
                rows = StepRows(self.db, claim)
                try:
                    left = await retry_while_unavailable(leave)
                except (Unavailable, asyncio.CancelledError):
                    rows.log_lost(verdicts)
                    raise
                if not left:
                    for verdict in verdicts:
                        await rows.keep_late(verdict)
                return outcome if left else LOST
        return LOST

    async def _beat(self, claim: Claim) -> None:
        """Renew the lease until it is lost; then return."""
        renewed = monotonic()
        while monotonic() - renewed < self.limits.lease_seconds:
            await asyncio.sleep(self.limits.heartbeat_seconds)
            try:
                if not await lease.renew(self.db, claim, lease_seconds=self.limits.lease_seconds):
                    return
                renewed = monotonic()
            except Unavailable:
                if not self.db.outage.is_on:  # else that has been said already
                    log.warning("heartbeat_missed")


async def _uncut(move: Coroutine[None, None, str]) -> str:
    """Finish a move even if we are cancelled meanwhile: it keeps what a vendor has answered."""
    moving = asyncio.create_task(move)
    try:
        return await asyncio.shield(moving)
    except asyncio.CancelledError:
        await asyncio.wait({moving}, timeout=detached.PATIENCE)
        moving.cancel()
        raise


async def _operate(operation: Operation[Any], claim: Claim, context: RunContext) -> Result:
    result = await operation.run(operation.from_json(claim.input), context)
    gives = {"media"} if result.outputs else set()
    gives |= {"data"} if result.data is not None else set()
    if gives != operation.gives:
        raise TypeError(f"{operation.name} gives {sorted(operation.gives)}, and has given {sorted(gives)}")
    return result


def _bug_or_failure(error: Exception) -> End:
    """Return the end for what an operation has raised: its own verdict, or a bug, which is logged in full."""
    if isinstance(error, GenerationError):
        return End(error)
    log.error("generation_crashed", exc_info=error)
    observe.report(error)
    return End(GenerationError(FailureCode.INTERNAL, operator_message=type(error).__name__))
