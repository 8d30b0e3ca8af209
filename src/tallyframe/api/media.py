"""Serves the files of the local storage: with type, ranges and caching, and headers that let no browser run them."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from tallyframe.api.conditions import RangeNotSatisfiable, is_unchanged, parts
from tallyframe.api.dependencies import SystemServices
from tallyframe.api.problems import problem, request_id_of
from tallyframe.errors import NotFound
from tallyframe.storages.base import EXTENSIONS

router = APIRouter(include_in_schema=False)

CONTENT_TYPES = {ending: content_type for content_type, ending in EXTENSIONS.items()}
#: Not allowed in a file's name: control characters, and what separates folders on some system.
FORBIDDEN_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/\\]")
HEADERS = {
    "Cache-Control": "public, max-age=86400",  # a name never gets other content; a deleted file is gone within a day
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


@router.api_route("/media/{key:path}", methods=["GET", "HEAD"])
async def media(
    key: str, request: Request, serving: SystemServices, download: Annotated[str | None, Query(max_length=100)] = None
) -> Response:
    """Return the bytes of a key, or the range that was asked for."""
    path = await asyncio.to_thread(serving.storages.open_path, key)
    content_type = CONTENT_TYPES.get(key.rsplit(".", 1)[-1])
    if path is None or content_type is None:
        raise NotFound
    found = await asyncio.to_thread(path.stat)
    name = download and FORBIDDEN_IN_NAMES.sub("_", download)
    file = FileResponse(path, headers=HEADERS, media_type=content_type, filename=name, stat_result=found)
    etag, last_modified = file.headers["etag"], file.headers["last-modified"]
    if is_unchanged(request.headers, etag, datetime.fromtimestamp(int(found.st_mtime), UTC)):
        return Response(status_code=304, headers={**HEADERS, "ETag": etag, "Last-Modified": last_modified})
    try:
        is_get = request.method == "GET"  # for other methods, there are no ranges (RFC 9110, 14.2)
        wanted = parts(request.headers, etag, last_modified, found.st_size) if is_get else None
    except RangeNotSatisfiable as error:
        refused = problem(error, request_id_of(request))
        refused.headers["Content-Range"] = f"bytes */{found.st_size}"  # RFC 9110, 14.4
        return refused
    others = [line for line in request.scope["headers"] if line[0] not in {b"range", b"if-range"}]
    request.scope["headers"] = [*others, *([(b"range", wanted.encode())] if wanted else [])]
    return file
