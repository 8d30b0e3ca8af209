"""What tasks start from."""

from tallyframe.providers.base import Media


class Given:
    """A picture in hand. `reads` counts how often its bytes were asked for."""

    def __init__(self, media: Media, url: str | None = None) -> None:
        self.media = media
        self.url = url
        self.reads = 0

    async def read(self) -> Media:
        self.reads += 1
        return self.media

    async def public_url(self) -> str | None:
        return self.url
