"""OpenAI's models through its own library: text, and pictures looked at."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tallyframe.catalog import Capability
from tallyframe.providers.base import Offer, Provider
from tallyframe.providers.openai.offers import offers_of

if TYPE_CHECKING:
    from tallyframe.settings import Settings


def offers(name: str, models: Mapping[Capability, str]) -> Mapping[Capability, Offer]:  # noqa: ARG001  # there is one
    """Return what can be ordered, without loading the SDK."""
    return offers_of(models)


def build(name: str, settings: "Settings", models: Mapping[Capability, str]) -> Provider:  # noqa: ARG001  # there is one
    """Make the provider. Raises ValueError for settings that can't work."""
    from tallyframe.providers.openai.client import OpenAIAccess
    from tallyframe.providers.openai.provider import OpenAI

    access = OpenAIAccess(
        api_key=settings.providers.openai.api_key.get_secret_value(),
        base_url=settings.providers.openai.base_url or None,
        timeout=settings.providers.timeout,
        max_bytes=settings.limits.max_media_bytes,
    )
    return OpenAI(access, models)
