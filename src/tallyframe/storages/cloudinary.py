"""Keeps media at Cloudinary: uploads and deletions by its SDK, reading by its delivery addresses.

A delivery address without a transformation and with the file's own ending gives the bytes as they were uploaded. Its
version chooses nothing: the newest copy is delivered, but each version has its own place in the CDN's cache, and v1 is
what an invalidation reaches with every account's settings:
https://cloudinary.com/documentation/invalidate_cached_media_assets_on_the_cdn
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import Any

import httpx

from tallyframe.storages.base import NoListing, StorageError
from tallyframe.storages.cloudinary_names import Place, account_of, file_name, place_of
from tallyframe.tls import client_context

SMALLEST_CHUNK = 5 * 2**20  # bytes; Cloudinary takes less only as the last one
_CALLS_AT_ONCE = 16
_OLDEST_UPLOAD = 1_000_000_000  # real versions are upload times in seconds since 1970, so all above this
_QUOTED = 200  # characters of what the service says

_HINTS = {
    401: "it does not accept the key, the secret or the cloud in CLOUDINARY_URL",
    403: "the key may not do this",
    420: "the account's rate limit is used up",
    429: "the account's rate limit is used up",
}


class _Failed(Exception):
    """Why a call failed, in words for an operator."""


class CloudinaryStorage:
    """Images (.png, .jpg, .webp) and videos (.mp4) in the account of `cloudinary_url`.

    That is cloudinary://<api key>:<api secret>@<cloud name>, with ?signature_algorithm=sha256 if the account asks for
    it; ValueError for anything else. `timeout` (seconds) bounds each call as a whole, `max_bytes` what is read. What is
    larger than `chunk_bytes` (at least 5 MiB) goes up in chunks. Cloudinary keeps no empty files.

    Nothing of the SDK's own settings is used, which come from CLOUDINARY_* variables; a proxy in them is refused.
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
        self._chunk_bytes = chunk_bytes
        self._max_bytes = max_bytes
        self._api, self._uploader = _sdk()
        self._threads = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="cloudinary")
        headers = {"Accept-Encoding": "identity"}
        self._client = httpx.AsyncClient(
            verify=client_context(trust_env=False), headers=headers, timeout=timeout, trust_env=False
        )

    async def put(self, key: str, data: bytes, content_type: str) -> None:  # noqa: ARG002 - the key's ending tells it
        """Keep `data` under `key`; the old bytes are replaced when the last chunk is there. Raises StorageError."""
        place = place_of(key)
        async with self._told("write", key):
            if not data:
                raise _Failed("it keeps no empty files")
            kept = await self._upload(place, data)
            await self._in_thread(_check_kept, kept, place, data)

    async def get(self, key: str) -> bytes:
        """Return the bytes of `key`. Raises StorageError, also when there are none, or more than `max_bytes`.

        The address has a version that nobody has asked for before, older than any real one: so the CDN has no old copy
        to give. That costs no call of the admin API, of which there are few an hour.
        """
        async with self._told("read", key), self._client.stream("GET", self._new_address(key)) as response:
            if response.status_code != httpx.codes.OK:
                raise self._answered(response.status_code, response.headers.get("x-cld-error", ""))
            return await self._body(response)

    async def size(self, key: str) -> int | None:
        """Return how many bytes `key` has by the headers of its delivery address; None: it isn't there. StorageError.

        As with `get`, no old copy of the CDN is asked, and none of the admin API's few calls is spent.
        """
        async with self._told("look for", key):
            response = await self._client.head(self._new_address(key))
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            if response.status_code != httpx.codes.OK:
                raise self._answered(response.status_code, response.headers.get("x-cld-error", ""))
            if not response.headers.get("content-length", "").isdecimal():
                raise _Failed("the answer does not say how many bytes there are")
            return int(response.headers["content-length"])

    def listed(self, folder: str) -> AsyncIterator[Sequence[str]]:  # noqa: ARG002 - the port
        """Raise NoListing: only the admin API lists, and its few calls an hour are the account's and not ours."""
        raise NoListing("Cloudinary is not listed: that would use up the account's calls of the admin API.")

    async def delete(self, key: str) -> None:
        """Remove `key`, also from the CDN, which takes minutes. Removing what is not there is no error."""
        place = place_of(key)
        options = {**self._options(), "resource_type": place.resource_type, "invalidate": True}
        async with self._told("delete", key):
            reply = await self._call(self._uploader.destroy, place.public_id, **options)
            if reply.get("result") not in {"ok", "not found"}:
                raise _Failed("the service does not say that it is gone")

    def url(self, key: str, *, download_as: str | None = None) -> str:
        """Return the delivery address of `key`; with `download_as`, one that makes a download of it.

        Cloudinary adds the ending itself and takes only letters, digits, "-" and "_" before it, so that is what is left
        of the name. A bad key: StorageError.
        """
        place = place_of(key)
        if download_as is None:
            return self._address(place)
        name = file_name(download_as, place.ending)
        return self._address(place, f"fl_attachment:{name}/" if name else "fl_attachment/")

    async def probe(self) -> str:
        """Ping the admin API, which checks key, secret and cloud. Raises StorageError."""
        async with self._told("ping", self._account.cloud):
            reply = await self._call(self._api.ping, **self._options())
            if reply.get("status") != "ok":
                raise _Failed("the answer makes no sense")
        return f"cloud {self._account.cloud!r} answers at {self._upload_prefix}; addresses are at {self._delivery_url}"

    async def aclose(self) -> None:
        """Close the connections; what still runs in a thread ends with its timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._client.aclose()

    async def _upload(self, place: Place, data: bytes) -> dict[str, Any]:
        """Send `data` and return the service's last answer. The SDK's upload_large forgets the public id midway."""
        options = {**self._options(), "resource_type": place.resource_type, "public_id": place.public_id}
        options |= {"overwrite": True, "invalidate": True}
        if len(data) <= self._chunk_bytes:
            return await self._call(self._uploader.upload, data, **options)
        reply: dict[str, Any] = {}
        name = secrets.token_hex(8)
        for start in range(0, len(data), self._chunk_bytes):
            chunk = data[start : start + self._chunk_bytes]
            span = f"bytes {start}-{start + len(chunk) - 1}/{len(data)}"
            headers = {"X-Unique-Upload-Id": name, "Content-Range": span}
            send = self._uploader.upload_large_part
            reply = await self._call(send, ("file", chunk), http_headers=headers, **options)
        return reply

    def _options(self) -> dict[str, Any]:
        """Return what each call says, so that nothing is left for the SDK's global settings to say."""
        return {
            "cloud_name": self._account.cloud,
            "api_key": self._account.key,
            "api_secret": self._account.secret,
            "oauth_token": None,
            "signature_algorithm": self._account.algorithm,
            "signature_version": 2,
            "upload_prefix": self._upload_prefix,
            "upload_preset": None,
            "dpr": None,
            "responsive_width": None,
            "timeout": self._timeout,
            "return_error": True,
        }

    async def _call(self, function: Callable[..., Any], *arguments: object, **options: object) -> dict[str, Any]:
        """Run a call of the SDK and return its answer. Raises _Failed, and nothing else."""
        try:
            reply = await self._in_thread(function, *arguments, **options)
        except Exception as error:  # noqa: BLE001 - the SDK raises Exception itself, and what its parser stumbles over
            raise self._failed(error) from None
        if not isinstance(reply, dict):
            raise _Failed("the answer makes no sense")
        if refusal := reply.get("error"):
            raise self._refused(refusal.get("http_code"), str(refusal.get("message")))
        return reply

    async def _in_thread(self, function: Callable[..., Any], *arguments: object, **options: object) -> Any:  # noqa: ANN401 - whatever the function returns
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *arguments, **options))

    async def _body(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _Failed("the file comes compressed, though that was not asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise _Failed(f"there are more than {self._max_bytes:,} bytes")
        if not body:
            raise _Failed("the file comes empty")
        return bytes(body)

    @asynccontextmanager
    async def _told(self, verb: str, what: str) -> AsyncIterator[None]:
        """Hold the deadline, and turn what goes wrong into StorageError, without the errors it came from."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (TimeoutError, httpx.TimeoutException):
            reason = f"no answer within {self._timeout:g} seconds"
        except httpx.ConnectError:
            reason = f"{self._delivery_url} can't be reached"
        except httpx.HTTPError:
            reason = "the connection broke"
        except _Failed as error:
            reason = str(error)
        else:
            return
        raise StorageError(f"Cloudinary can't {verb} {what!r}: {reason}.") from None

    def _address(self, place: Place, transformation: str = "", version: int = 1) -> str:
        folder = f"{self._delivery_url}/{self._account.cloud}/{place.resource_type}/upload"
        return f"{folder}/{transformation}v{version}/{place.public_id}.{place.ending}"

    def _new_address(self, key: str) -> str:
        """Return an address of `key` that nobody has asked for before, so that no cache answers."""
        return self._address(place_of(key), version=2 + secrets.randbelow(_OLDEST_UPLOAD - 2))

    def _refused(self, status: object, said: str) -> _Failed:
        hint = _HINTS.get(status) if isinstance(status, int) else None
        return _Failed(f"the service answers {status} ({hint})") if hint else self._answered(status, said)

    def _answered(self, status: object, said: str) -> _Failed:
        """Quote what the service said, without the credentials and the signed text that may be in it."""
        said = said.split("String to sign", maxsplit=1)[0]
        for secret in (self._account.secret, self._account.key):
            said = said.replace(secret, "…")
        said = " ".join(said.split())[:_QUOTED].rstrip(".")
        return _Failed(f"the service answers {status}: {said}" if said else f"the service answers {status}")

    def _failed(self, error: Exception) -> _Failed:
        """Say why the SDK raised. The SDK has only texts; what lies below is the error it was raised from."""
        if answered := re.match(r"Error (\d{3}) - (.*)", str(error), re.DOTALL):
            return self._refused(int(answered[1]), answered[2])
        if garbled := re.match(r"Error parsing server response \((\d{3})\)", str(error)):
            return _Failed(f"the service answers {garbled[1]} and no JSON")
        below = error.__context__
        reason = type(getattr(below, "reason", None) or below).__name__
        if "Timeout" in reason:
            return _Failed(f"no answer within {self._timeout:g} seconds")
        if reason in {"NewConnectionError", "NameResolutionError", "SSLError"}:
            return _Failed(f"{self._upload_prefix} can't be reached ({reason})")
        return _Failed("the connection broke, or the answer makes no sense")


def _sdk() -> tuple[ModuleType, ModuleType]:
    """Load the SDK, which reads CLOUDINARY_URL when loaded, and stumbles over a malformed one. Raises ValueError."""
    import cloudinary
    from cloudinary import api, uploader

    if cloudinary.config().api_proxy:
        raise ValueError("Cloudinary's SDK finds a proxy (api_proxy) in the environment; that is not supported here.")
    return api, uploader


def _check_kept(kept: dict[str, Any], place: Place, data: bytes) -> None:
    """Raise _Failed unless the answer describes what was sent: an account's settings may change files on their way."""
    expected: dict[str, object] = {"public_id": place.public_id, "bytes": len(data), "format": place.ending}
    if re.fullmatch(r"[0-9a-f]{32}", str(kept.get("etag"))):
        expected["etag"] = hashlib.md5(data, usedforsecurity=False).hexdigest()
    for name, value in expected.items():
        if kept.get(name) != value:
            raise _Failed(f"what it has kept differs in {name}: {str(kept.get(name))[:_QUOTED]!r}, not {value!r}")
