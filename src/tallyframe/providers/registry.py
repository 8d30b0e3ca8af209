"""Which providers there are, and which serve, in what order, by the settings."""

from collections.abc import Callable

from tallyframe.providers.base import ImageProvider, Providers, VideoProvider
from tallyframe.providers.offline import OfflineProvider
from tallyframe.settings import Settings

_IMAGE: dict[str, Callable[[Settings], ImageProvider]] = {"offline": lambda _: OfflineProvider()}
_VIDEO: dict[str, Callable[[Settings], VideoProvider]] = {"offline": lambda _: OfflineProvider()}


def build_providers(settings: Settings) -> Providers:
    """Make the providers that the settings name."""
    return Providers(
        image=tuple(_IMAGE[name](settings) for name in settings.providers_for_images),
        video=tuple(_VIDEO[name](settings) for name in settings.providers_for_videos),
    )
