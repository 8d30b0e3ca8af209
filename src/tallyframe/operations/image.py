"""One image from a prompt and 0 to 4 pictures."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from tallyframe.credits import Credits, whole_credits
from tallyframe.operations.base import AspectRatio, Context, Stored
from tallyframe.providers.base import ImageOrder


class ImageInput(BaseModel):
    """The order as it is kept with the generation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    aspect_ratio: AspectRatio
    images: list[UUID] = Field(default=[], max_length=4)


class Image:
    """The `image` operation."""

    name = "image"
    Input = ImageInput

    def price(self, order: ImageInput, prices: Mapping[str, int]) -> Credits:  # noqa: ARG002  # one price for all
        """Return the price of any image."""
        return whole_credits(prices["image"])

    async def run(self, order: ImageInput, context: Context) -> Sequence[Stored]:
        """Have the image made from the prompt and the pictures."""
        pictures = await context.pictures(order.images)
        return [await context.image(ImageOrder(order.prompt, order.aspect_ratio, pictures))]
