"""④ Whose turn is it? A ring says that there is work, and not whose: Postgres tells what is next.

Each free slot takes what is next, runs it, and takes again until nothing is ready. So it doesn't matter which ring
comes first, or whether rings come at all once the slots are busy. No user may have all slots of a worker: whoever
comes next finds one free, however much somebody else has ordered.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from time import monotonic
from uuid import UUID

import structlog

from tallyframe import observe
from tallyframe.errors import Unavailable
from tallyframe.generations.claim import Claim
from tallyframe.generations.run.runner import Runner

log = structlog.get_logger()


#: One in so many takes the oldest: whoever comes again and again is first again and again, but not every time.
OLDEST_EVERY = 5


#: Seconds between two looks for work that don't wait for a ring.
LOOK_EVERY = 0.5


class Poller:
    """Looks for work beside the rings: little while rings can be relied upon, and with every free slot while not."""

    def __init__(self, dispatcher: "Dispatcher", ringing: Callable[[], Awaitable[object]]) -> None:
        """`ringing` is what rings for what is due; it raises, or takes its time, when Redis is away."""
        self._dispatcher = dispatcher
        self._ringing = ringing
        self._rang = monotonic()

    async def ring(self) -> None:
        """Ring for what is due."""
        await self._ringing()
        self._rang = monotonic()

    async def look(self) -> None:
        """Look for work here, so that with Redis away it waits for nothing but Postgres."""
        if monotonic() - self._rang > 3 * LOOK_EVERY:
            self._dispatcher.wake_all()
        else:
            self._dispatcher.wake()  # somebody else may have heard a ring for whom there was no slot


class Dispatcher:
    """The slots of one worker: `slots` generations at once, at most `most` of them one user's."""

    def __init__(self, runner: Runner, *, slots: int, most: int) -> None:
        self._runner = runner
        self._slots = slots
        self._most = most
        self._rings = 0
        self._taken = 0
        self._takers: set[asyncio.Task[None]] = set()
        self._running: Counter[UUID] = Counter()  # by user
        self._claiming = asyncio.Lock()  # one at a time, so that `_most` is exact
        self._is_open = True
        self._stopped_at = 0.0

    def wake(self) -> None:
        """Look for work, if a slot is free; where none is, whoever becomes free looks by itself."""
        self._rings += 1
        if self._is_open and len(self._takers) < self._slots:
            self._takers.add(asyncio.create_task(self._take()))

    def wake_all(self) -> None:
        """Look for work with every free slot: for when rings can't be relied upon."""
        for _ in range(self._slots):
            self.wake()

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken, so that a ring is better heard by another worker."""
        return len(self._takers) >= self._slots

    def stop(self) -> None:
        """Take nothing new."""
        if self._is_open:
            self._is_open, self._stopped_at = False, monotonic()

    async def aclose(self, seconds: float) -> None:
        """Take nothing new, let what is running go on for so many seconds since the stop, and then give it back."""
        self.stop()
        if self._takers:
            await asyncio.wait(self._takers, timeout=max(seconds - (monotonic() - self._stopped_at), 0))
        takers = list(self._takers)
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)

    async def _take(self) -> None:
        try:
            heard = -1
            while heard != self._rings:  # somebody rang while we looked and found nothing
                heard = self._rings
                while claim := await self._next():
                    await self._run(claim)
        except Unavailable as error:  # the outbox rings again
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
            claim = await self._runner.claim_next(full, oldest=self._taken % OLDEST_EVERY == OLDEST_EVERY - 1)
            if claim:
                self._taken += 1
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
