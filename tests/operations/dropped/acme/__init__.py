"""Acme, who writes: one POST per order, a key in a header, JSON both ways.

Nothing but this folder and its line in the catalogue knows of it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tallyframe.catalog import Capability
from tallyframe.providers.base import Offer, Provider

if TYPE_CHECKING:
    from tallyframe.settings import Settings


def offers(name: str, models: Mapping[Capability, str]) -> Mapping[Capability, Offer]:  # there is one
    """Return what can be ordered."""
    return {capability: Offer(max_images=0, model=model) for capability, model in models.items()}


def build(name: str, settings: "Settings", models: Mapping[Capability, str]) -> Provider:
    """Make the provider."""
    from .writer import Acme

    return Acme(settings.variable("ACME_API_KEY"), offers(name, models), settings.providers.timeout)
