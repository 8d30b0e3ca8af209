"""An album: a page for each scene and a cover, all made side by side; its fields hold pictures in models in models."""

from pydantic import Field

from tallyframe.operations.base import Context, Operation, Output, Result
from tallyframe.operations.fields import Fields, Picture, Prompt
from tallyframe.providers.base import ImageTask


class Scene(Fields):
    """What a page shows."""

    words: Prompt
    shots: list[Picture] = Field(default=[], max_length=2)


class Cover(Fields):
    """What is in front and behind."""

    face: Picture | None = None
    back: Scene | None = None


class AlbumInput(Fields):
    """An order for an album."""

    scenes: list[Scene] = Field(min_length=1, max_length=3)
    cover: Cover | None = None


class Album(Operation[AlbumInput]):
    """The `album` operation."""

    name = "album"
    description = "Pages and a cover."
    default_price = 4
    uses = ("image",)
    gives = frozenset({"media"})
    Input = AlbumInput

    async def run(self, order: AlbumInput, context: Context) -> Result:
        """Have all made at once."""
        tasks = {
            f"page_{place}": ImageTask(scene.words, "1:1", tuple(context.input(shot) for shot in scene.shots))
            for place, scene in enumerate(order.scenes)
        }
        if order.cover:
            shots = order.cover.back.shots if order.cover.back else []
            pictures = [each for each in (order.cover.face, *shots) if each]
            tasks["cover"] = ImageTask("a cover", "1:1", tuple(context.input(each) for each in pictures))
        made = await context.steps(tasks)
        pages = [Output("page", place, made[f"page_{place}"]) for place in range(len(order.scenes))]
        return Result([*pages, *([Output("cover", 0, made["cover"])] if order.cover else [])])
