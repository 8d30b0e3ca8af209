"""What OpenAI's models can do. Apart from the adapter, so that it is known without loading the SDK."""

from collections.abc import Mapping

from tallyframe.catalog import Capability
from tallyframe.providers.base import Offer

#: OpenAI takes up to 500 pictures and 50 MB per request (its guide on images, 2026); ten of ours fit into that.
MOST_PICTURES = 10


def offers_of(models: Mapping[Capability, str]) -> Mapping[Capability, Offer]:
    """Return what each of the models can do."""
    return {
        capability: Offer(max_images=MOST_PICTURES if capability == "vision" else 0, model=model)
        for capability, model in models.items()
    }
