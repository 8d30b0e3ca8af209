"""A stand-in for Cloudinary, which checks each signature, looks into what it is sent, and caches like a CDN."""

import hashlib
import hmac
import re
import time
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.vendor import Reply, Request, Vendor, answer, vendor

SMALLEST_CHUNK = 5 * 2**20  # bytes
FORMATS = {"image": ("png", "jpg", "webp"), "video": ("mp4",)}
RESOURCE_TYPES = {"png": "image", "jpg": "image", "webp": "image", "mp4": "video"}

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff\xe0"
MP4 = b"\x00\x00\x00\x20ftypisom"


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.reply = answer({"error": {"message": message}}, status, X_Cld_Error=message)


@dataclass
class Chunked:
    """An upload of which some chunks are there."""

    data: bytes = b""


@dataclass
class FakeCloudinary:
    """One account; `faults` are given before anything is looked at. Delivery is under /res.

    The CDN never notices an invalidation, as it may be for minutes: an address that was read keeps its bytes.
    """

    cloud: str = "demo-cloud"
    key: str = "100200300400500"
    secret: str = "CANARY-secret_0001"
    algorithm: str = "sha1"
    faults: list[Reply] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)  # what the answer to an upload says otherwise
    assets: dict[tuple[str, str], bytes] = field(default_factory=dict)  # by resource type and public id
    chunked: dict[str, Chunked] = field(default_factory=dict)
    cached: dict[str, Reply] = field(default_factory=dict)
    served: Vendor = field(default_factory=lambda: Vendor(""))

    @property
    def account_url(self) -> str:
        suffix = "" if self.algorithm == "sha1" else f"?signature_algorithm={self.algorithm}"
        return f"cloudinary://{self.key}:{self.secret}@{self.cloud}{suffix}"

    def settings(self) -> dict[str, Any]:
        return {
            "cloudinary_url": self.account_url,
            "upload_prefix": self.served.url,
            "delivery_url": f"{self.served.url}/res",
        }

    def answer(self, request: Request) -> Reply:
        if self.faults:
            return self.faults.pop(0)
        try:
            if request.path.startswith("/res/"):
                return self._delivered(request)
            return self._called(request)
        except Refused as refused:
            return refused.reply

    def _called(self, request: Request) -> Reply:
        match request.path.removeprefix("/").split("/"):
            case ["v1_1", cloud, *_] if cloud != self.cloud:
                raise Refused(401, f"cloud_name mismatch: {cloud}")
            case ["v1_1", _, "ping"] if request.method == "GET":
                return self._ping(request)
            case ["v1_1", _, resource_type, "upload"]:
                return self._upload(resource_type, request)
            case ["v1_1", _, resource_type, "destroy"]:
                fields = self._signed(request)
                gone = self.assets.pop((resource_type, fields["public_id"]), None)
                return answer({"result": "not found" if gone is None else "ok"})
        raise Refused(404, "Not Found")

    def _ping(self, request: Request) -> Reply:
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        if b64decode(given).decode() != f"{self.key}:{self.secret}":
            raise Refused(401, f"Invalid api_key {b64decode(given).decode().partition(':')[0]}")
        return answer({"status": "ok"})

    def _signed(self, request: Request) -> dict[str, str]:
        """The fields of the form, of which the signature is right and fresh. Raises Refused."""
        fields = {name: value.decode() for name, value in parts_of(request).items() if name != "file"}
        if fields.get("api_key") != self.key:
            raise Refused(401, f"Invalid api_key {fields.get('api_key')}")
        unsigned = {"api_key", "signature", "resource_type", "cloud_name"}
        signed = sorted(f"{name}={value}" for name, value in fields.items() if name not in unsigned and value)
        text = "&".join(pair.replace("&", "%26") for pair in signed)
        expected = hashlib.new(self.algorithm, f"{text}{self.secret}".encode()).hexdigest()
        if not hmac.compare_digest(fields.get("signature", ""), expected):
            raise Refused(401, f"Invalid Signature {fields.get('signature')}. String to sign - '{text}'.")
        if time.time() - int(fields["timestamp"]) > 3600:
            raise Refused(400, "Stale request - reported time is more than 1 hour ago")
        return fields

    def _upload(self, resource_type: str, request: Request) -> Reply:
        fields, data = self._signed(request), parts_of(request).get("file")
        if not data:
            raise Refused(400, "Missing required parameter - file")
        if span := request.headers.get("content-range"):
            whole = self._chunk(request.headers["x-unique-upload-id"], span, data)
            if whole is None:
                return answer({"done": False, "kind": "upload"})
            data = whole
        return answer(self._keep(resource_type, fields, data))

    def _chunk(self, name: str, span: str, data: bytes) -> bytes | None:
        """The whole file once its last chunk is there, else None. Raises Refused."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", span)
        upload = self.chunked.setdefault(name, Chunked())
        if not found or int(found[1]) != len(upload.data) or int(found[2]) + 1 - int(found[1]) != len(data):
            raise Refused(400, f"Invalid Content-Range {span}")
        last = int(found[2]) + 1 == int(found[3])
        if len(data) < SMALLEST_CHUNK and not last:
            raise Refused(400, "All parts except the last must be larger than 5mb")
        upload.data += data
        return self.chunked.pop(name).data if last else None

    def _keep(self, resource_type: str, fields: dict[str, str], data: bytes) -> dict[str, Any]:
        found = format_of(data)
        if found not in FORMATS.get(resource_type, ()):
            raise Refused(400, "Invalid image file" if resource_type == "image" else "Unsupported video format or file")
        public_id = fields["public_id"]
        overwritten = {"overwritten": True} if (resource_type, public_id) in self.assets else {}
        self.assets[resource_type, public_id] = data
        return {
            "public_id": public_id,
            "version": int(time.time()),
            "format": found,
            "resource_type": resource_type,
            "bytes": len(data),
            "etag": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            **overwritten,
            **self.changes,
        }

    def _delivered(self, request: Request) -> Reply:
        if request.path not in self.cached:
            self.cached[request.path] = self._original(request.path)
        return self.cached[request.path]

    def _original(self, path: str) -> Reply:
        shape = r"/res/([\w-]+)/(image|video)/upload/(?:fl_attachment(?::([\w-]+))?/)?(?:v\d+/)?(.+)\.(\w+)"
        found = re.fullmatch(shape, path)
        if not found or found[1] != self.cloud:
            raise Refused(404, f"Resource not found - {path}")
        data = self.assets.get((found[2], found[4]))
        if data is None:
            raise Refused(404, f"Resource not found - {found[4]}")
        if format_of(data) != found[5]:
            return Reply(200, b"converted to another format")
        headers = {"Content-Type": f"{found[2]}/{found[5]}"}
        if "/fl_attachment" in path:
            headers["Content-Disposition"] = f'attachment; filename="{found[3] or found[4]}.{found[5]}"'
        return Reply(200, data, headers)


def format_of(data: bytes) -> str | None:
    if data[8:12] == b"WEBP":
        return "webp"
    beginnings = {PNG: "png", JPEG[:3]: "jpg"}
    found = [name for beginning, name in beginnings.items() if data.startswith(beginning)]
    return found[0] if found else ("mp4" if data[4:8] == b"ftyp" else None)


def parts_of(request: Request) -> dict[str, bytes]:
    """The fields and files of a multipart form, by name."""
    boundary = request.headers["content-type"].split("boundary=")[1].encode()
    parts = {}
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        found = re.search(rb'name="([^"]*)"', head)
        assert found
        parts[found[1].decode()] = content.removesuffix(b"\r\n")
    return parts


@asynccontextmanager
async def fake_cloudinary(**settings: Any) -> AsyncIterator[FakeCloudinary]:
    """Serve an empty account on loopback until the block ends."""
    fake = FakeCloudinary(**settings)
    async with vendor(fake.answer) as fake.served:
        yield fake
