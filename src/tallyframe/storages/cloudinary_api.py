"""Cloudinary's API through its SDK: uploads, deletions and pings. Failures are words for an operator."""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tallyframe.storages.cloudinary_names import Account, Place

_CALLS_AT_ONCE = 16
_QUOTED = 200  # characters of what the service says

_HINTS = {
    401: "it does not accept the key, the secret or the cloud in CLOUDINARY_URL",
    403: "the key may not do this",
    420: "the account's rate limit is used up",
    429: "the account's rate limit is used up",
}


class Failed(Exception):
    """Why a call failed, in words for an operator."""


def answered(account: Account, status: object, said: str) -> Failed:
    """Quote the service's answer, without the credentials and the signed text that may be in it."""
    said = said.split("String to sign", maxsplit=1)[0]
    for secret in (account.secret, account.key):
        said = said.replace(secret, "…")
    said = " ".join(said.split())[:_QUOTED].rstrip(".")
    return Failed(f"the service answers {status}: {said}" if said else f"the service answers {status}")


class CloudinaryApi:
    """The API of `account` at `upload_prefix`. The SDK blocks: each call is in a thread, for `timeout` seconds at most.

    Every call says all that the SDK would otherwise take from CLOUDINARY_* variables, but for a proxy: ValueError for
    one, and for a malformed CLOUDINARY_URL, which the SDK reads when it is loaded. Calls raise Failed and nothing else.
    """

    def __init__(self, account: Account, upload_prefix: str, *, timeout: float, chunk_bytes: int) -> None:
        import cloudinary
        from cloudinary import api, uploader

        if cloudinary.config().api_proxy:
            raise ValueError("Cloudinary's SDK finds a proxy (api_proxy) in the environment; remove it.")
        self._admin, self._uploader = api, uploader
        self._account = account
        self._upload_prefix = upload_prefix
        self._timeout = timeout
        self._chunk_bytes = chunk_bytes
        self._threads = ThreadPoolExecutor(_CALLS_AT_ONCE, thread_name_prefix="cloudinary")
        self._options: dict[str, Any] = {
            "cloud_name": account.cloud,
            "api_key": account.key,
            "api_secret": account.secret,
            "oauth_token": None,
            "signature_algorithm": account.algorithm,
            "signature_version": 2,
            "upload_prefix": upload_prefix,
            "upload_preset": None,
            "dpr": None,
            "responsive_width": None,
            "timeout": timeout,
            "return_error": True,
        }

    async def upload(self, place: Place, data: bytes) -> None:
        """Send `data`, in chunks if it is long; it replaces what is at `place` when the last chunk is there.

        Failed also if what is kept differs from what was sent: an account's settings may change files on their way.
        """
        options = {**self._options, "resource_type": place.resource_type, "public_id": place.public_id}
        options |= {"overwrite": True, "invalidate": True}
        kept: dict[str, Any] = {}
        if len(data) <= self._chunk_bytes:
            kept = await self._call(self._uploader.upload, data, **options)
        else:  # not by the SDK's upload_large, which forgets the public id midway
            upload_id = secrets.token_hex(8)
            for start in range(0, len(data), self._chunk_bytes):
                chunk = data[start : start + self._chunk_bytes]
                span = f"bytes {start}-{start + len(chunk) - 1}/{len(data)}"
                headers = {"X-Unique-Upload-Id": upload_id, "Content-Range": span}
                send = self._uploader.upload_large_part
                kept = await self._call(send, ("file", chunk), http_headers=headers, **options)
        await self._in_thread(_check_kept, kept, place, data)

    async def delete(self, place: Place) -> None:
        """Remove what is at `place`, also from the CDN, which takes minutes; it may be gone already."""
        options = {**self._options, "resource_type": place.resource_type, "invalidate": True}
        reply = await self._call(self._uploader.destroy, place.public_id, **options)
        if reply.get("result") not in {"ok", "not found"}:
            raise Failed("the service does not say that it is gone")

    async def ping(self) -> None:
        """Ping the admin API, which checks key, secret and cloud."""
        reply = await self._call(self._admin.ping, **self._options)
        if reply.get("status") != "ok":
            raise Failed("the answer makes no sense")

    def close(self) -> None:
        """Start no more calls; those that run end by their timeout."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[..., Any], *arguments: object, **options: object) -> dict[str, Any]:
        """Run a call of the SDK and return the service's answer."""
        try:
            reply = await self._in_thread(function, *arguments, **options)
        except Exception as error:  # noqa: BLE001 - the SDK raises Exception itself, and what its parser stumbles over
            raise self._failed(error) from None
        if not isinstance(reply, dict):
            raise Failed("the answer makes no sense")
        if refusal := reply.get("error"):
            raise self._refused(refusal.get("http_code"), str(refusal.get("message")))
        return reply

    async def _in_thread(self, function: Callable[..., Any], *arguments: object, **options: object) -> Any:  # noqa: ANN401 - whatever the function returns
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *arguments, **options))

    def _failed(self, error: Exception) -> Failed:
        """Say why the SDK raised: by the text of its own error, or by the kind of the error that it comes from."""
        if refusal := re.match(r"Error (\d{3}) - (.*)", str(error), re.DOTALL):
            return self._refused(int(refusal[1]), refusal[2])
        if garbled := re.match(r"Error parsing server response \((\d{3})\)", str(error)):
            return Failed(f"the service answers {garbled[1]} and no JSON")
        cause = error.__context__
        kind = type(getattr(cause, "reason", None) or cause).__name__
        if "Timeout" in kind:
            return Failed(f"no answer within {self._timeout:g} seconds")
        if kind in {"NewConnectionError", "NameResolutionError", "SSLError"}:
            return Failed(f"{self._upload_prefix} can't be reached ({kind})")
        return Failed("the connection broke, or the answer makes no sense")

    def _refused(self, status: object, said: str) -> Failed:
        hint = _HINTS.get(status) if isinstance(status, int) else None
        if hint:
            return Failed(f"the service answers {status} ({hint})")
        return answered(self._account, status, said)


def _check_kept(kept: dict[str, Any], place: Place, data: bytes) -> None:
    """Raise Failed unless the answer describes what was sent."""
    expected: dict[str, object] = {"public_id": place.public_id, "bytes": len(data), "format": place.ending}
    if re.fullmatch(r"[0-9a-f]{32}", str(kept.get("etag"))):
        expected["etag"] = hashlib.md5(data, usedforsecurity=False).hexdigest()
    for name, value in expected.items():
        if kept.get(name) != value:
            raise Failed(f"what it has kept differs in {name}: {str(kept.get(name))[:_QUOTED]!r}, not {value!r}")
