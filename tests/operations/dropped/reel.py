"""As many images and videos as there are prompts, all made side by side."""

from pydantic import Field

from tallyframe.operations.base import Context, Operation, Output, Result
from tallyframe.operations.fields import Fields, Picture, Prompt
from tallyframe.providers.base import ImageTask, VideoTask


class ReelInput(Fields):
    """What is to be made."""

    images: list[Prompt] = Field(default=[], max_length=20)
    videos: list[Prompt] = Field(default=[], max_length=20)
    start: Picture | None = None


class Reel(Operation[ReelInput]):
    """The `reel` operation."""

    name = "reel"
    description = "Images and videos, side by side."
    default_price = 3
    uses = ("image", "video")
    gives = frozenset({"media"})
    Input = ReelInput

    async def run(self, order: ReelInput, context: Context) -> Result:
        """Have all made at once."""
        start = (context.input(order.start),) if order.start else ()
        images = {f"image_{place}": ImageTask(prompt, "1:1", start) for place, prompt in enumerate(order.images)}
        videos = {f"video_{place}": VideoTask(prompt, "9:16", 4, start) for place, prompt in enumerate(order.videos)}
        made = await context.steps({**images, **videos})
        return Result([Output(*_place(name), stored) for name, stored in made.items()])


def _place(name: str) -> tuple[str, int]:
    role, place = name.split("_")
    return role, int(place)
