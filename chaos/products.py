"""What clients order besides images and videos: words, which are data alone, and a sheet, which takes several steps.

Each step's prompt holds its name, by which the vendor's book tells the steps of an order apart.
"""

import re

from pydantic import BaseModel, Field

from tallyframe.operations.base import Context, Operation, Output, Result
from tallyframe.operations.fields import Fields, Prompt
from tallyframe.providers.base import ImageTask, TextTask, VideoTask, VisionTask

#: What a success of each operation must have: its outputs, by role and position, and data.
SHAPES = {"image": "image 0", "video": "video 0", "words": "data", "sheet": "film 0, side 0, side 1, data"}
#: The steps of each.
STEPS = {
    "image": {"image"},
    "video": {"video"},
    "words": {"words"},
    "sheet": {"plan", "front", "back", "film", "look"},
}
_STEP = re.compile(r"\[step:(\w+)\]")


def of_step(name: str, prompt: str) -> str:
    """Return the prompt of a step."""
    return f"{prompt} [step:{name}]"


def step_in(body: str) -> str | None:
    """Return the name of the step that a request is about; None where the prompt has none: the only one of its kind."""
    found = _STEP.search(body)
    return found[1] if found else None


class Told(BaseModel):
    """What is written, and what is seen."""

    words: str = Field(max_length=500)


class Brief(Fields):
    """What is wanted."""

    prompt: Prompt


class Words(Operation[Brief]):
    """Words about a prompt: data, and no media."""

    name = "words"
    description = "Words about a prompt."
    default_price = 2
    uses = ("text",)
    gives = frozenset({"data"})
    Input = Brief

    async def run(self, order: Brief, context: Context) -> Result:
        """Write."""
        told = await context.step("words", TextTask("Write.", of_step("words", order.prompt), Told))
        return Result(data={"words": told.words})


class Sheet(Operation[Brief]):
    """Two pictures and a film, made side by side after words were thought up for them, and a look at one of them."""

    name = "sheet"
    description = "Two pictures, a film and what is to be seen."
    default_price = 40
    uses = ("text", "image", "video", "vision")
    gives = frozenset({"media", "data"})
    Input = Brief

    async def run(self, order: Brief, context: Context) -> Result:
        """Plan, draw and film at once, look."""
        plan = await context.step("plan", TextTask("Plan.", of_step("plan", order.prompt), Told))
        made = await context.steps(
            {
                "front": ImageTask(of_step("front", order.prompt), "9:16"),
                "back": ImageTask(of_step("back", order.prompt), "9:16"),
                "film": VideoTask(of_step("film", order.prompt), "9:16", 6),
            }
        )
        seen = await context.step(
            "look", VisionTask("Look.", of_step("look", order.prompt), Told, (context.input(made["front"]),))
        )
        outputs = [Output("side", 0, made["front"]), Output("side", 1, made["back"]), Output("film", 0, made["film"])]
        return Result(outputs, {"plan": plan.words, "seen": seen.words})
