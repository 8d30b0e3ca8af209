"""Google's errors as they come over the wire, what orders of videos look like, and what the SDK reads elsewhere."""

import base64
import binascii
import re
from typing import Any

from tests.support.vendor import Reply, Request, answer

INLINE_LIMIT = 4 * 2**20  # characters of base64 in one order
_PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}

_ELSEWHERE = "http://127.0.0.1:1"

#: All that google-genai 3.4.0 and httpx2 2.16.2 read, each with a value that would be noticed.
ENVIRONMENT = {
    "GOOGLE_API_KEY": "wrong-key",
    "GEMINI_API_KEY": "wrong-key",
    "GOOGLE_GENAI_API_KEY": "wrong-key",
    "GOOGLE_GENAI_ACCESS_TOKEN": "wrong-token",
    "GOOGLE_GENAI_DEFAULT_HEADERS": "wrong",
    "GOOGLE_GENAI_USER_PROJECT": "wrong-project",
    "GOOGLE_GEMINI_BASE_URL": _ELSEWHERE,
    "GOOGLE_VERTEX_BASE_URL": _ELSEWHERE,
    "GOOGLE_GENAI_API_VERSION": "v9",
    "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
    "GOOGLE_GENAI_CLIENT_MODE": "replay",
    "GOOGLE_GENAI_REPLAYS_DIRECTORY": "/nonexistent",
    "GOOGLE_GENAI_REPLAY_ID": "wrong",
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GOOGLE_GENAI_USE_ENTERPRISE": "true",
    "GOOGLE_GENAI_DEBUG": "1",
    "GOOGLE_CLOUD_PROJECT": "wrong-project",
    "GOOGLE_CLOUD_LOCATION": "wrong-location",
    "HTTP_PROXY": _ELSEWHERE,
    "HTTPS_PROXY": _ELSEWHERE,
    "ALL_PROXY": _ELSEWHERE,
}


class Wrong(Exception):
    """What a request has wrong."""


def expect(fine: object, what: str) -> None:
    if not fine:
        raise Wrong(what)


def failure(status: int, name: str, message: str, *details: dict[str, Any], **headers: str) -> Reply:
    """An error as Google's front end gives it."""
    body = {"error": {"code": status, "message": message, "status": name, "details": list(details)}}
    return answer(body, status, **headers)


def bad_key() -> Reply:
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    return failure(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", detail)


def quota(period: str = "PerMinute", delay: str = "31s", **headers: str) -> Reply:
    """Too many requests: `period` is in the quota's name, `delay` is when to try again."""
    broken = {"quotaMetric": "requests", "quotaId": f"GenerateRequests{period}PerProjectPerModel"}
    return failure(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota.",
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [broken]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        **headers,
    )


def interactions_error(message: str, status: int = 400, code: str = "invalid_request") -> Reply:
    """An error as the interactions endpoints give it: the code is a word."""
    return answer({"error": {"code": code, "message": message}}, status)


def read(request: Request) -> Any:
    """Return the JSON object of a request's body."""
    expect(request.headers.get("content-type") == "application/json", "the content type is not JSON")
    try:
        body = request.json
    except ValueError as error:
        raise Wrong("the body is no JSON") from error
    expect(isinstance(body, dict), "the body is no object")
    return body


def probed(name: str, model: str) -> Reply:
    """What a model says about itself."""
    if name != model:
        return failure(404, "NOT_FOUND", f"models/{name} is not found for API version v1beta.")
    return answer({"name": f"models/{name}", "displayName": "A model", "version": "001"})


def completed(video: dict[str, str]) -> dict[str, Any]:
    """The part of an interaction's body that comes with its end."""
    usage = {"total_input_tokens": 270, "total_output_tokens": 34752, "total_tokens": 35022, "total_thought_tokens": 0}
    output = {"type": "model_output", "content": [video]}
    return {"status": "completed", "steps": [{"type": "thought", "signature": "c2ln"}, output], "usage": usage}


def refusal(text: str) -> dict[str, Any]:
    """The end of an interaction whose model only talks."""
    steps = [{"type": "model_output", "content": [{"type": "text", "text": text}]}]
    return {"steps": steps, "usage": {"total_input_tokens": 12, "total_output_tokens": 20}}


def check_interaction(body: dict[str, Any], model: str, longest: int, *, vertex: bool) -> None:
    """Raise Wrong unless this orders a video, in snake_case."""
    known = {"model", "background", "store", "input", "response_format", "generation_config"}
    expect(set(body) <= known, f"unknown names: {sorted(set(body) - known)}")
    expect(body["model"] == model, "another model")
    expect(body["background"] is True and body["store"] is True, "a video is made in the background and kept")
    _check_format(body["response_format"], longest, vertex=vertex)
    pictures = _check_input(body["input"])
    task = body.get("generation_config", {"video_config": {"task": "text_to_video"}})
    wanted = "image_to_video" if pictures else "text_to_video"
    expect(task == {"video_config": {"task": wanted}}, f"the task is {wanted}, not {task}")


def _check_format(wanted: dict[str, Any], longest: int, *, vertex: bool) -> None:
    names = {"type", "aspect_ratio", "resolution", "duration", "delivery"} - ({"delivery"} if vertex else set())
    expect(set(wanted) == names, f"the response format has {sorted(wanted)}; Vertex delivers to a bucket or inline")
    expect(wanted["type"] == "video" and wanted["aspect_ratio"] in {"9:16", "16:9"}, "an odd format")
    expect(wanted["resolution"] in {"360p", "720p", "1080p", "4k"}, "an odd resolution")
    expect(vertex or wanted["delivery"] == "uri", "a video is too large to come inline")
    seconds = re.fullmatch(r"(\d+)s", wanted["duration"]) if isinstance(wanted["duration"], str) else None
    expect(seconds and 3 <= int(seconds[1]) <= longest, f"a duration of {wanted['duration']!r}")


def _check_input(given: Any) -> int:
    """Return how many pictures are in the input."""
    if isinstance(given, str):
        expect(given, "an empty prompt")
        return 0
    expect(len(given) == 1 and set(given[0]) == {"type", "content"} and given[0]["type"] == "user_input", "odd steps")
    *pictures, text = given[0]["content"]
    expect(set(text) == {"type", "text"} and text["type"] == "text" and text["text"], "the prompt comes last")
    for picture in pictures:
        expect(set(picture) == {"type", "data", "mime_type"} and picture["type"] == "image", "an odd picture")
        check_picture(picture["data"], picture["mime_type"])
    return len(pictures)


def check_prediction(body: dict[str, Any]) -> None:
    """Raise Wrong unless this orders one video of Veo, in camelCase."""
    expect(set(body) == {"instances", "parameters"} and len(body["instances"]) == 1, f"odd names: {sorted(body)}")
    instance, parameters = body["instances"][0], body["parameters"]
    expect(set(instance) <= {"prompt", "image"} and instance["prompt"], f"odd names: {sorted(instance)}")
    if "image" in instance:
        expect(set(instance["image"]) == {"bytesBase64Encoded", "mimeType"}, "an odd picture")
        check_picture(instance["image"]["bytesBase64Encoded"], instance["image"]["mimeType"])
    known = {"sampleCount", "durationSeconds", "aspectRatio", "resolution"}
    expect(set(parameters) == known, f"parameters: {sorted(parameters)}")
    expect(parameters["sampleCount"] == 1 and parameters["aspectRatio"] in {"9:16", "16:9"}, "odd parameters")
    seconds = parameters["durationSeconds"]
    expect(type(seconds) is int and seconds in {4, 6, 8}, f"a duration of {seconds!r}")
    expect(parameters["resolution"] == "720p", "an odd resolution")


def check_picture(data: str, mime_type: str) -> None:
    """Raise Wrong unless this is the standard base64 of a picture of the type it says, and not too large."""
    expect(len(data) <= INLINE_LIMIT, "a picture is too large to come inline")
    try:
        picture = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise Wrong("a picture is not standard base64") from error
    expect(mime_type in _PICTURES and picture.startswith(_PICTURES[mime_type]), f"no {mime_type}")
