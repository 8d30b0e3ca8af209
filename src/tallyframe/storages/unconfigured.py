"""Stands in for a storage that still holds media but is no longer configured."""

from collections.abc import AsyncIterator, Mapping, Sequence

from tallyframe.storages.base import Storage, StorageError


class Unconfigured:
    """Every call fails with a message that names the storage; addresses lead to a 404 below `public_url`."""

    url_lifetime: float | None = None

    def __init__(self, name: str, public_url: str) -> None:
        self.name = name
        self._public_url = public_url

    async def put(self, key: str, data: bytes, content_type: str) -> None:  # noqa: ARG002 - the port
        """Raise StorageError."""
        raise self._gone()

    async def get(self, key: str) -> bytes:  # noqa: ARG002 - the port
        """Raise StorageError."""
        raise self._gone()

    async def size(self, key: str) -> int | None:  # noqa: ARG002 - the port
        """Raise StorageError."""
        raise self._gone()

    def listed(self, folder: str) -> AsyncIterator[Sequence[str]]:  # noqa: ARG002 - the port
        """Raise StorageError."""
        raise self._gone()

    async def delete(self, key: str) -> None:  # noqa: ARG002 - the port
        """Raise StorageError."""
        raise self._gone()

    def url(self, key: str, *, download_as: str | None = None) -> str:  # noqa: ARG002 - the port
        """Return an address that answers 404."""
        return f"{self._public_url}/media/{self.name}-is-not-configured/{key}"

    async def probe(self) -> str:
        """Raise StorageError."""
        raise self._gone()

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def _gone(self) -> StorageError:
        return StorageError(f"The storage {self.name!r} holds media, but its settings are gone: set them again.")


class ByName(dict[str, Storage]):
    """The configured storages by name; any other name gives an `Unconfigured`."""

    def __init__(self, storages: Mapping[str, Storage], public_url: str) -> None:
        super().__init__(storages)
        self._public_url = public_url

    def __missing__(self, name: str) -> Storage:
        """Return a stand-in for the storage of that name."""
        return Unconfigured(name, self._public_url)
