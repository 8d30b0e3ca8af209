"""One video from a prompt and, if there is one, the picture that becomes its first frame."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from tallyframe.operations import fields
from tallyframe.operations.base import (
    Context,
    Operation,
    OrderLimits,
    Output,
    Result,
    check_video,
    choose_ratio,
    choose_seconds,
)
from tallyframe.operations.fields import AspectRatio, Picture, Prompt, Seconds, or_null
from tallyframe.providers.base import Offers, VideoTask

Pictures = Annotated[list[Picture], Field(max_length=1)]


class VideoFields(fields.Fields):
    """An order for a video."""

    prompt: Prompt
    aspect_ratio: AspectRatio | None = Field(None, description="Left out: 1:1, or 9:16 where nobody makes square ones.")
    duration_seconds: Seconds | None = Field(None, description="Whole seconds.")
    images: Annotated[Pictures, or_null(Pictures)] = Field([], description="The picture that becomes the first frame.")


class VideoInput(BaseModel):
    """The order as it is kept with the generation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    aspect_ratio: AspectRatio
    duration_seconds: int = Field(ge=1)
    first_frame: UUID | None = None


class Video(Operation[VideoInput]):
    """The `video` operation."""

    name = "video"
    description = "One video from a prompt and, if given, a picture that becomes its first frame."
    default_price = 10
    uses = ("video",)
    gives = frozenset({"media"})
    Input = VideoInput
    Fields = VideoFields

    def accept(self, fields: Mapping[str, Any], offers: Offers, limits: OrderLimits) -> VideoInput:
        """Return the order with its shape and length: as asked for, or what is usual and offered."""
        asked = VideoFields.model_validate(dict(fields))
        ratio = choose_ratio(offers["video"], asked.aspect_ratio)
        seconds = choose_seconds(offers["video"], ratio, asked.duration_seconds, limits.max_video_seconds)
        first_frame = asked.images[0] if asked.images else None
        shape = {"aspect_ratio": ratio, "duration_seconds": seconds}
        order = VideoInput.model_validate({"prompt": asked.prompt, **shape, "first_frame": first_frame})
        self.check(order, offers, limits)
        return order

    def check(self, order: VideoInput, offers: Offers, limits: OrderLimits) -> None:
        """Raise ValidationFailed for a shape and length that no provider makes here."""
        longest = limits.max_video_seconds
        check_video(offers["video"], order.aspect_ratio, order.duration_seconds, longest)

    async def run(self, order: VideoInput, context: Context) -> Result:
        """Have the video made, from the first frame when there is one."""
        first_frame = (context.input(order.first_frame),) if order.first_frame else ()
        video = VideoTask(order.prompt, order.aspect_ratio, order.duration_seconds, first_frame)
        return Result([Output("video", 0, await context.step("video", video))])
