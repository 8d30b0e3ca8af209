"""Answers tasks. Obeys the test cards in their prompts, gives tickets, and leaves the drawing to threads."""

import asyncio
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, ImageTask, Offer, Task, Ticket, VideoTask
from tallyframe.providers.offline import tickets
from tallyframe.providers.offline.film import VIDEO_SIZES, shoot_video
from tallyframe.providers.offline.picture import IMAGE_SIZES, draw_image
from tallyframe.providers.offline.writing import Flaw, note_input, write

MAX_SECONDS = 600.0  # longer delays and hangs are cut to this

_KNOWN = (
    f"The test cards are [fail:CODE] with one of {', '.join(FailureCode)}; [flaky:TRIES], [delay:SECONDS], "
    "[hang:SECONDS] and [empty]; for text and vision also [refuse], [cut], [malformed] and [ignore-schema]."
)

_VIDEO_POLL_SECONDS = 0.2  # a video without a delay is ready at once; this only keeps askers from spinning

_MODEL = "offline-1"
#: What it can do.
OFFERS: Mapping[Capability, Offer] = {
    "image": Offer(tuple(IMAGE_SIZES), max_images=4, model=_MODEL),
    "video": Offer(tuple(VIDEO_SIZES), tuple(range(1, 61)), max_images=1, model=_MODEL),
    "text": Offer(max_images=0, model=_MODEL),
    "vision": Offer(max_images=10, model=_MODEL),
}


@dataclass(frozen=True, slots=True)
class Cards:
    """What a prompt asks for, and what the cards in it order."""

    prompt: str  # without the cards
    fail: FailureCode | None = None
    flaky: int = 0  # this many tries fail first
    delay: float | None = None  # seconds from the order to the result
    hang: float = 0.0  # seconds until the order is answered at all
    empty: bool = False
    flaws: frozenset[Flaw] = frozenset()  # of text and vision; for media they do nothing

    def check_try(self, attempt: int) -> None:
        """Raise a retryable ProviderError if this try, counted from 1, is one that a flaky card fails."""
        if attempt <= self.flaky:
            raise ProviderError(FailureCode.PROVIDER_UNAVAILABLE, retryable=True, operator_message="Test card [flaky].")

    def check_verdict(self) -> None:
        """Raise the final ProviderError that a fail or an empty card orders, if there is one."""
        if self.fail is not None:
            raise ProviderError(self.fail, operator_message=f"Test card [fail:{self.fail}].")
        if self.empty:
            raise ProviderError(
                FailureCode.PROVIDER_REJECTED,
                "The provider returned no result.",
                operator_message="Test card [empty].",
            )


def read_cards(prompt: str) -> Cards:
    """Take the cards out of a prompt. Of two of a kind the later counts.

    Raises ProviderError (invalid_input) for a card whose value makes no sense.
    """
    orders: dict[str, Any] = {}
    flaws: set[Flaw] = set()
    for card in _CARD.finditer(prompt):
        name, value = card[1].lower(), (card[2] or "").strip().lower()
        try:
            told = _READERS[name](value)
        except ValueError:
            # The value is part of the prompt, which an error never carries: so it is not quoted here.
            raise ProviderError(FailureCode.INVALID_INPUT, f"This [{name}] card is not valid. {_KNOWN}") from None
        if name in _FLAWS:
            flaws.add(Flaw(name))
        else:
            orders[name] = told
    return Cards(prompt=" ".join(_CARD.sub(" ", prompt).split()), flaws=frozenset(flaws), **orders)


def _seconds(value: str) -> float:
    seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError
    return min(seconds, MAX_SECONDS)


def _count(value: str) -> int:
    count = int(value)
    if count < 0:
        raise ValueError
    return count


def _nothing(value: str) -> bool:
    if value:
        raise ValueError
    return True


_FLAWS = frozenset(each.value for each in Flaw)
_READERS: dict[str, Callable[[str], object]] = {
    "fail": FailureCode,
    "flaky": _count,
    "delay": _seconds,
    "hang": _seconds,
    "empty": _nothing,
    **dict.fromkeys(_FLAWS, _nothing),
}
_CARD = re.compile(rf"\[({'|'.join(_READERS)})(?::([^\[\]]*))?\]", re.IGNORECASE | re.ASCII)


class OfflineProvider:
    """Makes everything by itself; see the package for the test cards that it takes in prompts.

    It keeps nothing: any instance in any process can collect a ticket. `clock` gives seconds since the epoch.
    """

    name: str = "offline"
    repeatable: bool = True
    offers: Mapping[Capability, Offer] = OFFERS

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    async def start(self, task: Task, call: Call) -> Answer:
        """Give the result, or a ticket: with a delay card, and for every video. Raises ProviderError as cards say.

        Tokens are noted with each call, and count with the one that brings the result or the failure.
        """
        if not task.fits(self.offers[task.capability]):
            raise ProviderError(FailureCode.INVALID_INPUT, "This shape, length or number of pictures is not offered.")
        cards = read_cards(task.prompt)
        if cards.hang:
            await asyncio.sleep(cards.hang)
        if not isinstance(task, ImageTask | VideoTask):
            note_input(task, call.usage)
        cards.check_try(call.attempt)
        if cards.delay is not None:
            ready_at_ms = self._now_ms() + round(cards.delay * 1000)
            return Ticket(tickets.issue(call.key, ready_at_ms), tickets.poll_after(cards.delay))
        cards.check_verdict()
        if isinstance(task, VideoTask):
            return Ticket(tickets.issue(call.key, self._now_ms()), _VIDEO_POLL_SECONDS)
        return await _make(task, cards, call)

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        """Give the result, or the ticket again while its delay lasts. Raises ProviderError as `start` does."""
        if waiting := tickets.waiting(ticket, self._now_ms()):
            return waiting
        cards = read_cards(task.prompt)
        if not isinstance(task, ImageTask | VideoTask):
            note_input(task, call.usage)
        cards.check_verdict()
        return await _make(task, cards, call)

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Stop at once: nothing is at work before its ticket is collected."""
        return True

    async def probe(self, capability: Capability) -> str:  # noqa: ARG002 - the port
        """Say that it is there: it needs nothing."""
        return "makes test pictures, films and answers by itself, without a key"

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


async def _make(task: Task, cards: Cards, call: Call) -> Answer:
    """Make what was ordered."""
    if not isinstance(task, ImageTask | VideoTask):
        return await write(task, cards.prompt, cards.flaws, call.usage)
    given = [await picture.read() for picture in task.inputs]
    if isinstance(task, VideoTask):
        return await asyncio.to_thread(shoot_video, task, given[0] if given else None, cards.prompt)
    return await asyncio.to_thread(draw_image, task, given, cards.prompt)
