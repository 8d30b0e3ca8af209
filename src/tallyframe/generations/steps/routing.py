"""Which provider gets an order: the settings' order, without those that can't make it or have said no for good."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from tallyframe.errors import FAILURE_POLICY, FailureCode, GenerationError
from tallyframe.providers.base import Call, Media, Offer, Provider, Ticket


@dataclass(frozen=True, slots=True)
class Route:
    """One order bound to one provider: how to place it and how to collect it."""

    provider: Provider
    make: Callable[[Call], Awaitable[Media | Ticket]]
    collect: Callable[..., Awaitable[Media | Ticket]]  # (ticket, call=…)


def can_make(offer: Offer, aspect_ratio: str, seconds: int | None = None) -> bool:
    """Tell whether an order is within the offer; `seconds` is a video's length."""
    return aspect_ratio in offer.aspect_ratios and (seconds is None or seconds in offer.seconds)


def remaining(deals: Sequence[Route], verdicts: Collection[str]) -> list[Route]:
    """Return the deals whose provider has not said its last word, in order."""
    return [deal for deal in deals if deal.provider.name not in verdicts]


def find_route(deals: Sequence[Route], provider: str) -> Route:
    """Return the deal with the provider of that name. Raises GenerationError when it is no longer configured."""
    for deal in deals:
        if deal.provider.name == provider:
            return deal
    raise GenerationError(
        FailureCode.PROVIDER_UNAVAILABLE, operator_message=f"{provider} holds a ticket but is no longer configured"
    )


def is_terminal(code: FailureCode) -> bool:
    """Tell whether a provider's last word ends the generation: then no other provider is asked.

    A refusal by one vendor's content policy is not shopped around, and what could not be stored has been bought, and
    elsewhere would be bought again.
    """
    return FAILURE_POLICY[code][0] == "user" or code is FailureCode.STORAGE_UNAVAILABLE
