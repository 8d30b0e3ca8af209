"""Keeps media in a bucket of an S3-compatible service, such as Cloudflare R2 or Supabase Storage."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tallyframe.storages.base import StorageError
from tallyframe.storages.keys import checked
from tallyframe.storages.presign import LONGEST, Signer, attachment, window

if TYPE_CHECKING:
    from obstore.store import S3Credential  # exists for type checkers only

_PART_BYTES = 8 * 2**20  # larger files go in parts of this size; the services want 5 MiB at least
_PARTS_AT_ONCE = 4
_PAGE = 1000  # keys; no service lists more at once
_RETRIES = 2  # of one request, after a 429, a 5xx or a broken connection
_FIRST_PAUSE = timedelta(seconds=0.1)  # before a retry, more or less; the second is twice as long
_MAX_AGE = 86_400  # seconds a file is cached for; names are not reused for other content, and deletion shows in a day
_SHORTEST = 2  # seconds; half of it is the least an address lives
_REST = 0.05  # seconds
_PROBE_KEY = "tallyframe-probe"

#: What an operator can do about the service's error codes.
_HINTS = {
    "AccessDenied": "the access key may not do this in this bucket",
    "InvalidAccessKeyId": "the access key id is unknown there",
    "NoSuchBucket": "there is no such bucket",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "SignatureDoesNotMatch": "the secret access key is wrong",
}


class S3Storage:
    """Objects in `bucket` at `endpoint_url`, which may have a path; the bucket's name goes into the path as well.

    With `public_url`, addresses are <public_url>/<key> and last. Without it they are signed, and the same for half of
    `url_lifetime` (2 to 604,800 seconds): at least the other half is left. `timeout` (seconds) bounds each call as a
    whole, `max_bytes` what is read. Bad settings raise ValueError.

    Of the environment, obstore reads HTTPS_PROXY and its kind, AWS_CHECKSUM_ALGORITHM and AWS_SERVER_SIDE_ENCRYPTION
    with its key options; the credentials and everything else come from here alone.
    """

    name = "s3"
    url_lifetime: float | None

    def __init__(  # noqa: PLR0913 - what is needed to reach a bucket, each with its name
        self,
        bucket: str,
        *,
        endpoint_url: str,
        access_key_id: str,
        secret_access_key: str,
        region: str = "auto",
        public_url: str = "",
        url_lifetime: float = 3600.0,
        timeout: float = 60.0,
        max_bytes: int = 512 * 2**20,
    ) -> None:
        if not (bucket and access_key_id and secret_access_key and region):
            raise ValueError("S3 needs a bucket, an access key id, a secret access key and a region.")
        if not _SHORTEST <= url_lifetime <= LONGEST:
            raise ValueError(f"S3 addresses live for {_SHORTEST} to {LONGEST} seconds, not {url_lifetime:g}.")
        self._endpoint = _web_address(endpoint_url, "The S3 endpoint")
        self._public = public_url and _web_address(public_url, "The public address of the S3 bucket")
        self._signer = Signer(access_key_id, secret_access_key, region)
        self._bucket = bucket
        self._lifetime = int(url_lifetime)
        self.url_lifetime = None if public_url else url_lifetime
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._store = _store(bucket, self._endpoint, self._signer, timeout)

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep `data` under `key`, in one piece for readers also where it is sent in parts. Raises StorageError."""
        checked(key)
        shared = "public" if self._public else "private"
        attributes = {"Content-Type": content_type, "Cache-Control": f"{shared}, max-age={_MAX_AGE}, immutable"}
        async with self._told("write", key):
            await obstore.put_async(
                self._store,
                key,
                data,
                attributes=attributes,
                chunk_size=_PART_BYTES,
                max_concurrency=_PARTS_AT_ONCE,
            )

    async def get(self, key: str) -> bytes:
        """Return the bytes of `key`. Raises StorageError, also when there are none, or more than `max_bytes`."""
        checked(key)
        async with self._told("read", key):
            found = await obstore.get_async(self._store, key)
            size = found.meta["size"]
            if size > self._max_bytes:
                del found  # closes the connection, which the error's traceback would hold open
                raise StorageError(f"{key!r} has {size:,} bytes; at most {self._max_bytes:,} are read.")
            return bytes(await found.bytes_async())

    async def size(self, key: str) -> int | None:
        """Return how many bytes `key` has; None: it isn't there, or neither is the bucket. Raises StorageError."""
        checked(key)
        async with self._told("look for", key):
            try:
                found = await obstore.head_async(self._store, key)
            except FileNotFoundError:
                return None
            return int(found["size"])

    async def listed(self, folder: str) -> AsyncIterator[Sequence[str]]:
        """Yield the keys below `folder`, up to 1,000 at a time. Raises StorageError."""
        pages = aiter(obstore.list(self._store, prefix=checked(folder), chunk_size=_PAGE))
        while True:
            async with self._told("list", folder):
                page = await anext(pages, None)
            if page is None:
                return
            yield [str(found["path"]) for found in page]

    async def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is no error. Raises StorageError."""
        checked(key)
        async with self._told("delete", key):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError as error:  # some services say so
                if _code(error) == "NoSuchBucket":
                    raise

    def url(self, key: str, *, download_as: str | None = None) -> str:
        """Return the public address of `key`, or a signed one. A bad key: StorageError.

        Of public addresses, `?download=<name>` is what Supabase makes a download of; R2 and AWS know no such thing for
        readers without a signature, and show the file.
        """
        if self._public:
            suffix = "" if download_as is None else f"?download={quote(download_as, safe='')}"
            return f"{self._public}/{checked(key)}{suffix}"
        query = {} if download_as is None else {"response-content-disposition": attachment(download_as)}
        return self._signer.sign_get(
            f"{self._endpoint}/{quote(self._bucket, safe='-_.~')}/{checked(key)}",
            signed_at=window(_now(), self._lifetime),
            lifetime=self._lifetime,
            query=query,
        )

    async def probe(self) -> str:
        """Ask for an object that isn't there: that checks address, key, secret and bucket. Raises StorageError."""
        async with self._told("read", _PROBE_KEY):
            try:
                await obstore.get_async(self._store, _PROBE_KEY)
            except FileNotFoundError as error:
                if _code(error) == "NoSuchBucket":
                    raise
        addresses = f"public, {self._public}" if self._public else f"signed for {self._lifetime:,} seconds"
        return f"bucket {self._bucket!r} at {self._endpoint} answers; addresses are {addresses}"

    async def aclose(self) -> None:
        """Let obstore's threads come to rest: a process that ends in their last moment of work aborts.

        Connections close by themselves when they are idle. See PyO3/pyo3-async-runtimes#40.
        """
        await asyncio.sleep(_REST)

    @asynccontextmanager
    async def _told(self, verb: str, key: str) -> AsyncIterator[None]:
        """Hold the deadline, and turn what goes wrong into StorageError.

        The error it comes from is not kept: its text quotes the service's answer, with the signature in it.
        """
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            reason = f"no answer within {self._timeout:g} seconds"
        except (BaseError, FileNotFoundError, ValueError) as error:
            reason = _reason(error)
        else:
            return
        raise StorageError(f"S3 can't {verb} {key!r} in bucket {self._bucket!r}: {reason}.") from None


def _store(bucket: str, endpoint: str, signer: Signer, timeout: float) -> S3Store:
    """Make the client. Whatever it would otherwise take from AWS_* variables is given, where that can be done."""

    def credential() -> "S3Credential":
        return {
            "access_key_id": signer.access_key_id,
            "secret_access_key": signer.secret_access_key,
            "token": None,
            "expires_at": None,
        }

    return S3Store(
        bucket,
        endpoint=endpoint,
        aws_endpoint_url_s3=endpoint,
        region=signer.region,
        credential_provider=credential,
        virtual_hosted_style_request=False,
        disable_bulk_delete=True,  # the bulk call sends checksum headers, which not every service takes
        skip_signature=False,
        unsigned_payload=False,
        request_payer=False,
        s3_express=False,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "timeout": timedelta(seconds=timeout + 1),  # of one request; the call's own deadline comes first
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=timeout),
            "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": 10 * _FIRST_PAUSE, "base": 2},
        },
    )


def _web_address(text: str, what: str) -> str:
    """Return the address without a slash at its end; ValueError, which doesn't quote it, for what is none."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or "@" in text:
        raise ValueError(f"{what} has to be like https://host/path, without a user, a query or a fragment.")
    return text.rstrip("/")


def _code(error: Exception) -> str:
    found = re.search(r"<Code>(\w{1,60})</Code>", str(error))
    return found[1] if found else ""


def _reason(error: Exception) -> str:
    """Say what went wrong from the few parts of the client's text that are safe and mean something."""
    text = str(error)
    if status := re.search(r"status code: (\d{3})", text):
        code = _code(error)
        hint = f" ({_HINTS[code]})" if code in _HINTS else ""
        return f"the service answers {status[1]} {code}".rstrip() + hint
    kind = re.search(r"\bkind: (\w+)", text)
    kinds = {"Connect": "the endpoint can't be reached", "Timeout": "the endpoint does not answer in time"}
    return kinds.get(kind[1] if kind else "", "the connection broke, or the answer makes no sense")


def _now() -> float:
    return time.time()
