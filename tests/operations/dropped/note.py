"""Words about a topic, thought over as often as is asked for: data, and no media."""

from pydantic import BaseModel, Field

from tallyframe.operations.base import Context, Operation, Result
from tallyframe.operations.fields import Fields, Picture, Prompt
from tallyframe.providers.base import ImageTask, TextTask, VisionTask


class Words(BaseModel):
    """What is written."""

    title: str = Field(max_length=100)


class NoteInput(Fields):
    """What is to be written about."""

    topic: Prompt
    times: int = Field(1, ge=1, le=20)
    look_at: Picture | None = None
    draws: bool = False


class Note(Operation[NoteInput]):
    """The `note` operation."""

    name = "note"
    description = "Words about a topic."
    default_price = 2
    uses = ("text",)
    gives = frozenset({"data"})
    Input = NoteInput

    async def run(self, order: NoteInput, context: Context) -> Result:
        """Write, one after the other; look at a picture, or at one that is drawn for that alone."""
        titles = []
        for number in range(order.times):
            task = TextTask("Write a note.", order.topic, Words)
            titles.append((await context.step(f"note_{number}", task)).title)
        seen = context.input(order.look_at) if order.look_at else None
        if order.draws:
            seen = context.input(await context.step("sketch", ImageTask(order.topic, "1:1")))
        if seen:
            looked = await context.step("look", VisionTask("Look.", order.topic, Words, (seen,)))
            titles.append(looked.title)
        return Result(data=_data(titles))


def _data(titles: list[str]) -> dict[str, object]:
    return {"titles": titles}
