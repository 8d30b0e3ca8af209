"""Which providers there are, and which serve, in what order, by the settings.

Each is imported only when it is asked for: a vendor's client library takes memory and time to load.
"""

from typing import TYPE_CHECKING

from tallyframe.providers.base import ImageProvider, Offer, Offers, Providers, VideoProvider
from tallyframe.settings import Settings, SettingsError

if TYPE_CHECKING:
    from tallyframe.providers.google.client import GoogleAccess
    from tallyframe.providers.offline import OfflineProvider


def build_providers(settings: Settings) -> Providers:
    """Make the providers that the settings name. Raises SettingsError."""
    try:
        return Providers(
            image=tuple(_image(name, settings) for name in settings.providers_for_images),
            video=tuple(_video(name, settings) for name in settings.providers_for_videos),
        )
    except ValueError as error:  # what only the adapter itself can tell of its settings
        raise SettingsError(f"Google's settings: {error}") from None


def offers(settings: Settings) -> Offers:
    """Return what can be ordered, without making a provider."""
    return Offers(
        image=tuple(_offer(name, settings) for name in settings.providers_for_images),
        video=tuple(_offer(name, settings) for name in settings.providers_for_videos),
    )


async def close_providers(providers: Providers) -> None:
    """Close each provider's connections, once, however many capabilities it serves."""
    for provider in {id(each): each for group in (providers.image, providers.video) for each in group}.values():
        await provider.aclose()


def _image(name: str, settings: Settings) -> ImageProvider:
    if name == "gemini":
        from tallyframe.providers.google.client import Google
        from tallyframe.providers.google.gemini import GeminiImages

        return GeminiImages(Google(_access(settings)), settings.model_of(name), settings.image_size)
    return _offline()


def _video(name: str, settings: Settings) -> VideoProvider:
    if name == "omni":
        from tallyframe.providers.google.omni import OmniVideos, omni_google

        return OmniVideos(omni_google(_access(settings)), settings.model_of(name), settings.provider_poll)
    if name == "veo":
        from tallyframe.providers.google.veo import VeoVideos, veo_google

        return VeoVideos(veo_google(_access(settings)), settings.model_of(name), settings.provider_poll)
    return _offline()


def _offline() -> "OfflineProvider":
    from tallyframe.providers.offline import OfflineProvider

    return OfflineProvider()


def _offer(name: str, settings: Settings) -> Offer:
    if name == "offline":
        return _offline().offer
    from tallyframe.providers.google.offers import offer

    return offer(name, settings.model_of(name))


def _access(settings: Settings) -> "GoogleAccess":
    from tallyframe.providers.google.client import GoogleAccess

    with_project = settings.vertex and settings.google_cloud_project
    return GoogleAccess(
        api_key="" if with_project else settings.gemini_api_key.get_secret_value(),
        base_url=settings.gemini_base_url or None,
        timeout=settings.provider_timeout,
        max_bytes=settings.max_media_bytes,
        vertex=settings.vertex,
        project=settings.google_cloud_project if with_project else "",
        location=settings.google_cloud_location if with_project else "",
    )
