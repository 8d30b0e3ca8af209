"""Answers every error as application/problem+json (RFC 9457), ours and the framework's alike."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tallyframe.api import methods, words
from tallyframe.errors import Internal, NotFound, TallyframeError, Unavailable, UnsupportedMedia

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
BUG = HTTPStatus.INTERNAL_SERVER_ERROR

#: Problems of one request that are told, at most.
MOST_TOLD = 50


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
    for kind, handle in HANDLERS.items():
        app.add_exception_handler(kind, handle)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TallyframeError)  # noqa: S101  # how the handler is registered
    if error.status >= BUG and not isinstance(error, Unavailable):
        log.error("internal_error", detail=error.detail)
    return problem(error, request_id_of(request))


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError | ValidationError)  # noqa: S101  # how it is registered
    found = error.errors()
    kinds = {item["type"] for item in found if item["loc"] == ("body",)}
    if "model_attributes_type" in kinds and not words.JSON_TYPE.fullmatch(request.headers.get("content-type", "")):
        return problem(UnsupportedMedia("Send application/json."), request_id_of(request))
    # The words of thousands would hold up everybody else. Of a union, each member may say the same.
    told = list(dict.fromkeys((words.pointer(item), words.said(item)) for item in found[:MOST_TOLD]))
    errors = [{"pointer": pointer, "detail": detail} for pointer, detail in told]
    detail = "; ".join(f"{item['pointer'] or 'body'}: {item['detail']}" for item in errors)
    more = f"; and {len(found) - MOST_TOLD} more" if len(found) > MOST_TOLD else ""
    return _response(422, "validation_failed", detail + more, request_id_of(request), {"errors": errors})


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # how the handler is registered
    if isinstance(error.__cause__, TallyframeError):  # ours, raised while the framework read the body
        return _ours(request, error.__cause__)
    request_id = request_id_of(request)
    if request.method == "OPTIONS" and request.scope["path"] == "*":  # of the server as a whole (RFC 9110, 9.3.7)
        return Response(status_code=204, headers={"Allow": ", ".join(methods.METHODS)})
    by_status: dict[int, type[TallyframeError]] = {404: NotFound, 415: UnsupportedMedia, 500: Internal}
    if kind := by_status.get(error.status_code):
        return problem(kind(None if kind is NotFound else error.detail), request_id)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _other_method(request, request_id)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # the framework's answer to a body that it can't parse
        is_deep = isinstance(error.__cause__, RecursionError)
        said = "The body is nested too deep." if is_deep else words.unreadable(error.detail)
        told = [{"pointer": "", "detail": said}]
        return _response(422, "validation_failed", said, request_id, {"errors": told})
    phrase = HTTPStatus(error.status_code).phrase
    answer = _response(error.status_code, phrase.lower().replace(" ", "_"), error.detail, request_id, {})
    answer.headers.update(error.headers or {})
    return answer


def _other_method(request: Request, request_id: str) -> Response:
    """Return 204 for OPTIONS, else 405; `Allow` lists the methods that the address has (RFC 9110, 10.2.1)."""
    allowed = {"Allow": ", ".join(methods.of_address(request))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=allowed)
    detail = f"This address has no {request.method}. It has {allowed['Allow']}."
    answer = _response(405, "method_not_allowed", detail, request_id, {})
    answer.headers.update(allowed)
    return answer


#: What answers which error.
HANDLERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    TallyframeError: _ours,
    RequestValidationError: _invalid,
    ValidationError: _invalid,
    HTTPException: _http,
}
