"""What each of Google's models can do. Apart from the adapters, so that it is known without loading the SDK.

Lengths and shapes: https://ai.google.dev/gemini-api/docs/video and /omni, /image-generation, as of November 2026.
"""

from collections.abc import Mapping

from tallyframe.catalog import Capability
from tallyframe.providers.base import Offer

_WIDE_AND_TALL = ("9:16", "16:9")
_VEO = "veo-"
_OMNI_LONGER = "gemini-omni-1.2"  # from this model on, up to 15 seconds


def offers_of(models: Mapping[Capability, str]) -> Mapping[Capability, Offer]:
    """Return what each of the models can do."""
    return {capability: offer_of(capability, model) for capability, model in models.items()}


def offer_of(capability: Capability, model: str) -> Offer:
    """Return what `model` can do."""
    if capability == "text":
        return Offer(max_images=0, model=model)
    if capability == "vision":
        return Offer(max_images=10, model=model)
    if capability == "image":
        return Offer(aspect_ratios=("1:1", "9:16", "16:9", "4:5", "3:4"), model=model)
    if model.startswith(_VEO):
        return Offer(_WIDE_AND_TALL, (4, 6, 8), max_images=1, model=model)
    longest = 15 if model.startswith(_OMNI_LONGER) else 10
    return Offer(_WIDE_AND_TALL, tuple(range(4, longest + 1)), max_images=1, model=model)
