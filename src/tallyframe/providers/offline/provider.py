"""Answers orders: obeys the cards, gives tickets, and leaves the drawing to threads."""

import asyncio
import time
from collections.abc import Callable

from tallyframe.providers.base import Call, ImageOrder, Media, Offer, Ticket, VideoOrder
from tallyframe.providers.offline import tickets
from tallyframe.providers.offline.cards import Cards, read_cards
from tallyframe.providers.offline.film import MAX_SECONDS, check_video, shoot_video
from tallyframe.providers.offline.picture import IMAGE_SIZES, check_image, draw_image

_VIDEO_POLL_SECONDS = 0.2  # a video without a delay is ready at once; this only keeps askers from spinning


class OfflineProvider:
    """Makes images and videos by itself; see the package for the test cards that it takes in prompts.

    It keeps nothing: any instance in any process can collect a ticket. `clock` gives seconds since the epoch.
    """

    name: str = "offline"
    model: str = "offline-1"
    repeatable: bool = True
    offer: Offer = Offer(aspect_ratios=tuple(IMAGE_SIZES), seconds=tuple(range(1, MAX_SECONDS + 1)))

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    async def make_image(self, order: ImageOrder, call: Call) -> Media | Ticket:
        """Give a PNG, or with a delay card a ticket. Raises ProviderError for unusable orders and as cards say."""
        check_image(order)
        cards = read_cards(order.prompt)
        await _answer(cards, call)
        if cards.delay is not None:
            return self._ticket(call, cards.delay)
        return await _draw(order, cards)

    async def collect_image(self, ticket: str, order: ImageOrder, call: Call) -> Media | Ticket:  # noqa: ARG002 - the port
        """Give the PNG, or the ticket again while its delay lasts. Raises ProviderError as `make_image` does."""
        waiting = tickets.waiting(ticket, self._now_ms())
        if waiting is not None:
            return waiting
        return await _draw(order, read_cards(order.prompt))

    async def make_video(self, order: VideoOrder, call: Call) -> Media | Ticket:
        """Give a ticket. Raises ProviderError for unusable orders and as cards say."""
        check_video(order)
        cards = read_cards(order.prompt)
        await _answer(cards, call)
        if cards.delay is not None:
            return self._ticket(call, cards.delay)
        cards.check_verdict()
        return Ticket(tickets.issue(call.key, self._now_ms()), _VIDEO_POLL_SECONDS)

    async def collect_video(self, ticket: str, order: VideoOrder, call: Call) -> Media | Ticket:  # noqa: ARG002 - the port
        """Give the MP4, or the ticket again while its delay lasts. Raises ProviderError as `make_video` does."""
        waiting = tickets.waiting(ticket, self._now_ms())
        if waiting is not None:
            return waiting
        cards = read_cards(order.prompt)
        cards.check_verdict()
        return await asyncio.to_thread(shoot_video, order, cards.prompt)

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Stop at once: nothing is at work before its ticket is collected."""
        return True

    async def probe(self) -> str:
        """Say that it is there: it needs nothing."""
        return "makes test pictures and films by itself, without a key"

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _ticket(self, call: Call, delay: float) -> Ticket:
        ready_at_ms = self._now_ms() + round(delay * 1000)
        return Ticket(tickets.issue(call.key, ready_at_ms), tickets.poll_after(delay))

    def _now_ms(self) -> int:
        return round(self._clock() * 1000)


async def _answer(cards: Cards, call: Call) -> None:
    """Do what cards order before an order is accepted."""
    if cards.hang:
        await asyncio.sleep(cards.hang)
    cards.check_try(call.attempt)


async def _draw(order: ImageOrder, cards: Cards) -> Media:
    cards.check_verdict()
    return await asyncio.to_thread(draw_image, order, cards.prompt)
