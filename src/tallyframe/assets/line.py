"""Who may do something costly now, who waits for it, and who is sent away: bounded in all, and for each user."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tallyframe.errors import TallyframeError, Unavailable

#: Seconds after which whoever was sent away may ask again: as long as an ordinary picture takes at most.
RETRY_AFTER = 5


class RateLimited(TallyframeError):
    """Too many of your requests are under way. Wait for some to end."""

    status = 429
    code = "rate_limited"

    def __init__(self, detail: str | None = None, *, retry_after: int = RETRY_AFTER) -> None:
        super().__init__(detail, retry_after=retry_after)  # in seconds


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many may be at it, how many may wait, of all and of one user, and how long they wait, in seconds."""

    at_once: int
    of_one_user: int
    waiting: int
    waiting_of_one_user: int
    seconds: float


class Line:
    """Lets callers of one event loop in: next is the user whose latest turn is longest ago, and his earliest caller.

    So whoever sends many keeps others waiting for one of them at most. Users are told apart by any key. `what`
    ends the messages: "Too many of your ..." and "Too many ...".
    """

    def __init__(self, what: str, bounds: Bounds) -> None:
        self._what = what
        self._bounds = bounds
        self._inside: Counter[Hashable] = Counter()
        self._waiting: list[tuple[Hashable, asyncio.Future[None]]] = []
        self._turns = 0
        self._latest: dict[Hashable, int] = {}  # turn of each user who is here; none for those who had none yet

    @asynccontextmanager
    async def turn(self, user: Hashable) -> AsyncIterator[None]:
        """Let the block run when it is the user's turn. Raises as `enter`."""
        await self.enter(user)
        try:
            yield
        finally:
            self.leave(user)

    async def enter(self, user: Hashable) -> None:
        """Wait for a turn; `leave` ends it. Raises RateLimited or Unavailable where the line, or the wait, is too long.

        RateLimited, where the user's own others are why; else Unavailable.
        """
        if self._may_enter(user):
            self._let_in(user)
            return
        if sum(who == user for who, _ in self._waiting) >= self._bounds.waiting_of_one_user:
            raise self._refusal(user)
        if len(self._waiting) >= self._bounds.waiting:
            raise Unavailable(f"Too many {self._what}. Try again shortly.", retry_after=RETRY_AFTER)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((user, turn))
        try:
            async with asyncio.timeout(self._bounds.seconds):
                await turn
        except BaseException as error:
            if turn.cancelled():
                self._waiting.remove((user, turn))
                self._forget(user)
            else:  # it came at the very moment
                self.leave(user)
            if isinstance(error, TimeoutError):
                raise self._refusal(user) from None
            raise

    def leave(self, user: Hashable) -> None:
        """End a turn, and let in whoever may come now."""
        self._inside[user] -= 1
        while may_enter := [each for each in self._waiting if self._may_enter(each[0]) and not each[1].done()]:
            following = min(may_enter, key=lambda each: self._latest.get(each[0], 0))
            self._waiting.remove(following)
            self._let_in(following[0])
            following[1].set_result(None)
        self._forget(user)

    def _let_in(self, user: Hashable) -> None:
        self._turns += 1
        self._latest[user] = self._turns
        self._inside[user] += 1

    def _forget(self, user: Hashable) -> None:
        """Keep nothing about a user who isn't here any more."""
        if not self._inside[user] and all(who != user for who, _ in self._waiting):
            del self._inside[user]
            self._latest.pop(user, None)

    def _may_enter(self, user: Hashable) -> bool:
        return self._inside.total() < self._bounds.at_once and self._inside[user] < self._bounds.of_one_user

    def _refusal(self, user: Hashable) -> RateLimited | Unavailable:
        if self._inside[user] >= self._bounds.of_one_user:
            return RateLimited(f"Too many of your {self._what}. Wait for some to end.")
        return Unavailable(f"Too many {self._what}. Try again shortly.", retry_after=RETRY_AFTER)
