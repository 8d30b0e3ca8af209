"""Answers every error as application/problem+json (RFC 9457), ours and the framework's alike."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from tallyframe.errors import Internal, NotFound, TallyframeError, Unavailable, UnsupportedMedia
from tallyframe.operations.fields import NO_NUL, NOT_TEXT

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
BUG = HTTPStatus.INTERNAL_SERVER_ERROR

#: What pydantic says about Python classes and patterns, said about JSON, by the pattern or the type of its error.
_SAID = {
    NO_NUL: NOT_TEXT,
    "string_unicode": NOT_TEXT,
    "json_invalid": "This is not JSON",
    "model_type": "This must be a JSON object",
    "model_attributes_type": "This must be a JSON object",
}


def problem(error: TallyframeError, request_id: str) -> JSONResponse:
    """Return the response for one of our errors."""
    return _response(error.status, error.code, error.detail, request_id, error.data)


def problem_body(status: int, code: str, detail: str, request_id: str) -> dict[str, Any]:
    """Return what RFC 9457 asks for, and our code and the request's id."""
    return {
        "type": f"urn:tallyframe:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def _response(status: int, code: str, detail: str, request_id: str, data: dict[str, Any]) -> JSONResponse:
    body = problem_body(status, code, detail, request_id) | data
    headers = {"Retry-After": str(data["retry_after"])} if "retry_after" in data else {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def request_id_of(request: Request) -> str:
    """Return the id that the middleware gave this request."""
    return str(request.scope.get("request_id", ""))


def install(app: FastAPI) -> None:
    """Register the handlers below."""
    app.add_exception_handler(TallyframeError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TallyframeError)  # noqa: S101  # how the handler is registered
    if error.status >= BUG and not isinstance(error, Unavailable):
        log.error("internal_error", detail=error.detail)
    return problem(error, request_id_of(request))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)  # noqa: S101  # how it is registered
    found = error.errors()
    kinds = {item["type"] for item in found if item["loc"] == ("body",)}
    if "model_attributes_type" in kinds and "json" not in request.headers.get("content-type", ""):
        return problem(UnsupportedMedia("Send application/json."), request_id_of(request))
    said: dict[tuple[str, str], None] = {}  # of a union, each member may say the same
    for item in found:
        # The place of a JSON error is a number of characters.
        pointer = "" if item["type"] == "json_invalid" else _pointer(item["loc"])
        kind = item.get("ctx", {}).get("pattern", item["type"])
        said[pointer, _SAID.get(kind, str(item["msg"]).removeprefix("Value error, "))] = None
    errors = [{"pointer": pointer, "detail": words} for pointer, words in list(said)[:20]]
    detail = "; ".join(f"{item['pointer'] or 'body'}: {item['detail']}" for item in errors[:3])
    return _response(422, "validation_failed", detail, request_id_of(request), {"errors": errors})


def _pointer(location: Sequence[str | int]) -> str:
    """Return pydantic's location as a JSON pointer (RFC 6901), without "body" or the like in front."""
    parts = list(location)[1:] if location and location[0] in {"body", "query", "path", "header"} else list(location)
    parts = [part for part in parts if not str(part)[:1].isupper()]  # in a union, pydantic names the model, too
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # how the handler is registered
    if isinstance(error.__cause__, TallyframeError):  # ours, raised while the framework read the body
        return _ours(request, error.__cause__)
    request_id = request_id_of(request)
    by_status: dict[int, type[TallyframeError]] = {404: NotFound, 415: UnsupportedMedia, 500: Internal}
    if kind := by_status.get(error.status_code):
        return problem(kind(None if kind is NotFound else error.detail), request_id)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # the framework's answer to a body that it can't parse
        is_deep = isinstance(error.__cause__, RecursionError)
        said = "The body is nested too deep." if is_deep else error.detail
        return _response(422, "validation_failed", said, request_id, {"errors": []})
    phrase = HTTPStatus(error.status_code).phrase
    answer = _response(error.status_code, phrase.lower().replace(" ", "_"), error.detail, request_id, {})
    answer.headers.update(error.headers or {})
    return answer
