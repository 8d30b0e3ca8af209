"""④ Run a generation: claim → operation → settle, with a heartbeat beside it and no transaction open while waiting."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

import sqlalchemy as sa
import structlog

from tallyframe import observe
from tallyframe.db import Database
from tallyframe.errors import FailureCode, GenerationError, Unavailable
from tallyframe.generations.claim import Claim
from tallyframe.generations.end import settle
from tallyframe.generations.run import lease
from tallyframe.generations.steps import detached
from tallyframe.generations.steps.execute import NextProvider, RunContext, RunDependencies, Snoozed, TryAgain
from tallyframe.generations.steps.rows import ClaimLost
from tallyframe.operations.base import Operations, Stored

log = structlog.get_logger()

#: Seconds within which an answer that was heard in time is written down.
HEARD = 2.0

POISONED = "This could not be finished. Your credits are back."


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often."""

    lease_seconds: float
    heartbeat_seconds: float
    max_attempts: int


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

    async def claim_next(self, full: Sequence[UUID] = (), *, oldest: bool = False) -> Claim | None:
        """Take the generation whose turn it is, or the oldest, of anybody but the users in `full`."""
        return await self._claim(lease.next_in_turn(full, oldest=oldest))

    async def run(self, generation_id: UUID) -> str:
        """Run that very generation if it is there to be taken; return what became of it, for the log."""
        claim = await self._claim(lease.this_one(generation_id))
        return await self.run_claimed(claim) if claim else "not_taken"

    async def _claim(self, which: "sa.Select[UUID]") -> Claim | None:
        return await lease.claim(self.db, which, worker=self.worker, lease_seconds=self.limits.lease_seconds)

    async def run_claimed(self, claim: Claim) -> str:
        """Run what has been taken; return what became of it, for the log."""
        with structlog.contextvars.bound_contextvars(
            generation_id=str(claim.id), user_id=str(claim.user_id), operation=claim.operation, attempt=claim.attempt
        ):
            try:
                outcome = await self._run_claimed(claim)
            except Unavailable:  # the database is away; when it is back, the lease decides who goes on
                outcome = "claim_lost"
            log.info("generation_left", outcome=outcome)
            return outcome

    async def _run_claimed(self, claim: Claim) -> str:
        if claim.attempt > self.limits.max_attempts:
            return _won(await settle.fail(self.db, claim, FailureCode.INTERNAL, POISONED), "failed")
        try:
            outputs = await self._with_heartbeat(claim, self._operate(claim))
            return _won(await settle.succeed(self.db, claim, outputs), "succeeded")
        except (Snoozed, TryAgain, NextProvider) as left:
            return await self._leave(claim, left)
        except GenerationError as error:
            return await self._retry_or_fail(claim, error)
        except ClaimLost:  # taken over, canceled or expired
            return "claim_lost"
        except Unavailable:
            raise
        except asyncio.CancelledError:
            await asyncio.shield(lease.retry(self.db, claim, seconds=self._pause(claim), counts=False))
            raise
        except Exception as error:  # a bug ends one generation, logged in full, and not the worker
            log.exception("generation_crashed")
            observe.report(error)
            bug = GenerationError(FailureCode.INTERNAL, operator_message=type(error).__name__)
            return await self._retry_or_fail(claim, bug)

    def _pause(self, claim: Claim) -> float:
        """Return the seconds after which somebody else may go on with what a stopping worker gives back.

        At once, unless an order is under way that can't be placed again: its answer is heard first, or the next run
        would take it for lost.
        """
        return detached.PATIENCE + HEARD if self.dependencies.detached.has(claim.id) else 0

    async def _operate(self, claim: Claim) -> Sequence[Stored]:
        operation = self.operations[claim.operation]
        order = operation.Input.model_validate(claim.input)
        return await operation.run(order, RunContext(self.dependencies, claim))

    async def _leave(self, claim: Claim, left: Snoozed | TryAgain | NextProvider) -> str:
        if isinstance(left, Snoozed):
            return _won(await lease.snooze(self.db, claim, seconds=left.seconds), "snoozed")
        if isinstance(left, TryAgain):
            return _won(await lease.retry(self.db, claim, seconds=left.seconds, counts=False), "retried")
        return _won(await lease.fall_back(self.db, claim), "fell_back")

    async def _retry_or_fail(self, claim: Claim, error: GenerationError) -> str:
        log.warning("generation_error", code=error.code.value, operator_message=error.operator_message)
        if not self.dependencies.retry.gives_up(error, claim.retries):
            seconds = self.dependencies.retry.delay(error, claim.retries)
            return _won(await lease.retry(self.db, claim, seconds=seconds, counts=True), "retried")
        return _won(await settle.fail(self.db, claim, error.code, error.message), "failed")

    async def _with_heartbeat(self, claim: Claim, work: Coroutine[None, None, Sequence[Stored]]) -> Sequence[Stored]:
        """Do the work while the lease is kept; drop it and raise ClaimLost as soon as the lease is lost."""
        tasks = working, beating = asyncio.create_task(work), asyncio.create_task(self._beat(claim))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            if error := beating.exception():
                log.error("heartbeat_failed", error=repr(error))
            raise ClaimLost
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(working, beating, return_exceptions=True)

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
                log.warning("heartbeat_missed")


def _won(won: bool, outcome: str) -> str:  # noqa: FBT001  # reads well at every call
    return outcome if won else "claim_lost"
