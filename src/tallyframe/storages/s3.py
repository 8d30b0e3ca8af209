"""Keeps media in a bucket of an S3-compatible service, such as Cloudflare R2 or Supabase Storage."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import time
from urllib.parse import quote

import obstore
from obstore.exceptions import BaseError

from tallyframe.storages.base import StorageError
from tallyframe.storages.keys import checked
from tallyframe.storages.presign import LONGEST, Signer, attachment, window
from tallyframe.storages.s3_client import error_code, make_client, reason, web_address

_PART_BYTES = 8 * 2**20  # larger files go in parts of this size; the services want 5 MiB at least
_PARTS_AT_ONCE = 4
_PAGE = 1000  # keys; no service lists more at once
_MAX_AGE = 86_400  # seconds of caching: no name gets other content, and a deletion shows after a day at most
_SHORTEST = 2  # seconds; an address lives for half of `url_lifetime` at least
_REST = 0.05  # seconds
_PROBE_KEY = "tallyframe-probe"


class S3Storage:
    """Objects in `bucket` at `endpoint_url`, which may have a path; the name of the bucket is added to that path.

    With `public_url`, addresses are <public_url>/<key> and last. Without it they are signed for `url_lifetime` (2 to
    604,800 seconds); an address stays the same for half of that, and works for the other half at least. `timeout`
    (seconds) bounds each call as a whole, `max_bytes` what is read. Bad settings raise ValueError.

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
        self._endpoint = web_address(endpoint_url, "The S3 endpoint")
        self._public = public_url and web_address(public_url, "The public address of the S3 bucket")
        self._signer = Signer(access_key_id, secret_access_key, region)
        self._bucket = bucket
        self._lifetime = int(url_lifetime)
        self.url_lifetime = None if public_url else url_lifetime
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._store = make_client(bucket, self._endpoint, self._signer, timeout)

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep `data` under `key`; readers see the old or the new bytes, also while parts are sent. StorageError."""
        checked(key)
        shared = "public" if self._public else "private"
        attributes = {"Content-Type": content_type, "Cache-Control": f"{shared}, max-age={_MAX_AGE}, immutable"}
        async with self._attempt("write", key):
            await obstore.put_async(
                self._store, key, data, attributes=attributes, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
            )

    async def get(self, key: str) -> bytes:
        """Return the bytes of `key`. Raises StorageError, also when there are none, or more than `max_bytes`."""
        checked(key)
        async with self._attempt("read", key):
            found = await obstore.get_async(self._store, key)
            size = found.meta["size"]
            if size > self._max_bytes:
                del found  # closes the connection, which the error's traceback would hold open
                raise StorageError(f"{key!r} has {size:,} bytes; at most {self._max_bytes:,} are read.")
            return bytes(await found.bytes_async())

    async def size(self, key: str) -> int | None:
        """Return how many bytes `key` has; None: it isn't there, or neither is the bucket. Raises StorageError."""
        checked(key)
        async with self._attempt("look for", key):
            try:
                found = await obstore.head_async(self._store, key)
            except FileNotFoundError:
                return None
            return int(found["size"])

    async def listed(self, folder: str) -> AsyncIterator[Sequence[str]]:
        """Yield the keys below `folder`, up to 1,000 at a time. Raises StorageError."""
        pages = aiter(obstore.list(self._store, prefix=checked(folder), chunk_size=_PAGE))
        while True:
            async with self._attempt("list", folder):
                page = await anext(pages, None)
            if page is None:
                return
            yield [str(found["path"]) for found in page]

    async def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is no error. Raises StorageError."""
        checked(key)
        async with self._attempt("delete", key):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError as error:  # some services say so
                if error_code(error) == "NoSuchBucket":
                    raise

    def url(self, key: str, *, download_as: str | None = None) -> str:
        """Return the public address of `key`, or a signed one. A bad key: StorageError.

        `download_as` works at signed addresses, and at public ones of Supabase by `?download=<name>`; R2 and AWS ignore
        that, and show the file.
        """
        if self._public:
            suffix = "" if download_as is None else f"?download={quote(download_as, safe='')}"
            return f"{self._public}/{checked(key)}{suffix}"
        query = {} if download_as is None else {"response-content-disposition": attachment(download_as)}
        return self._signer.sign_get(
            f"{self._endpoint}/{quote(self._bucket, safe='-_.~')}/{checked(key)}",
            signed_at=window(time(), self._lifetime),
            lifetime=self._lifetime,
            query=query,
        )

    async def probe(self) -> str:
        """Ask for an object that isn't there: that checks address, key, secret and bucket. Raises StorageError.

        AWS answers 403 instead of 404 to a key without `s3:ListBucket` (Amazon S3 API Reference, GetObject).
        """
        lacks = ""
        async with self._attempt("read", _PROBE_KEY):
            try:
                await obstore.get_async(self._store, _PROBE_KEY)
            except (BaseError, FileNotFoundError) as error:
                code, is_missing = error_code(error), isinstance(error, FileNotFoundError)
                if code == "NoSuchBucket" or not (is_missing or code == "AccessDenied") or "s3:GetObject" in str(error):
                    raise
                lacks = (
                    "" if is_missing else "; this key may not list it, so only the first file shows that it may read"
                )
        addresses = f"public, {self._public}" if self._public else f"signed for {self._lifetime:,} seconds"
        return f"bucket {self._bucket!r} at {self._endpoint} answers; addresses are {addresses}{lacks}"

    async def aclose(self) -> None:
        """Wait until obstore's threads are idle: a process that ends while they work aborts.

        Connections close by themselves when they are idle. See PyO3/pyo3-async-runtimes#40.
        """
        await asyncio.sleep(_REST)

    @asynccontextmanager
    async def _attempt(self, verb: str, key: str) -> AsyncIterator[None]:
        """Hold the deadline, and turn failures into StorageError.

        The error that a failure comes from is left out: its text quotes the service's answer, signature included.
        """
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            why = f"no answer within {self._timeout:g} seconds"
        except (BaseError, FileNotFoundError, ValueError) as error:
            why = reason(error)
        else:
            return
        raise StorageError(f"S3 can't {verb} {key!r} in bucket {self._bucket!r}: {why}.") from None
