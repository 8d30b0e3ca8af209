"""Makes the providers that serve, in the order of the settings, out of the catalogue.

Each is imported only when it is asked for: a vendor's client library takes memory and time to load.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from tallyframe.catalog import BY_NAME, CAPABILITIES, Capability
from tallyframe.providers.base import Offer, Offers, Provider, Providers
from tallyframe.providers.media_threads import MEDIA_THREADS
from tallyframe.settings import Settings, SettingsError


def build_providers(settings: Settings) -> Providers:
    """Make the providers that the settings name, each once for all its capabilities. Raises SettingsError."""
    MEDIA_THREADS.resize(settings.workers.media_threads)
    made: dict[str, Provider] = {}
    for name, models in _models_in_use(settings).items():
        try:
            made[name] = _folder(name).build(name, settings, models)
        except ValueError as error:  # what only the adapter itself can tell of its settings
            raise SettingsError(f"The settings of {name}: {error}") from None
    return {each: tuple(made[name] for name in names) for each, names in _names(settings).items()}


def offers(settings: Settings) -> Offers:
    """Return what can be ordered, without making a provider."""
    offered: dict[str, Mapping[Capability, Offer]] = {
        name: _folder(name).offers(name, models) for name, models in _models_in_use(settings).items()
    }
    return {each: tuple(offered[name][each] for name in names) for each, names in _names(settings).items()}


async def close_providers(providers: Providers) -> None:
    """Close the connections of all providers, each once although it may serve several capabilities."""
    for provider in {id(each): each for serving in providers.values() for each in serving}.values():
        await provider.aclose()


def _names(settings: Settings) -> dict[Capability, tuple[str, ...]]:
    return {each: names for each in CAPABILITIES if (names := settings.providers_for(each))}


def _models_in_use(settings: Settings) -> dict[str, dict[Capability, str]]:
    """Return the model of each capability that a provider serves, by the provider's name."""
    models: dict[str, dict[Capability, str]] = {}
    for capability, names in _names(settings).items():
        for name in names:
            models.setdefault(name, {})[capability] = settings.model_of(name, capability)
    return models


def _folder(name: str) -> Any:  # noqa: ANN401  # a package with `build` and `offers`
    return import_module(f"tallyframe.providers.{BY_NAME[name].folder}")
