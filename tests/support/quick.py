"""A provider that answers at once with the same tiny files, for tests that are not about drawing."""

from tallyframe.providers.base import Call, ImageOrder, Media, Ticket, VideoOrder
from tallyframe.providers.offline import OfflineProvider
from tests.support.drawn import GREEN, picture
from tests.support.working import Bench

IMAGE = picture(GREEN)
VIDEO = b"\x00\x00\x00\x18ftypmp42 not much of a film"


class Quick(OfflineProvider):
    """Makes what is ordered without drawing; remembers the pictures that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []

    async def make_image(self, order: ImageOrder, call: Call) -> Media | Ticket:
        self.given = [image.data for image in order.pictures]
        return Media(IMAGE, "image/png", 8, 6)

    async def make_video(self, order: VideoOrder, call: Call) -> Media | Ticket:
        self.given = [order.first_frame.data] if order.first_frame else []
        return Media(VIDEO, "video/mp4", 8, 6, 1.0)


async def make_all(bench: Bench) -> Quick:
    """Make everything that has been ordered; return the provider that did."""
    provider = Quick()
    outcomes = await bench.drain(bench.with_provider(provider))
    assert set(outcomes) == {"succeeded"}, outcomes
    return provider
