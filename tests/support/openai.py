"""OpenAI's chat completions in small: it checks each request strictly, keeps what was asked, and keeps to the schema.

`answer` is for `tests.support.vendor`. `replies` holds what is to be given instead, first come first served.
"""

import base64
import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.support.google_wire import Wrong, expect, read
from tests.support.openai_schema import check_strict, written
from tests.support.vendor import Reply, Request, answer

KEY = "canary-of-openai-7f3e91"
MODEL = "gpt-5.4-mini"
REQUEST_ID = "req_0001"

_BODY = {"model", "messages", "response_format", "max_completion_tokens", "store"}
_HEADERS = {
    *("host", "connection", "accept", "accept-encoding", "content-type", "content-length", "user-agent"),
    *("authorization", "x-client-request-id", "x-stainless-retry-count", "x-stainless-read-timeout"),
    "x-stainless-raw-response",
}
_PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff", "image/webp": b"RIFF"}
_MOST_BYTES = 50 * 2**20


def failure(status: int, code: str | None, message: str, *, kind: str = "", param: str = "", **headers: str) -> Reply:
    """An error as OpenAI gives it; in header names '_' stands for '-'."""
    error = {"message": message, "type": kind or "invalid_request_error", "param": param or None, "code": code}
    return answer({"error": error}, status, **{"x_request_id": REQUEST_ID, **headers})


def completion(content: Any, reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    """The body of an answer; `content` that is no text becomes JSON."""
    text = content if content is None or isinstance(content, str) else json.dumps(content)
    said = {"role": "assistant", "content": text, "refusal": None, "annotations": [], **message}
    details = {"cached_tokens": 0, "audio_tokens": 0}
    return {
        "id": "chatcmpl-0001",
        "object": "chat.completion",
        "created": 1795000000,
        "model": f"{MODEL}-2026-03-17",
        "choices": [{"index": 0, "message": said, "logprobs": None, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": 120,
            "completion_tokens": 45,
            "total_tokens": 165,
            "prompt_tokens_details": details,
            "completion_tokens_details": {"reasoning_tokens": 20},
        },
        "service_tier": "default",
    }


def completed(body: Any) -> Reply:
    return answer(body, x_request_id=REQUEST_ID)


@dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    model: str
    instructions: str
    prompt: str
    pictures: tuple[tuple[str, bytes], ...]  # content type and bytes
    name: str
    schema: dict[str, Any]
    tokens: int
    key: str  # our own name for the call


@dataclass
class FakeOpenAI:
    """`base` is what stands before "/chat/completions" and "/models/"."""

    key: str = KEY
    models: tuple[str, ...] = (MODEL,)
    base: str = "/v1"
    replies: deque[Reply] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Reply:
        """Answer a request as OpenAI would."""
        if request.headers.get("authorization") != f"Bearer {self.key}":
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            masked = f"{given[:8]}{'*' * 12}{given[-4:]}"
            return failure(401, "invalid_api_key", f"Incorrect API key provided: {masked}. You can find your API key …")
        try:
            return self._take(request)
        except (Wrong, LookupError, TypeError, AttributeError, ValueError) as wrong:
            self.complaints.append(f"{request.method} {request.target}: {wrong!r}")
            return failure(400, None, str(wrong))

    def _take(self, request: Request) -> Reply:
        expect(set(request.headers) <= _HEADERS, f"odd headers: {sorted(set(request.headers) - _HEADERS)}")
        expect(request.headers["accept-encoding"] == "identity", "compression is asked for")
        expect(request.headers["x-stainless-retry-count"] == "0", "the SDK tries again by itself")
        expect(not request.query and self.key.encode() not in request.body, "a query, or the key in the body")
        if request.method == "GET":
            name = re.fullmatch(rf"{re.escape(self.base)}/models/([\w.:-]+)", request.path)
            expect(name, "no such path")
            return self.replies.popleft() if self.replies else self._described(request.path.rsplit("/", 1)[1])
        expect(request.method == "POST" and request.path == f"{self.base}/chat/completions", "no such path")
        asked = _asked(read(request), request.headers["x-client-request-id"])
        expect(len(request.body) <= _MOST_BYTES, "too many bytes")
        self.asked.append(asked)
        if self.replies:
            return self.replies.popleft()
        return completed(completion(written(asked.schema))) if asked.model in self.models else _unknown(asked.model)

    def _described(self, name: str) -> Reply:
        known = {"id": name, "object": "model", "created": 1795000000, "owned_by": "system"}
        return completed(known) if name in self.models else _unknown(name)


def _unknown(model: str) -> Reply:
    said = f"The model `{model}` does not exist or you do not have access to it."
    return failure(404, "model_not_found", said, param="model")


def _asked(body: dict[str, Any], key: str) -> Asked:
    """Read a request, or raise Wrong: our instructions, then what the user says, and nothing that is not known."""
    expect(set(body) == _BODY, f"the body has {sorted(body)}")
    expect(body["store"] is False, "the answer would be kept")
    expect(type(body["max_completion_tokens"]) is int and body["max_completion_tokens"] > 0, "an odd limit")
    system, user = body["messages"]
    expect(set(system) == set(user) == {"role", "content"}, "odd messages")
    expect((system["role"], user["role"]) == ("system", "user") and system["content"], "odd roles")
    prompt, pictures = _content(user["content"])
    expect(set(body["response_format"]) == {"type", "json_schema"}, "an odd format")
    wanted = body["response_format"]["json_schema"]
    expect(body["response_format"]["type"] == "json_schema", "not by a schema")
    expect(set(wanted) == {"name", "strict", "schema"} and wanted["strict"] is True, "the schema is not strict")
    expect(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", wanted["name"]), f"an odd name: {wanted['name']}")
    check_strict(wanted["schema"])
    tokens = body["max_completion_tokens"]
    return Asked(body["model"], system["content"], prompt, pictures, wanted["name"], wanted["schema"], tokens, key)


def _content(given: Any) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """Return a user's words and pictures; words alone come without parts."""
    if isinstance(given, str):
        return given, ()
    text, *pictures = given
    expect(set(text) == {"type", "text"} and text["type"] == "text", "the words come first")
    return text["text"], tuple(_picture(part) for part in pictures)


def _picture(part: Any) -> tuple[str, bytes]:
    expect(set(part) == {"type", "image_url"} and part["type"] == "image_url", "an odd part")
    expect(set(part["image_url"]) == {"url"}, "an odd picture")
    head, _, data = part["image_url"]["url"].partition(";base64,")
    kind = head.removeprefix("data:")
    picture = base64.b64decode(data, validate=True)
    expect(kind in _PICTURES and picture.startswith(_PICTURES[kind]), f"no {kind}")
    return kind, picture
