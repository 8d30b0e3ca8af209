"""The shape of an operation: what it asks for, what it costs, how it is run, and what its run is given to work with.

At the end: what operations choose from the providers' offers, or refuse, before an order is paid.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, overload
from uuid import UUID

from pydantic import BaseModel

from tallyframe.catalog import Capability
from tallyframe.credits import Credits
from tallyframe.errors import Internal, ValidationFailed
from tallyframe.providers.base import ImageTask, InputRef, Offer, Offers, Task, TextTask, VideoTask, VisionTask

A = TypeVar("A", bound=BaseModel)
I = TypeVar("I", bound=BaseModel)  # noqa: E741  # the operation's Input


#: The slot of a project whose generation is the state that the project shows.
MAIN = "main"


@dataclass(frozen=True, slots=True)
class Stored:
    """A file in the storage. Sizes are null where its type has none."""

    storage: str
    key: str
    content_type: str
    bytes: int
    sha256: str
    width: int | None  # pixels
    height: int | None  # pixels
    duration_seconds: float | None


@dataclass(frozen=True, slots=True)
class Output:
    """One file of a result. `role` says what it is used as, `position` (from 0) tells those of one role apart."""

    role: str
    position: int
    stored: Stored


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has made: files, data (JSON values), or both."""

    outputs: Sequence[Output] = ()
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class OrderLimits:
    """The limits of the settings that an order must keep to."""

    max_video_seconds: int


class Context(Protocol):
    """What a run may do. Everything billable or slow goes through here, so that a restart repeats nothing.

    Each step has a name, which is its identity: after a restart the step of the same name gives the same result. A step
    that has to wait doesn't return: the run is dropped, and started again from the top when it is time.
    """

    def input(self, picture: UUID | Stored) -> InputRef:
        """Return a reference to a picture of the order, by its id, or to a file that a step before has made."""
        ...

    @overload
    async def step(self, name: str, task: ImageTask | VideoTask) -> Stored: ...
    @overload
    async def step(self, name: str, task: TextTask[A] | VisionTask[A]) -> A: ...
    async def step(self, name: str, task: Task) -> Any:
        """Have one task done, once, and return its result: a stored file, or an instance of the task's model."""
        ...

    async def steps(self, tasks: Mapping[str, Task]) -> dict[str, Any]:
        """Have several tasks done side by side, each once, and return all results by their names.

        One call at a time: steps under asyncio.gather() or in tasks of their own are refused, with a RuntimeError.
        """
        ...


class Operation(ABC, Generic[I]):
    """A kind of thing that can be bought. A new one is a subclass in a file of its own and a line in `registry.py`.

    `uses`: it can be bought only where somebody serves these capabilities. `gives`: "media" where each success has
    outputs, "data" where each has data. `Fields` is what a client sends, where that isn't the `Input` that is kept.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    default_price: ClassVar[int]  # credits
    uses: ClassVar[tuple[Capability, ...]]
    gives: ClassVar[frozenset[Literal["media", "data"]]]
    Input: type[I]
    Fields: type[BaseModel] | None = None

    @property
    def fields(self) -> type[BaseModel]:
        """The model of what a client sends."""
        return self.Fields or self.Input

    @property
    def slot(self) -> str:
        """Which of a project's slots it takes: who gives no media takes one of its own beside the main one."""
        return MAIN if "media" in self.gives else self.name

    def accept(self, fields: Mapping[str, Any], offers: Offers, limits: OrderLimits) -> I:
        """Return the order as it is kept: what is left open in `fields` is chosen here.

        Pictures are ids by now. Raises ValidationFailed or pydantic's ValidationError.
        """
        order = self.Input.model_validate(dict(fields))
        self.check(order, offers, limits)
        return order

    def check(self, order: I, offers: Offers, limits: OrderLimits) -> None:
        """Raise ValidationFailed for what no provider makes here; also asked when an order is placed again."""

    def to_json(self, order: I) -> dict[str, Any]:
        """Return the order as JSON values, as it is kept. Raises Internal if `from_json` doesn't give an equal order.

        The model is wrong then: it has a field with `exclude`, a secret, NaN, or an alias for writing only. Nothing has
        been debited so far.
        """
        try:
            kept = order.model_dump(mode="json", by_alias=True, round_trip=True)
            is_same = self.from_json(kept) == order
        except ValueError:
            is_same = False
        if not is_same:
            raise Internal(f"The fields of {self.name!r} are not the same when they are read back.")
        return kept

    def from_json(self, kept: Mapping[str, Any]) -> I:
        """Return the order that was kept as these JSON values. Raises ValidationError, and ValueError for NaN.

        They are read as JSON, because then even a strict model takes a list for a tuple, and a text for a date.
        """
        text = json.dumps(dict(kept), allow_nan=False)
        return self.Input.model_validate_json(text, strict=False, by_alias=True, by_name=True)

    def price(self, order: I, prices: Mapping[str, int]) -> Credits:  # noqa: ARG002  # for those with several prices
        """Return what this order costs; pure. `prices` has the credits of each operation."""
        return Credits(prices[self.name])

    @abstractmethod
    async def run(self, order: I, context: Context) -> Result:
        """Make what was ordered. May be run again from the top at any time."""


#: What can be bought, by name.
Operations = Mapping[str, Operation[Any]]


#: What an order gets that names none, as far as it is offered.
FAVOURITE_RATIOS = ("1:1", "9:16", "16:9")
FAVOURITE_SECONDS = 6


def choose_ratio(offers: Sequence[Offer], asked: str | None) -> str:
    """Return the aspect ratio asked for, or the first favourite that is offered.

    Raises ValidationFailed where no provider makes what was asked for.
    """
    if asked:
        check_shape(offers, asked)
        return asked
    offered = _ratios(offers)
    return next(ratio for ratio in (*FAVOURITE_RATIOS, *offered) if ratio in offered)


def choose_seconds(offers: Sequence[Offer], ratio: str, asked: int | None, longest: int) -> int:
    """Return the length asked for, or the offered one that is nearest below the favourite and `longest`."""
    offered = _seconds(offers, ratio, longest) or [FAVOURITE_SECONDS]
    usual = [seconds for seconds in offered if seconds <= FAVOURITE_SECONDS]
    return asked or (max(usual) if usual else min(offered))


def check_shape(offers: Sequence[Offer], ratio: str) -> None:
    """Raise ValidationFailed unless some provider makes this aspect ratio."""
    if not any(ratio in offer.aspect_ratios for offer in offers):
        ratios = _listed(_ratios(offers))
        raise ValidationFailed(f"The aspect ratio {ratio} is not offered here: {ratios}.", pointer="/aspect_ratio")


def check_video(offers: Sequence[Offer], ratio: str, seconds: int, longest: int) -> None:
    """Raise ValidationFailed unless some provider makes a video of this aspect ratio and length."""
    check_shape(offers, ratio)
    if seconds > longest or not any(ratio in offer.aspect_ratios and seconds in offer.seconds for offer in offers):
        lengths = _seconds(offers, ratio, longest)
        said = f"can't be made in {longest} seconds or less"
        if lengths:
            is_range = len(lengths) > 1 and lengths == list(range(lengths[0], lengths[-1] + 1))
            words = f"{lengths[0]} to {lengths[-1]}" if is_range else _listed(map(str, lengths))
            said = f"lasts {words} seconds"
        raise ValidationFailed(f"A video of {ratio} {said} here.", pointer="/duration_seconds")


def _ratios(offers: Sequence[Offer]) -> list[str]:
    return list(dict.fromkeys(ratio for offer in offers for ratio in offer.aspect_ratios))


def _seconds(offers: Sequence[Offer], ratio: str, longest: int) -> list[int]:
    able = (offer for offer in offers if ratio in offer.aspect_ratios)
    return sorted({seconds for offer in able for seconds in offer.seconds if seconds <= longest})


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
