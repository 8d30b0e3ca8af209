"""Serves the files of the local storage: with type, ranges and caching, and headers that let no browser run them."""

import asyncio
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from tallyframe.api.dependencies import SystemServices
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
    response = FileResponse(
        path,
        headers=HEADERS,
        media_type=content_type,
        filename=download and FORBIDDEN_IN_NAMES.sub("_", download),
        stat_result=await asyncio.to_thread(path.stat),
    )
    if request.headers.get("if-none-match") == response.headers["etag"]:
        return Response(status_code=304, headers={**HEADERS, "ETag": response.headers["etag"]})
    return response
