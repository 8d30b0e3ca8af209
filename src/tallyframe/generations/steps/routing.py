"""Which providers may get a task: in the settings' order, those that can do it and haven't said their last word."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tallyframe.errors import FAILURE_POLICY, FailureCode
from tallyframe.providers.base import Offer, Provider, Providers, Task


@dataclass(frozen=True, slots=True)
class Route:
    """One task at one provider. `fits`: is it within what the provider offers now?"""

    provider: Provider
    offer: Offer
    fits: bool = True


def routes_of(providers: Providers, task: Task) -> list[Route]:
    """Return a route for each provider of the task's capability, in order."""
    offered = [(provider, provider.offers[task.capability]) for provider in providers.get(task.capability, ())]
    return [Route(provider, offer, task.fits(offer)) for provider, offer in offered]


def able(routes: Sequence[Route], *, without: Collection[str] = ()) -> list[Route]:
    """Return the routes that fit, without those of the providers named."""
    return [route for route in routes if route.fits and route.provider.name not in without]


def find_route(routes: Sequence[Route], provider: str) -> Route | None:
    """Return the route to the provider of that name, whether it fits or not; None if it is no longer configured."""
    return next((route for route in routes if route.provider.name == provider), None)


def find_provider(providers: Providers, name: str) -> Provider | None:
    """Return the provider of that name, whatever it serves."""
    return next((each for group in providers.values() for each in group if each.name == name), None)


def is_terminal(code: FailureCode | str) -> bool:
    """Tell whether a provider's last word ends the generation: then no other provider is asked.

    A refusal by one vendor's content policy is not shopped around, and what could not be stored has been bought, and
    elsewhere would be bought again.
    """
    return FAILURE_POLICY[FailureCode(code)][0] == "user" or code == FailureCode.STORAGE_UNAVAILABLE
