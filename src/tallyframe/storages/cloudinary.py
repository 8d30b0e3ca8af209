"""Keeps media at Cloudinary: written and deleted through its API, read from its delivery addresses.

A delivery address without a transformation and with the file's own ending gives the bytes as they were uploaded.
Whatever version it names, the newest copy is delivered; but the CDN caches each version apart, and v1 is the one that
an invalidation reaches with every account's settings:
https://cloudinary.com/documentation/invalidate_cached_media_assets_on_the_cdn
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from tallyframe.storages.base import NoListing, StorageError
from tallyframe.storages.cloudinary_api import CloudinaryApi, Failed, answered
from tallyframe.storages.cloudinary_names import Place, account_of, file_name, place_of
from tallyframe.tls import client_context

SMALLEST_CHUNK = 5 * 2**20  # bytes; Cloudinary takes less only as the last one
_OLDEST_UPLOAD = 1_000_000_000  # real versions are upload times in seconds since 1970, so all above this


class CloudinaryStorage:
    """Images (.png, .jpg, .webp) and videos (.mp4) in the account of `cloudinary_url`.

    That is cloudinary://<api key>:<api secret>@<cloud name>, with ?signature_algorithm=sha256 if the account asks for
    it; ValueError for anything else, and for a proxy in CLOUDINARY_* variables. `timeout` (seconds) bounds each call as
    a whole, `max_bytes` what is read. Files of more than `chunk_bytes` (at least 5 MiB) are uploaded in chunks.
    """

    name = "cloudinary"
    url_lifetime: float | None = None

    def __init__(
        self,
        cloudinary_url: str,
        *,
        upload_prefix: str = "https://api.cloudinary.com",
        delivery_url: str = "https://res.cloudinary.com",
        timeout: float = 60.0,
        chunk_bytes: int = 20_000_000,
        max_bytes: int = 512 * 2**20,
    ) -> None:
        if chunk_bytes < SMALLEST_CHUNK:
            raise ValueError(f"Cloudinary takes chunks of {SMALLEST_CHUNK:,} bytes at least, not {chunk_bytes:,}.")
        self._account = account_of(cloudinary_url)
        self._upload_prefix = upload_prefix.rstrip("/")
        self._delivery_url = delivery_url.rstrip("/")
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._api = CloudinaryApi(self._account, self._upload_prefix, timeout=timeout, chunk_bytes=chunk_bytes)
        self._client = httpx.AsyncClient(
            verify=client_context(trust_env=False),
            headers={"Accept-Encoding": "identity"},
            timeout=timeout,
            trust_env=False,
        )

    async def put(self, key: str, data: bytes, content_type: str) -> None:  # noqa: ARG002 - the key's ending tells it
        """Keep `data`, which must not be empty, under `key`; replaces the old bytes at the end. Raises StorageError."""
        place = place_of(key)
        async with self._attempt("write", key):
            if not data:
                raise Failed("it keeps no empty files")
            await self._api.upload(place, data)

    async def get(self, key: str) -> bytes:
        """Return the bytes of `key`. Raises StorageError, also when there are none, or more than `max_bytes`."""
        async with self._attempt("read", key), self._client.stream("GET", self._uncached_address(key)) as response:
            if response.status_code != httpx.codes.OK:
                raise answered(self._account, response.status_code, response.headers.get("x-cld-error", ""))
            if response.headers.get("content-encoding", "identity") != "identity":
                raise Failed("the file comes compressed, though that was not asked for")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._max_bytes:
                    raise Failed(f"there are more than {self._max_bytes:,} bytes")
            if not body:
                raise Failed("the file comes empty")
            return bytes(body)

    async def size(self, key: str) -> int | None:
        """Return how many bytes `key` has, by the delivery address; None: it isn't there. Raises StorageError."""
        async with self._attempt("look for", key):
            response = await self._client.head(self._uncached_address(key))
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            if response.status_code != httpx.codes.OK:
                raise answered(self._account, response.status_code, response.headers.get("x-cld-error", ""))
            if not response.headers.get("content-length", "").isdecimal():
                raise Failed("the answer does not say how many bytes there are")
            return int(response.headers["content-length"])

    def listed(self, folder: str) -> AsyncIterator[Sequence[str]]:  # noqa: ARG002 - the port
        """Raise NoListing: only the admin API lists, and the account has few calls of it an hour."""
        raise NoListing("Cloudinary is not listed: that would use up the account's calls of the admin API.")

    async def delete(self, key: str) -> None:
        """Remove `key`, also from the CDN, which takes minutes. Removing what is not there is no error."""
        place = place_of(key)
        async with self._attempt("delete", key):
            await self._api.delete(place)

    def url(self, key: str, *, download_as: str | None = None) -> str:
        """Return the delivery address of `key`; with `download_as`, one that makes a download of it.

        Of that name, only letters, digits, "-" and "_" are left: Cloudinary takes no others, and adds the ending. A bad
        key: StorageError.
        """
        place = place_of(key)
        if download_as is None:
            return self._address(place)
        name = file_name(download_as, place.ending)
        return self._address(place, f"fl_attachment:{name}/" if name else "fl_attachment/")

    async def probe(self) -> str:
        """Ping the admin API, which checks key, secret and cloud. Raises StorageError."""
        async with self._attempt("ping", self._account.cloud):
            await self._api.ping()
        return f"cloud {self._account.cloud!r} answers at {self._upload_prefix}; addresses are at {self._delivery_url}"

    async def aclose(self) -> None:
        """Close the connections; what still runs in a thread ends with its timeout."""
        self._api.close()
        await self._client.aclose()

    @asynccontextmanager
    async def _attempt(self, verb: str, what: str) -> AsyncIterator[None]:
        """Hold the deadline, and turn failures into StorageError, without the errors they come from."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (TimeoutError, httpx.TimeoutException):
            reason = f"no answer within {self._timeout:g} seconds"
        except httpx.ConnectError:
            reason = f"{self._delivery_url} can't be reached"
        except httpx.HTTPError:
            reason = "the connection broke"
        except Failed as error:
            reason = str(error)
        else:
            return
        raise StorageError(f"Cloudinary can't {verb} {what!r}: {reason}.") from None

    def _address(self, place: Place, transformation: str = "", version: int = 1) -> str:
        folder = f"{self._delivery_url}/{self._account.cloud}/{place.resource_type}/upload"
        return f"{folder}/{transformation}v{version}/{place.public_id}.{place.ending}"

    def _uncached_address(self, key: str) -> str:
        """Return an address with a random version, older than any real one, of which the CDN has no old copy.

        This costs no call of the admin API, of which an account has few an hour.
        """
        return self._address(place_of(key), version=2 + secrets.randbelow(_OLDEST_UPLOAD - 2))
