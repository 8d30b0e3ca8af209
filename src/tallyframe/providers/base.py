"""The ports: what a vendor that makes images or videos must offer, and what it gets and gives back.

A provider answers an order in one of three ways: with `Media` (done), with a `Ticket` (accepted; ask again later with
`collect`), or by raising `ProviderError`. A fast vendor never needs tickets; a slow one always gives one, so that
a waiting generation is a row in the database and not a coroutine.
"""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Media:
    """Bytes and what they are. `content_type` is image/png, image/jpeg, image/webp or video/mp4."""

    data: bytes = field(repr=False)
    content_type: str
    width: int  # pixels
    height: int  # pixels
    duration_seconds: float | None = None  # videos only


@dataclass(frozen=True, slots=True)
class Ticket:
    """A vendor's promise. `value` finds the work again after a restart; ask again after `poll_after` seconds."""

    value: str
    poll_after: float


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """An image to make from a prompt and 0 to 4 pictures. `aspect_ratio` is like "9:16"."""

    prompt: str
    aspect_ratio: str
    pictures: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class VideoOrder:
    """A video to make from a prompt and, if given, the picture that is its first frame."""

    prompt: str
    aspect_ratio: str
    duration_seconds: int
    first_frame: Media | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """Which try of which generation this is.

    `key` is unique per try and safe to show a vendor; `attempt` counts from 1.
    """

    key: str
    attempt: int


class Provider(Protocol):
    """What all providers share.

    `repeatable`: may the same order be sent again when a crash has hidden what became of it?
    """

    name: str
    model: str
    repeatable: bool


class ImageProvider(Provider, Protocol):
    """Makes images."""

    async def make_image(self, order: ImageOrder, call: Call) -> Media | Ticket:
        """Send the order once. Raises ProviderError."""
        ...

    async def collect_image(self, ticket: str, order: ImageOrder, call: Call) -> Media | Ticket:
        """Ask for the result of a ticket; never buys again. Raises ProviderError on the vendor's verdict."""
        ...


class VideoProvider(Provider, Protocol):
    """Makes videos."""

    async def make_video(self, order: VideoOrder, call: Call) -> Media | Ticket:
        """Send the order once. Raises ProviderError."""
        ...

    async def collect_video(self, ticket: str, order: VideoOrder, call: Call) -> Media | Ticket:
        """Ask for the result of a ticket; never buys again. Raises ProviderError on the vendor's verdict."""
        ...


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers that serve, per capability, in the order of the settings; never empty."""

    image: tuple[ImageProvider, ...]
    video: tuple[VideoProvider, ...]
