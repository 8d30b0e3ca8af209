"""A vendor that answers as it is told, in turn, and counts what it would bill."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tallyframe.calls.gate import CallLimits
from tallyframe.catalog import CAPABILITIES, Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.generations.steps.decide import RetryPolicy
from tallyframe.providers.base import (
    Answer,
    Call,
    Data,
    ImageTask,
    Media,
    Offer,
    Provider,
    Providers,
    Task,
    Usage,
    VideoTask,
)
from tallyframe.providers.offline.answers import make_up
from tests.support.drawn import GREEN, picture

PNG = Media(picture(GREEN), "image/png", 8, 6)
MP4 = Media(b"\x00\x00\x00\x18ftypmp42 not much of a film", "video/mp4", 8, 6, 1.0)
#: What can be ordered of images and videos; of text and vision, always the same.
EVERYTHING = Offer(aspect_ratios=("1:1", "9:16", "16:9", "4:5", "3:4"), seconds=tuple(range(1, 61)))

#: No wait that a test would feel.
QUICKLY = RetryPolicy(max_retries=2, max_wait=60, collect_again=0.01, base=0.01)

#: An answer, a failure, or what is to happen while the vendor is being asked, which returns the answer.
Said = Answer | bool | Exception | Callable[[], Awaitable[Any]]


class Scripted:
    """Says what the lists hold, from the left; when one is used up, it makes, and stops, whatever is asked for.

    `usage` is what every call that brings an answer is said to have used. `offer` is that of images and videos; its
    model, if it has one, is that of all.
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
        self.name, self.model, self.repeatable = name, offer.model or f"{name}-1", repeatable
        media, words = replace(offer, model=self.model), Offer(max_images=10, model=self.model)
        self.offers: Mapping[Capability, Offer] = {"image": media, "video": media, "text": words, "vision": words}
        self._make, self._collect, self._cancel = deque(make), deque(collect), deque(cancel)
        self._usage = usage or Usage()
        self.bought: Counter[str] = Counter()  # what a vendor would bill, by the key of the try
        self.given: list[list[Media]] = []  # the pictures of each order
        self.asked: list[str] = []  # the tickets that were asked for
        self.stopped: list[str] = []  # the tickets that it was asked to stop

    @property
    def orders(self) -> int:
        return self.bought.total()

    async def start(self, task: Task, call: Call) -> Answer:
        given = [await each.read() for each in task.inputs]
        self.bought[call.key] += 1
        self.given.append(given)
        self._note(call.usage)
        answer: Answer = await _say(self._make, _usual(task))
        return answer

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        self.asked.append(ticket)
        self._note(call.usage)
        answer: Answer = await _say(self._collect, _usual(task))
        return answer

    async def cancel(self, ticket: str) -> bool:
        self.stopped.append(ticket)
        stopped: bool = await _say(self._cancel, usual=True)
        return stopped

    async def probe(self, capability: Capability) -> str:
        return "is made up"

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _note(self, usage: Usage) -> None:
        for name in Usage.__dataclass_fields__:
            setattr(usage, name, getattr(self._usage, name))


def _usual(task: Task) -> Media | Data:
    if isinstance(task, ImageTask):
        return PNG
    return MP4 if isinstance(task, VideoTask) else make_up(task.answer, task.prompt)


async def _say(script: deque[Said], usual: Said) -> Any:
    said = script.popleft() if script else usual
    said = await said() if callable(said) else said
    if isinstance(said, Exception):
        raise said
    return said


def among(*providers: Provider) -> Providers:
    """These and no others, for everything."""
    return dict.fromkeys(CAPABILITIES, providers)


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
