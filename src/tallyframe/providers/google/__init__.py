"""Google's models through google-genai: images, text and vision by Gemini, videos by Omni and Veo."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tallyframe.catalog import Capability
from tallyframe.providers.base import Offer, Provider
from tallyframe.providers.google.offers import offers_of

if TYPE_CHECKING:
    from tallyframe.settings import Settings


def offers(name: str, models: Mapping[Capability, str]) -> Mapping[Capability, Offer]:  # noqa: ARG001  # models tell
    """Return what can be ordered, without loading the SDK."""
    return offers_of(models)


def build(name: str, settings: "Settings", models: Mapping[Capability, str]) -> Provider:
    """Make the provider gemini, omni or veo. Raises ValueError for settings that can't work."""
    from tallyframe.providers.google.client import GoogleAccess
    from tallyframe.providers.google.gemini import Gemini
    from tallyframe.providers.google.omni import OmniVideos, omni_google
    from tallyframe.providers.google.veo import VeoVideos, veo_google

    google = settings.providers.google
    with_project = google.vertex and google.cloud_project
    access = GoogleAccess(
        api_key="" if with_project else google.api_key.get_secret_value(),
        base_url=google.base_url or None,
        timeout=settings.providers.timeout,
        max_bytes=settings.limits.max_media_bytes,
        vertex=google.vertex,
        project=google.cloud_project if with_project else "",
        location=google.cloud_location if with_project else "",
    )
    if name == "omni":
        return OmniVideos(omni_google(access), models["video"], settings.providers.poll)
    if name == "veo":
        return VeoVideos(veo_google(access), models["video"], settings.providers.poll)
    return Gemini(access, models, google.image_size)
