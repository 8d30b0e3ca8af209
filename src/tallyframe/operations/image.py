"""One image from a prompt and 0 to 4 pictures."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from tallyframe.operations import fields
from tallyframe.operations.base import Context, Operation, OrderLimits, Output, Result, check_shape, choose_ratio
from tallyframe.operations.fields import MAX_PICTURES, AspectRatio, Picture, Prompt, or_null
from tallyframe.providers.base import ImageTask, Offers

Pictures = Annotated[list[Picture], Field(max_length=MAX_PICTURES)]


class ImageFields(fields.Fields):
    """An order for an image."""

    prompt: Prompt
    aspect_ratio: AspectRatio | None = Field(None, description="Left out: 1:1.")
    images: Annotated[Pictures, or_null(Pictures)] = Field([])


class ImageInput(BaseModel):
    """The order as it is kept with the generation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    aspect_ratio: AspectRatio
    images: list[UUID] = Field(default=[], max_length=MAX_PICTURES)


class Image(Operation[ImageInput]):
    """The `image` operation."""

    name = "image"
    description = "One image from a prompt and up to four pictures."
    default_price = 5
    uses = ("image",)
    gives = frozenset({"media"})
    Input = ImageInput
    Fields = ImageFields

    def accept(self, fields: Mapping[str, Any], offers: Offers, limits: OrderLimits) -> ImageInput:  # noqa: ARG002
        """Return the order with its shape: as asked for, or the first favourite that is offered.

        Raises ValidationFailed for a shape that no provider makes here.
        """
        asked = ImageFields.model_validate(dict(fields))
        ratio = choose_ratio(offers["image"], asked.aspect_ratio)
        return ImageInput.model_validate({**asked.model_dump(), "aspect_ratio": ratio})

    def check(self, order: ImageInput, offers: Offers, limits: OrderLimits) -> None:  # noqa: ARG002  # none for images
        """Raise ValidationFailed for a shape that no provider makes here."""
        check_shape(offers["image"], order.aspect_ratio)

    async def run(self, order: ImageInput, context: Context) -> Result:
        """Have the image made from the prompt and the pictures."""
        pictures = tuple(context.input(picture) for picture in order.images)
        stored = await context.step("image", ImageTask(order.prompt, order.aspect_ratio, pictures))
        return Result([Output("image", 0, stored)])
