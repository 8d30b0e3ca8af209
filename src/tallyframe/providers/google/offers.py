"""What each of Google's models can make. Apart from the adapters, so that it is known without loading the SDK.

Lengths and shapes: https://ai.google.dev/gemini-api/docs/video and /omni, /image-generation, as of November 2026.
"""

from tallyframe.providers.base import Offer

_WIDE_AND_TALL = ("9:16", "16:9")
_OMNI_LONGER = "gemini-omni-1.2"  # from this model on, up to 15 seconds


def offer(provider: str, model: str) -> Offer:
    """Return what `model` makes as `provider`: gemini, omni or veo."""
    if provider == "gemini":
        return Offer(aspect_ratios=("1:1", "9:16", "16:9", "4:5", "3:4"))
    if provider == "veo":
        return Offer(aspect_ratios=_WIDE_AND_TALL, seconds=(4, 6, 8))
    longest = 15 if model.startswith(_OMNI_LONGER) else 10
    return Offer(aspect_ratios=_WIDE_AND_TALL, seconds=tuple(range(4, longest + 1)))
