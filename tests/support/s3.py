"""A stand-in for an S3-compatible service, which checks each signature and refuses what such services refuse."""

import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree as ET

from tests.support.vendor import Reply, Request, Vendor, vendor

SMALLEST_PART = 5 * 2**20  # bytes; only the last part may have less
LONGEST_SIGNED = 604_800  # seconds
SKEW = timedelta(minutes=15)


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str, **more: str) -> None:
        super().__init__(code)
        fields = {"Code": code, "Message": message, **more}
        xml = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error>{xml}</Error>'
        self.reply = Reply(status, body.encode(), {"Content-Type": "application/xml"})


@dataclass(frozen=True)
class Stored:
    data: bytes
    headers: dict[str, str]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


@dataclass
class Upload:
    key: str
    headers: dict[str, str]
    parts: dict[int, Stored] = field(default_factory=dict)


@dataclass
class FakeS3:
    """One bucket at `url`. Tests move `now`, and put replies into `faults`, which come before anything is looked at.

    What is stored can also be read by anybody at `public_url`, where ?download=<name> works as at Supabase.
    """

    access_key_id: str = "AKIDCANARY0001"
    secret_access_key: str = "secret/CANARY+0002"
    region: str = "auto"
    bucket: str = "media"
    prefix: str = ""
    now: datetime | None = None
    page: int = 1000  # keys that are listed at once
    faults: list[Reply] = field(default_factory=list)
    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    served: Vendor = field(default_factory=lambda: Vendor(""))

    @property
    def url(self) -> str:
        return self.served.url + self.prefix

    @property
    def public_url(self) -> str:
        return f"{self.served.url}/object/public/{self.bucket}"

    def settings(self) -> dict[str, Any]:
        return {
            "bucket": self.bucket,
            "endpoint_url": self.url,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "region": self.region,
        }

    def answer(self, request: Request) -> Reply:
        if self.faults:
            return self.faults.pop(0)
        try:
            if request.path.startswith("/object/public/"):
                return self._public(request)
            check(request, self, self.now or datetime.now(UTC))
            return self._serve(request)
        except Refused as refused:
            return refused.reply

    def _serve(self, request: Request) -> Reply:
        bucket, _, key = request.path.removeprefix(f"{self.prefix}/").partition("/")
        if not request.path.startswith(self.prefix) or bucket != self.bucket:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.", BucketName=bucket)
        if not key:
            return self._list(request)
        return (
            self._in_parts(key, request) if {"uploads", "uploadId"} & set(request.query) else self._whole(key, request)
        )

    def _whole(self, key: str, request: Request) -> Reply:
        match request.method:
            case "PUT":
                return self._keep(key, request.body, kept_headers(request))
            case "GET" | "HEAD":
                return self._read(key, request)
            case "DELETE":
                self.objects.pop(key, None)
                return Reply(204)
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed.")

    def _in_parts(self, key: str, request: Request) -> Reply:
        query = request.query
        match request.method:
            case "POST" if "uploads" in query:
                name = f"upload-{len(self.uploads) + 1}"
                self.uploads[name] = Upload(key, kept_headers(request))
                return xml_reply("InitiateMultipartUploadResult", Bucket=self.bucket, Key=key, UploadId=name)
            case "PUT":
                self._upload(query).parts[int(query["partNumber"])] = part = Stored(request.body, {})
                return Reply(200, headers={"ETag": part.etag})
            case "POST":
                return self._complete(query["uploadId"], request)
            case "DELETE":
                self._upload(query)
                del self.uploads[query["uploadId"]]
                return Reply(204)
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed.")

    def _upload(self, query: Mapping[str, str]) -> Upload:
        if query["uploadId"] not in self.uploads:
            raise Refused(404, "NoSuchUpload", "The specified upload does not exist.")
        return self.uploads[query["uploadId"]]

    def _keep(self, key: str, data: bytes, headers: dict[str, str]) -> Reply:
        self.objects[key] = Stored(data, headers)
        return Reply(200, headers={"ETag": self.objects[key].etag})

    def _complete(self, name: str, request: Request) -> Reply:
        upload = self._upload({"uploadId": name})
        told = [{child.tag.split("}")[-1]: child.text or "" for child in part} for part in ET.fromstring(request.body)]  # noqa: S314 - of our own client
        parts = [upload.parts.get(int(each["PartNumber"])) for each in told]
        if any(part is None or part.etag != each["ETag"] for part, each in zip(parts, told, strict=True)):
            raise Refused(400, "InvalidPart", "A part could not be found, or its entity tag did not match.")
        whole = [part.data for part in parts if part]
        if any(len(data) < SMALLEST_PART for data in whole[:-1]):
            raise Refused(400, "EntityTooSmall", "A part is smaller than the minimum.")
        self._keep(upload.key, b"".join(whole), upload.headers)
        del self.uploads[name]
        etag = self.objects[upload.key].etag
        return xml_reply("CompleteMultipartUploadResult", Bucket=self.bucket, Key=upload.key, ETag=etag)

    def _read(self, key: str, request: Request, disposition: str | None = None) -> Reply:
        if key not in self.objects:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.", Key=key)
        stored = self.objects[key]
        headers = {"ETag": stored.etag, "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", **stored.headers}
        if disposition := request.query.get("response-content-disposition", disposition):
            headers["Content-Disposition"] = disposition
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", "")):
            first, last = int(span[1]), min(int(span[2] or len(stored.data)), len(stored.data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(stored.data)}"
            return Reply(206, stored.data[first : last + 1], headers)
        return Reply(200, stored.data, headers)

    def _public(self, request: Request) -> Reply:
        name = request.query.get("download")
        disposition = None if name is None else f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        return self._read(request.path.removeprefix(f"/object/public/{self.bucket}/"), request, disposition)

    def _list(self, request: Request) -> Reply:
        after = request.query.get("continuation-token", "")
        keys = [key for key in sorted(self.objects) if key.startswith(request.query.get("prefix", "")) and key > after]
        page = keys[: self.page]
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if len(keys) > len(page) else ""
        at = "<LastModified>2015-10-21T07:28:00.000Z</LastModified>"
        contents = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(self.objects[key].data)}</Size>{at}</Contents>" for key in page
        )
        body = f"<ListBucketResult><KeyCount>{len(page)}</KeyCount>{token}{contents}</ListBucketResult>"
        return Reply(200, body.encode())


def kept_headers(request: Request) -> dict[str, str]:
    """What is stored with an object, and given back with it."""
    names = ("content-type", "cache-control", "content-disposition")
    return {name.title(): request.headers[name] for name in names if name in request.headers}


def xml_reply(root: str, **fields: str) -> Reply:
    xml = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return Reply(200, f"<{root}>{xml}</{root}>".encode(), {"Content-Type": "application/xml"})


@asynccontextmanager
async def fake_s3(**settings: Any) -> AsyncIterator[FakeS3]:
    """Serve an empty bucket on loopback until the block ends."""
    fake = FakeS3(**settings)
    async with vendor(fake.answer) as fake.served:
        yield fake


def check(request: Request, fake: FakeS3, now: datetime) -> None:
    """Refuse whatever isn't signed by the bucket's owner, in the header or in the query. Raises Refused."""
    if any(name.startswith(("x-amz-checksum", "x-amz-sdk-checksum")) for name in request.headers):
        raise Refused(501, "NotImplemented", "Checksum headers are not implemented.")
    if authorization := request.headers.get("authorization"):
        _check_header(request, authorization, fake, now)
    elif "X-Amz-Signature" in request.query:
        _check_query(request, fake, now)
    else:
        raise Refused(403, "AccessDenied", "Access Denied.")


def _check_header(request: Request, authorization: str, fake: FakeS3, now: datetime) -> None:
    given = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(\S+), ?SignedHeaders=(\S+), ?Signature=(\S+)", authorization)
    if not given:
        raise Refused(400, "AuthorizationHeaderMalformed", "The authorization header is malformed.")
    digest = request.headers.get("x-amz-content-sha256", "")
    if digest.startswith("STREAMING"):
        raise Refused(501, "NotImplemented", "Streamed signatures are not implemented.")
    if digest not in {"UNSIGNED-PAYLOAD", hashlib.sha256(request.body).hexdigest()}:
        raise Refused(400, "XAmzContentSHA256Mismatch", "The provided digest does not match what was computed.")
    at = request.headers["x-amz-date"]
    if abs(_time(at) - now) > SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "The difference between request and server time is too large.")
    _check_signature(request, fake, given[1], given[2], digest, at, given[3])


def _check_query(request: Request, fake: FakeS3, now: datetime) -> None:
    query = request.query
    at, lifetime = _time(query["X-Amz-Date"]), int(query["X-Amz-Expires"])
    if not 1 <= lifetime <= LONGEST_SIGNED:
        raise Refused(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be less than a week.")
    if at - now > SKEW:
        raise Refused(403, "AccessDenied", "Request is not yet valid")
    if at + timedelta(seconds=lifetime) < now:
        raise Refused(403, "AccessDenied", "Request has expired")
    credential, signed = query["X-Amz-Credential"], query["X-Amz-SignedHeaders"]
    signature = query["X-Amz-Signature"]
    _check_signature(request, fake, credential, signed, "UNSIGNED-PAYLOAD", query["X-Amz-Date"], signature)


def _check_signature(
    request: Request, fake: FakeS3, credential: str, signed: str, digest: str, at: str, signature: str
) -> None:
    access_key_id, _, scope = credential.partition("/")
    if access_key_id != fake.access_key_id:
        raise Refused(403, "InvalidAccessKeyId", "There is no such access key.", AWSAccessKeyId=access_key_id)
    parts = urlsplit(request.target)
    path = "/".join(quote(unquote(segment), safe="-_.~") for segment in parts.path.split("/"))
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in _pairs(parts.query))
    query = "&".join(f"{name}={value}" for name, value in pairs)
    headers = "".join(f"{name}:{request.headers.get(name, '')}\n" for name in signed.split(";"))
    canonical = f"{request.method}\n{path}\n{query}\n{headers}\n{signed}\n{digest}"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{fake.secret_access_key}".encode()
    for step in (at[:8], fake.region, "s3", "aws4_request", text):
        key = hmac.digest(key, step.encode(), hashlib.sha256)
    if scope != f"{at[:8]}/{fake.region}/s3/aws4_request" or not hmac.compare_digest(key.hex(), signature):
        message = "The request signature we calculated does not match the signature you provided."
        more = {"AWSAccessKeyId": access_key_id, "StringToSign": text, "SignatureProvided": signature}
        raise Refused(403, "SignatureDoesNotMatch", message, **more)


def _pairs(query: str) -> list[tuple[str, str]]:
    return [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != "X-Amz-Signature"]


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S%z")
