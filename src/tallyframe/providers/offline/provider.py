"""Answers tasks: obeys the cards, gives tickets, and leaves the drawing to threads."""

import asyncio
import time
from collections.abc import Callable, Mapping

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, ImageTask, Offer, Task, Ticket, VideoTask
from tallyframe.providers.offline import tickets
from tallyframe.providers.offline.cards import Cards, read_cards
from tallyframe.providers.offline.film import VIDEO_SIZES, shoot_video
from tallyframe.providers.offline.picture import IMAGE_SIZES, draw_image
from tallyframe.providers.offline.writing import note_input, write

_VIDEO_POLL_SECONDS = 0.2  # a video without a delay is ready at once; this only keeps askers from spinning

_MODEL = "offline-1"
#: What it can do.
OFFERS: Mapping[Capability, Offer] = {
    "image": Offer(tuple(IMAGE_SIZES), max_images=4, model=_MODEL),
    "video": Offer(tuple(VIDEO_SIZES), tuple(range(1, 61)), max_images=1, model=_MODEL),
    "text": Offer(max_images=0, model=_MODEL),
    "vision": Offer(max_images=10, model=_MODEL),
}


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
        return await write(task, cards, call.usage)
    given = [await picture.read() for picture in task.inputs]
    if isinstance(task, VideoTask):
        return await asyncio.to_thread(shoot_video, task, given[0] if given else None, cards.prompt)
    return await asyncio.to_thread(draw_image, task, given, cards.prompt)
