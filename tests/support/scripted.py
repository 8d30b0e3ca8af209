"""A vendor that answers as it is told, in turn, and counts what it would bill."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tallyframe.calls.gate import CallLimits
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.generations.steps.retry import RetryPolicy
from tallyframe.providers.base import Call, ImageOrder, Media, Offer, Providers, Ticket, Usage, VideoOrder
from tests.support.drawn import GREEN, picture

PNG = Media(picture(GREEN), "image/png", 8, 6)
MP4 = Media(b"\x00\x00\x00\x18ftypmp42 not much of a film", "video/mp4", 8, 6, 1.0)
EVERYTHING = Offer(aspect_ratios=("1:1", "9:16", "16:9", "4:5", "3:4"), seconds=tuple(range(1, 61)))

#: No wait that a test would feel.
QUICKLY = RetryPolicy(max_retries=2, max_wait=60, collect_again=0.01, base=0.01)

#: An answer, a failure, or what is to happen while the vendor is being asked, which returns the answer.
Said = Media | Ticket | bool | Exception | Callable[[], Awaitable[Any]]


class Scripted:
    """Says what the lists hold, from the left; when one is used up, it makes, and stops, whatever is asked for.

    `usage` is what every call that brings an answer is said to have used.
    """

    def __init__(
        self,
        name: str,
        *,
        make: Iterable[Said] = (),
        collect: Iterable[Said] = (),
        cancel: Iterable[Said] = (),
        repeatable: bool = False,
        offer: Offer = EVERYTHING,
        usage: Usage | None = None,
    ) -> None:
        self.name, self.model, self.repeatable, self.offer = name, f"{name}-1", repeatable, offer
        self._make, self._collect, self._cancel = deque(make), deque(collect), deque(cancel)
        self._usage = usage or Usage()
        self.bought: Counter[str] = Counter()  # what a vendor would bill, by the key of the try
        self.asked: list[str] = []  # the tickets that were asked for
        self.stopped: list[str] = []  # the tickets that it was asked to stop

    @property
    def orders(self) -> int:
        return self.bought.total()

    async def make_image(self, order: ImageOrder, call: Call) -> Media | Ticket:
        return await self._sell(call, PNG)

    async def make_video(self, order: VideoOrder, call: Call) -> Media | Ticket:
        return await self._sell(call, MP4)

    async def collect_image(self, ticket: str, order: ImageOrder, call: Call) -> Media | Ticket:
        return await self._look(ticket, call, PNG)

    async def collect_video(self, ticket: str, order: VideoOrder, call: Call) -> Media | Ticket:
        return await self._look(ticket, call, MP4)

    async def cancel(self, ticket: str) -> bool:
        self.stopped.append(ticket)
        answer: bool = await _say(self._cancel, usual=True)
        return answer

    async def probe(self) -> str:
        return "is made up"

    async def aclose(self) -> None:
        """There is nothing to close."""

    async def _sell(self, call: Call, done: Media) -> Media | Ticket:
        self.bought[call.key] += 1
        self._note(call.usage)
        answer: Media | Ticket = await _say(self._make, done)
        return answer

    async def _look(self, ticket: str, call: Call, done: Media) -> Media | Ticket:
        self.asked.append(ticket)
        self._note(call.usage)
        answer: Media | Ticket = await _say(self._collect, done)
        return answer

    def _note(self, usage: Usage) -> None:
        for name in Usage.__dataclass_fields__:
            setattr(usage, name, getattr(self._usage, name))


async def _say(script: deque[Said], usual: Said) -> Any:
    said = script.popleft() if script else usual
    said = await said() if callable(said) else said
    if isinstance(said, Exception):
        raise said
    return said


def among(*providers: Scripted) -> Providers:
    """These and no others, for images and for videos."""
    return Providers(image=providers, video=providers)


def failing(code: FailureCode = FailureCode.PROVIDER_UNAVAILABLE, **more: Any) -> ProviderError:
    """A failure that may pass, unless it is said otherwise."""
    return ProviderError(code, **{"retryable": True, **more})


def final(code: FailureCode = FailureCode.PROVIDER_REJECTED, **more: Any) -> ProviderError:
    """A last word."""
    return ProviderError(code, **more)


def limits(*providers: str, most: int = 50, **more: Any) -> CallLimits:
    """Limits and circuits for these providers; seconds as `CallLimits` has them."""
    usual = {"timeout": 30.0, "breaker_failures": 3, "breaker_cooldown": 30.0, "retry_max_wait": 60.0, "prices": {}}
    return CallLimits(in_flight=dict.fromkeys(providers, most), **{**usual, **more})
