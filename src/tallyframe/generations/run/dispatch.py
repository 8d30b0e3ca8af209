"""④ Whose turn is it? A wake-up says that there is work, but not which: Postgres decides what is next.

A free slot takes the next generation, runs it, and takes again until none is ready. After each claim the slot wakes up
another free slot of this worker or, if there is none, another worker through Redis. So one wake-up fills all free
slots, and further ones do no harm. No user may have all slots of a worker, so that other users always find one free.
"""

import asyncio
from collections import Counter
from uuid import UUID

import structlog

from tallyframe import observe
from tallyframe.errors import Unavailable
from tallyframe.generations.claim import Claim
from tallyframe.generations.run.lease import Pick
from tallyframe.generations.run.runner import Runner
from tallyframe.outbox.relay import JobQueue, put_wake_up, take_wake_up

log = structlog.get_logger()

#: What a worker's claims take first, in this order. To look at a ticket is quick, but there may be thousands: a new
#: order waits for two of them at most, and they wait for no queue of new orders. The oldest comes, too, whatever its
#: turn, so that users who order again and again can't starve others.
PICKS = (Pick.NEW, Pick.AGAIN, Pick.NEW, Pick.AGAIN, Pick.OLDEST)


class Dispatcher:
    """The slots of one worker: `slots` generations at once, at most `most` of them one user's."""

    def __init__(self, runner: Runner, *, slots: int, most: int) -> None:
        self._runner = runner
        self._outage = runner.db.outage
        self._slots = slots
        self._most = most
        self._picks = 0
        self._takers: set[asyncio.Task[None]] = set()
        self._running: Counter[UUID] = Counter()  # by user
        self._claiming = asyncio.Lock()  # one at a time, so that `_most` is exact
        self._is_open = True
        self._missed = 0  # wake-ups that came while no slot was free
        self._owes_wake_up = False

    @property
    def has_room(self) -> bool:
        """Whether a slot is free. None is while Postgres takes no writes: all that a run does would be in vain."""
        if self._outage.is_on and self._outage.takes_no_writes:
            return False
        return self._is_open and len(self._takers) < self._slots

    async def poll(self, redis: JobQueue) -> None:
        """Take a wake-up if a slot is free. Set it again if one came while no slot was free. Raises REDIS_AWAY.

        A full worker must not take it: the wake-up would be lost to an idle one.
        """
        if self._owes_wake_up:
            self._owes_wake_up = False
            await put_wake_up(redis)
        elif self.has_room and await take_wake_up(redis):
            self.wake()

    def wake(self) -> None:
        """Look for work. If no slot is free, one that is looking just now looks again, and another worker is woken."""
        if not self._start_taker():
            self._missed += 1
            self._owes_wake_up = True

    async def look(self) -> None:
        """Look for work if a slot is free: a wake-up may have got lost."""
        self._start_taker()

    def _start_taker(self) -> bool:
        """Have a free slot look for work; False: there is none."""
        has_room = self.has_room
        if has_room:
            self._takers.add(asyncio.create_task(self._take()))
        return has_room

    async def aclose(self, seconds: float) -> None:
        """Take nothing new, wait up to `seconds` for what is running, and give back the rest."""
        self._is_open = False
        if self._takers:
            await asyncio.wait(self._takers, timeout=seconds)
        takers = list(self._takers)
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)

    async def _take(self) -> None:
        try:
            while True:
                missed = self._missed
                if claim := await self._next():
                    self.wake()
                    await self._run(claim)
                elif missed == self._missed:
                    break
        except Unavailable as error:  # the next look finds the work
            if not self._outage.is_on:  # else that has been said already
                log.warning("nothing_taken", error=type(error).__name__)
        except Exception as error:  # a bug costs this look for work, and not the worker
            log.exception("taker_failed")
            observe.report(error)
        finally:
            self._takers.discard(asyncio.current_task())

    async def _next(self) -> Claim | None:
        async with self._claiming:
            if not self._is_open:
                return None
            full = [user_id for user_id, running in self._running.items() if running >= self._most]
            self._picks += 1
            claim = await self._runner.claim_next(full, PICKS[self._picks % len(PICKS)])
            if claim:
                self._running[claim.user_id] += 1
            return claim

    async def _run(self, claim: Claim) -> None:
        try:
            with observe.tracer.start_as_current_span("run_generation") as span:
                span.set_attribute("tallyframe.generation_id", str(claim.id))
                span.set_attribute("tallyframe.outcome", await self._runner.run_claimed(claim))
        finally:
            self._running[claim.user_id] -= 1
            if not self._running[claim.user_id]:
                del self._running[claim.user_id]
