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


_MOST_TOKENS = 10**12
_MOST_SECONDS = 86_400.0


@dataclass(slots=True)
class Usage:
    """What one call used, as far as the vendor's answer says; None where it doesn't."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None  # of video made
    request_id: str | None = None  # the vendor's own name for the call, to ask its support with

    def sound(self) -> "Usage":
        """Return what can be believed and kept of it: a vendor may say anything."""
        return Usage(
            input_tokens=self.input_tokens if 0 <= (self.input_tokens or 0) <= _MOST_TOKENS else None,
            output_tokens=self.output_tokens if 0 <= (self.output_tokens or 0) <= _MOST_TOKENS else None,
            seconds=self.seconds if 0 <= (self.seconds or 0) <= _MOST_SECONDS else None,
            request_id=self.request_id[:200] if self.request_id and self.request_id.isprintable() else None,
        )


@dataclass(frozen=True, slots=True)
class Call:
    """Which try of which generation this is.

    `key` is unique per try and safe to show a vendor; `attempt` counts from 1. The adapter notes in `usage` what the
    vendor says the call has used, whether it succeeds or fails.
    """

    key: str
    attempt: int
    usage: Usage = field(default_factory=Usage, compare=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a provider can make; an order outside of it is refused before it is paid."""

    aspect_ratios: tuple[str, ...]
    seconds: tuple[int, ...] = ()  # the lengths of a video


@dataclass(frozen=True, slots=True)
class Offers:
    """What the providers that serve can make, per capability, in the order of the settings; never empty."""

    image: tuple[Offer, ...]
    video: tuple[Offer, ...]


class Provider(Protocol):
    """What all providers share.

    `repeatable`: may the same order be sent again when a crash has hidden what became of it?
    """

    name: str
    model: str
    repeatable: bool
    offer: Offer

    async def cancel(self, ticket: str) -> bool:
        """Ask the vendor to stop what a ticket stands for; False: it can't be stopped there. Raises ProviderError."""
        ...

    async def probe(self) -> str:
        """Ask the vendor something that is free, and return a line of what was found. Raises ProviderError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class ImageProvider(Provider, Protocol):
    """Makes images."""

    async def make_image(self, order: ImageOrder, call: Call) -> Media | Ticket:
        """Send the order once. Raises ProviderError; `in_doubt` if the vendor may have taken it all the same."""
        ...

    async def collect_image(self, ticket: str, order: ImageOrder, call: Call) -> Media | Ticket:
        """Ask for the result of a ticket; never buys again.

        Raises ProviderError: `retryable` when asking failed, otherwise it is the vendor's verdict on the work.
        """
        ...


class VideoProvider(Provider, Protocol):
    """Makes videos."""

    async def make_video(self, order: VideoOrder, call: Call) -> Media | Ticket:
        """Send the order once. Raises ProviderError; `in_doubt` if the vendor may have taken it all the same."""
        ...

    async def collect_video(self, ticket: str, order: VideoOrder, call: Call) -> Media | Ticket:
        """Ask for the result of a ticket; never buys again.

        Raises ProviderError: `retryable` when asking failed, otherwise it is the vendor's verdict on the work.
        """
        ...


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers that serve, per capability, in the order of the settings; never empty."""

    image: tuple[ImageProvider, ...]
    video: tuple[VideoProvider, ...]
