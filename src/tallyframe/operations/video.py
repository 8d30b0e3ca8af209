"""One video from a prompt and, if there is one, the picture that becomes its first frame."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from tallyframe.credits import Credits, whole_credits
from tallyframe.operations.base import AspectRatio, Context, Stored
from tallyframe.providers.base import VideoOrder


class VideoInput(BaseModel):
    """The order as it is kept with the generation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str
    aspect_ratio: AspectRatio
    duration_seconds: int = Field(ge=1)
    first_frame: UUID | None = None


class Video:
    """The `video` operation."""

    name = "video"
    Input = VideoInput

    def price(self, order: VideoInput, prices: Mapping[str, int]) -> Credits:  # noqa: ARG002  # one price for all
        """Return the price of any video."""
        return whole_credits(prices["video"])

    async def run(self, order: VideoInput, context: Context) -> Sequence[Stored]:
        """Have the video made, from the first frame when there is one."""
        pictures = await context.pictures([order.first_frame] if order.first_frame else [])
        first_frame = pictures[0] if pictures else None
        video = VideoOrder(order.prompt, order.aspect_ratio, order.duration_seconds, first_frame)
        return [await context.video(video)]
