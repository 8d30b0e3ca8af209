"""A poster: words are thought up for a topic, two pictures are made side by side, and then they are described.

Nothing but this file and its line in the registry knows of it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tallyframe.operations.base import Context, Operation, Output, Result
from tallyframe.operations.fields import Fields, Picture, Prompt
from tallyframe.providers.base import ImageTask, TextTask


class Plan(BaseModel):
    """What the two pictures show."""

    front: str = Field(max_length=200)
    back: str = Field(max_length=200)


class Caption(BaseModel):
    """What is printed below."""

    headline: str = Field(max_length=120)
    words: list[str] = Field(min_length=1, max_length=3)


class PosterInput(Fields):
    """An order for a poster."""

    prompt: Prompt
    style: Literal["loud", "calm"] = "loud"
    tags: list[Annotated[str, Field(max_length=8)]] = Field(default=[], max_length=2)
    logo: Picture | None = None
    images: list[Picture] = Field(default=[], max_length=2)


class Poster(Operation[PosterInput]):
    """The `poster` operation."""

    name = "poster"
    description = "A poster with a front, a back and a caption."
    default_price = 7
    uses = ("text", "image")
    gives = frozenset({"media", "data"})
    Input = PosterInput

    async def run(self, order: PosterInput, context: Context) -> Result:
        """Think, draw both sides at once, and describe them."""
        plan = await context.step("plan", TextTask("Plan a poster.", order.prompt, Plan))
        logo = (context.input(order.logo),) if order.logo else ()
        pictures = (*logo, *(context.input(image) for image in order.images))
        made = await context.steps(
            {
                "front": ImageTask(f"{plan.front} {order.prompt}", "9:16", pictures),
                "back": ImageTask(plan.back, "9:16"),
            }
        )
        caption = await context.step("caption", TextTask("Describe it.", f"{plan.front}, {plan.back}", Caption))
        sides = [Output("poster", place, made[side]) for place, side in enumerate(("front", "back"))]
        return Result(sides, {"style": order.style, **caption.model_dump()})
