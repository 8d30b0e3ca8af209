"""Gemini's generateContent in small: it checks each request strictly, keeps what was ordered, and draws a picture.

`answer` is for `tests.support.vendor`. `replies` holds what is to be given instead, first come first served.
"""

import base64
import re
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image

from tests.support.google_wire import Wrong, bad_key, expect, failure, probed, read
from tests.support.vendor import Reply, Request, answer

KEY = "canary-of-gemini-9b1c"
MODEL = "gemini-3.1-flash-image"
RATIOS = ("1:1", "3:2", "2:3", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
PIXELS = {None: 1024, "512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}


@cache
def drawn(width: int = 64, height: int = 64, kind: str = "PNG", colour: str = "teal") -> bytes:
    out = BytesIO()
    Image.new("RGB", (width, height), colour).save(out, kind)
    return out.getvalue()


def inline(data: bytes, mime_type: str = "image/png") -> dict[str, Any]:
    """A picture as it stands in an answer."""
    return {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(data).decode()}}


def candidate(*parts: dict[str, Any], reason: str | None = "STOP", message: str | None = None) -> dict[str, Any]:
    """A body with one candidate; without parts its content is empty, as the API gives it with most reasons."""
    content: dict[str, Any] = {"role": "model"}
    if parts:
        content["parts"] = list(parts)
    told: dict[str, Any] = {"content": content, "index": 0}
    if reason:
        told["finishReason"] = reason
    if message:
        told["finishMessage"] = message
    usage = {"promptTokenCount": 528, "totalTokenCount": 528}
    return {"candidates": [told], "usageMetadata": usage, "modelVersion": MODEL, "responseId": "resp-0002"}


@dataclass(frozen=True)
class Ordered:
    """What a request asks for."""

    prompt: str
    pictures: tuple[tuple[str, bytes], ...]  # content type and bytes
    aspect_ratio: str
    size: str | None


@dataclass
class FakeGemini:
    """Takes a key in its header, or with `token` a bearer token instead; `base` is what stands before "/models/"."""

    key: str = KEY
    token: str = ""
    model: str = MODEL
    base: str = "/v1"
    replies: deque[Reply] = field(default_factory=deque)
    orders: list[Any] = field(default_factory=list)  # of images: Ordered
    complaints: list[str] = field(default_factory=list)

    def owns(self, request: Request) -> bool:
        """Say if `answer` knows the path, for a server that holds several services."""
        return self._named(request) is not None

    def answer(self, request: Request) -> Reply:
        """Answer a request as Google would."""
        if refused := self._refused(request):
            return refused
        model = self._named(request)
        if model is None:
            return failure(404, "NOT_FOUND", f"No such path: {request.path}")
        try:
            return self._take(request, model)
        except (Wrong, LookupError, TypeError, AttributeError, ValueError, OSError) as wrong:
            self.complaints.append(f"{request.method} {request.target}: {wrong!r}")
            return failure(400, "INVALID_ARGUMENT", str(wrong))

    def _named(self, request: Request) -> str | None:
        verb = r":generateContent" if request.method == "POST" else ""
        match = re.fullmatch(rf"{re.escape(self.base)}/models/([\w.-]+){verb}", request.path)
        if request.method == "GET" and "/projects/" in self.base:  # models are asked for without a project
            match = re.fullmatch(r"/\w+/publishers/google/models/([\w.-]+)", request.path)
        return match[1] if match and request.method in {"GET", "POST"} else None

    def _refused(self, request: Request) -> Reply | None:
        if self.key in request.target or request.query or self.key.encode() in request.body:
            self.complaints.append("a key outside of its header, or a query")
        if self.token:
            given = request.headers.get("authorization")
            return None if given == f"Bearer {self.token}" else failure(401, "UNAUTHENTICATED", "No such token.")
        return None if request.headers.get("x-goog-api-key") == self.key else bad_key()

    def _take(self, request: Request, model: str) -> Reply:
        if request.method == "GET":
            return self.replies.popleft() if self.replies else probed(model, self.model)
        order = self._order(read(request), model)
        if model != self.model:
            return failure(404, "NOT_FOUND", f"models/{model} is not found for API version v1.")
        self.orders.append(order)
        return self.replies.popleft() if self.replies else answer(self._made(order))

    def _order(self, body: dict[str, Any], model: str) -> Any:
        """Read a request, or raise Wrong."""
        order = _ordered(body)
        expect(order.size is None or not model.startswith("gemini-2.5-"), "this model has no image sizes")
        return order

    def _made(self, order: Any) -> dict[str, Any]:
        """Return the body of a success."""
        return made(order)


def made(order: Ordered) -> dict[str, Any]:
    """The body of a success: words first, then a PNG of the asked shape."""
    across, down = map(int, order.aspect_ratio.split(":"))
    unit = PIXELS[order.size] / max(across, down)
    body = candidate({"text": "Here is the picture."}, inline(drawn(round(across * unit), round(down * unit))))
    safe = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}
    body["candidates"][0]["safetyRatings"] = [safe]
    body["usageMetadata"] = {
        "promptTokenCount": 528,
        "candidatesTokenCount": 1290,
        "totalTokenCount": 1818,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12}, {"modality": "IMAGE", "tokenCount": 516}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
    }
    return {**body, "responseId": "resp-0001"}


def said_by_user(body: dict[str, Any]) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """Return the prompt and the pictures of a request, or raise Wrong: pictures first, one prompt at the end."""
    (content,) = body["contents"]
    only(content, "parts", "role")
    expect(content["role"] == "user", "another role than the user's")
    *pictures, text = content["parts"]
    only(text, "text")
    expect(isinstance(text["text"], str) and text["text"], "the prompt comes last, and isn't empty")
    expect(len(pictures) <= 14, "more than 14 pictures")
    return text["text"], tuple(_picture(part) for part in pictures)


def _ordered(body: dict[str, Any]) -> Ordered:
    """Read a request for an image, or raise Wrong for what is not known."""
    only(body, "contents", "generationConfig")
    prompt, pictures = said_by_user(body)
    config = body["generationConfig"]
    only(config, "responseModalities", "imageConfig")
    expect(config["responseModalities"] == ["IMAGE"], "not an image")
    image = config["imageConfig"]
    only(image, "aspectRatio", *(["imageSize"] if "imageSize" in image else []))
    expect(image["aspectRatio"] in RATIOS and image.get("imageSize") in PIXELS, f"an odd image: {image}")
    return Ordered(prompt, pictures, image["aspectRatio"], image.get("imageSize"))


def _picture(part: dict[str, Any]) -> tuple[str, bytes]:
    """Read a picture: URL-safe base64 with padding, under the one name in snake_case."""
    only(part, "inlineData")
    blob = part["inlineData"]
    mime_type = blob["mime_type" if "mime_type" in blob else "mimeType"]
    expect(set(blob) <= {"data", "mime_type", "mimeType"} and len(blob) == 2, f"an odd picture: {sorted(blob)}")
    expect(re.fullmatch(r"[\w-]+={0,2}", blob["data"], re.ASCII), "no URL-safe base64")
    data = base64.urlsafe_b64decode(blob["data"])
    with Image.open(BytesIO(data)) as picture:
        expect(KINDS.get(str(picture.format)) == mime_type, f"no {mime_type}")
    return mime_type, data


def only(given: dict[str, Any], *names: str) -> None:
    """Raise Wrong unless these names are there, and no others."""
    expect(set(given) == set(names), f"names: {sorted(given)}, not {sorted(names)}")
