"""The shape of an operation, and what its run is given to work with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

from pydantic import BaseModel

from tallyframe.credits import Credits
from tallyframe.providers.base import ImageOrder, Media, VideoOrder

AspectRatio = Literal["1:1", "9:16", "16:9", "4:5", "3:4"]

I_contra = TypeVar("I_contra", bound=BaseModel, contravariant=True)


@dataclass(frozen=True, slots=True)
class Stored:
    """A result whose bytes are in the storage; `role` says what the project uses it as."""

    role: Literal["image", "video"]
    storage: str
    key: str
    content_type: str
    bytes: int
    sha256: str
    width: int  # pixels
    height: int  # pixels
    duration_seconds: float | None


class Context(Protocol):
    """What a run may do. Everything billable or slow goes through here, so that a restart repeats nothing."""

    async def pictures(self, asset_ids: Sequence[UUID]) -> tuple[Media, ...]:
        """Return the bytes of the order's input pictures, in that order."""
        ...

    async def image(self, order: ImageOrder) -> Stored:
        """Have an image made and stored, once. Raises GenerationError, or leaves to be woken later."""
        ...

    async def video(self, order: VideoOrder) -> Stored:
        """Have a video made and stored, once. Raises GenerationError, or leaves to be woken later."""
        ...


class Operation(Protocol[I_contra]):
    """A kind of thing that can be bought."""

    @property
    def name(self) -> str:
        """What it is called in orders, prices and receipts."""
        ...

    @property
    def Input(self) -> type[BaseModel]:  # noqa: N802  # it is a class
        """The model of its order, as kept with the generation."""
        ...

    def price(self, order: I_contra, prices: Mapping[str, int]) -> Credits:
        """Return what this order costs; pure."""
        ...

    async def run(self, order: I_contra, context: Context) -> Sequence[Stored]:
        """Make what was ordered and return what is stored. May be run again from the top at any time."""
        ...


#: What can be bought, by name.
Operations = Mapping[str, Operation[Any]]
