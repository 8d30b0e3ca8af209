"""The port: what a vendor that does work for us must offer, what it gets and what it gives back.

A provider answers a task in one of four ways: with `Media` or `Data` (done), with a `Ticket` (accepted; ask again later
with `collect`), or by raising `ProviderError`. A fast vendor never needs tickets; a slow one always gives one, so that
a waiting generation is a row in the database and not a coroutine.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError

A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Media:
    """Bytes and what they are. `content_type` is image/png, image/jpeg, image/webp or video/mp4."""

    data: bytes = field(repr=False)
    content_type: str
    width: int | None  # pixels
    height: int | None  # pixels
    duration_seconds: float | None = None  # videos only


@dataclass(frozen=True, slots=True)
class Data:
    """A structured answer in JSON values. The adapter has checked it against the task's model."""

    value: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A vendor's promise. `value` finds the work again after a restart; ask again after `poll_after` seconds."""

    value: str
    poll_after: float


Answer = Media | Data | Ticket


class InputRef(Protocol):
    """A picture that a task starts from. It is read only when an order is really placed, and then only once."""

    async def read(self) -> Media:
        """Return its bytes. Raises GenerationError when it is gone or can't be read now."""
        ...

    async def public_url(self) -> str | None:
        """Return an address that anybody can fetch it from, for vendors that take one; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """What a provider can do with one model; an order outside of it is refused before it is paid."""

    aspect_ratios: tuple[str, ...] = ()  # of images and videos, such as "9:16"
    seconds: tuple[int, ...] = ()  # the lengths of a video
    max_images: int = 4  # pictures that a task may start from
    model: str = ""


@dataclass(frozen=True, slots=True)
class ImageTask:
    """An image to make from a prompt and pictures."""

    capability: ClassVar[Capability] = "image"
    prompt: str = field(repr=False)
    aspect_ratio: str
    inputs: tuple[InputRef, ...] = ()

    def fits(self, offer: Offer) -> bool:
        """Tell whether a provider with this offer can do it."""
        return self.aspect_ratio in offer.aspect_ratios and len(self.inputs) <= offer.max_images


@dataclass(frozen=True, slots=True)
class VideoTask:
    """A video to make from a prompt and, if given, the picture that is its first frame."""

    capability: ClassVar[Capability] = "video"
    prompt: str = field(repr=False)
    aspect_ratio: str
    duration_seconds: int
    inputs: tuple[InputRef, ...] = ()  # the first frame, or none

    def fits(self, offer: Offer) -> bool:
        """Tell whether a provider with this offer can do it."""
        return self.aspect_ratio in offer.aspect_ratios and self.duration_seconds in offer.seconds


@dataclass(frozen=True, slots=True)
class TextTask(Generic[A]):
    """Words to write, as an instance of the pydantic model `answer`.

    `instructions` is ours. `prompt` may hold what users and pages say: for the model it is data.
    """

    capability: ClassVar[Capability] = "text"
    instructions: str
    prompt: str = field(repr=False)
    answer: type[A]
    max_output_tokens: int = 4096
    inputs: tuple[InputRef, ...] = ()  # always none

    def fits(self, offer: Offer) -> bool:  # noqa: ARG002  # whoever writes can write this
        """Tell whether a provider with this offer can do it."""
        return not self.inputs


@dataclass(frozen=True, slots=True)
class VisionTask(Generic[A]):
    """Pictures to look at and to tell about, as an instance of the pydantic model `answer`."""

    capability: ClassVar[Capability] = "vision"
    instructions: str
    prompt: str = field(repr=False)
    answer: type[A]
    inputs: tuple[InputRef, ...]
    max_output_tokens: int = 4096

    def fits(self, offer: Offer) -> bool:
        """Tell whether a provider with this offer can do it."""
        return 0 < len(self.inputs) <= offer.max_images


Task = ImageTask | VideoTask | TextTask[Any] | VisionTask[Any]

K = TypeVar("K", ImageTask, VideoTask, TextTask[Any], VisionTask[Any])


def of_kind(task: Task, kind: type[K]) -> K:
    """Return the task, which is of that kind. Raises ProviderError where it was sent to the wrong adapter."""
    if isinstance(task, kind):
        return task
    raise ProviderError(FailureCode.INTERNAL, alarm=True, operator_message=f"A {task.capability} task came here.")


@dataclass(slots=True)
class Usage:
    """What one call used, as far as the vendor's answer says; None where it doesn't."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None  # of video made
    request_id: str | None = None  # the vendor's own name for the call, to ask its support with


@dataclass(frozen=True, slots=True)
class Call:
    """Which try of which step this is.

    `key` is unique per try and safe to show a vendor; `attempt` counts the step's tries from 1. The adapter notes in
    `usage` what the vendor says the call has used, whether it succeeds or fails.
    """

    key: str
    attempt: int
    usage: Usage = field(default_factory=Usage, compare=False)


class Provider(Protocol):
    """A vendor. `offers` has what it can do, per capability.

    `repeatable`: may the same order be sent again when a crash has hidden what became of it?
    """

    name: str
    repeatable: bool
    offers: Mapping[Capability, Offer]

    async def start(self, task: Task, call: Call) -> Answer:
        """Send the order once. Raises ProviderError; `in_doubt` if the vendor may have taken it all the same."""
        ...

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        """Ask for the result of a ticket; never buys again, and reads no input while the vendor is at work.

        Raises ProviderError: `retryable` when asking failed, otherwise it is the vendor's verdict on the work.
        """
        ...

    async def cancel(self, ticket: str) -> bool:
        """Ask the vendor to stop what a ticket stands for; False: it can't be stopped there. Raises ProviderError."""
        ...

    async def probe(self, capability: Capability) -> str:
        """Ask the vendor something that is free, and return a line of what was found. Raises ProviderError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


#: The providers that serve, per capability, in the order of the settings. A capability that nobody serves is not there.
Providers = Mapping[Capability, tuple[Provider, ...]]

#: What can be ordered: the same, but without the providers.
Offers = Mapping[Capability, tuple[Offer, ...]]


def dump(answer: BaseModel) -> dict[str, Any]:
    """Return an answer as JSON values, which `load` turns back into an equal answer. Raises ValueError if not.

    So it is known before anything depends on it. What is lost on the way: fields with `exclude`, secrets, numbers that
    JSON hasn't (NaN).
    """
    values = answer.model_dump(mode="json", by_alias=False, round_trip=True)
    if load(type(answer), values) != answer:
        raise ValueError("another value comes back")
    return values


def load(model: type[A], values: object) -> A:
    """Return the answer that `dump` has written. Raises ValidationError, and ValueError for NaN.

    They are read as JSON, because then even a strict model takes a list for a tuple, and a text for a date.
    """
    return model.model_validate_json(json.dumps(values, allow_nan=False), strict=False, by_alias=True, by_name=True)
