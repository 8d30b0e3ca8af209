"""Inputs of tasks, as tests give them."""

from tallyframe.providers.base import Media


class Given:
    """A picture in hand, as an input of a task; `reads` counts how often its bytes were asked for."""

    def __init__(self, media: Media, url: str | None = None) -> None:
        self.reads = 0
        self._media = media
        self._url = url

    async def read(self) -> Media:
        """Return the picture."""
        self.reads += 1
        return self._media

    async def public_url(self) -> str | None:
        """Return the address that was given with it."""
        return self._url
