"""The offline provider, with a count of what a vendor would bill."""

from tallyframe.providers.base import Call, ImageOrder, Media, Ticket, VideoOrder
from tallyframe.providers.offline import OfflineProvider


class Counting(OfflineProvider):
    """Counts what a vendor would bill."""

    def __init__(self, *, repeatable: bool = True) -> None:
        super().__init__()
        self.repeatable = repeatable
        self.bought: list[str] = []

    async def make_image(self, order: ImageOrder, call: Call) -> Media | Ticket:
        self.bought.append(call.key)
        return await super().make_image(order, call)

    async def make_video(self, order: VideoOrder, call: Call) -> Media | Ticket:
        self.bought.append(call.key)
        return await super().make_video(order, call)
