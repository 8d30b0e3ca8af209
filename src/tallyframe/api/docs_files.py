"""The files of the docs page, which come with `fastapi-offline`: read once each, and served from memory."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter
from starlette.responses import Response

from tallyframe.api.conditions import KnownTags, is_among
from tallyframe.errors import NotFound

#: Where the page looks for them.
FOLDER = "/static-offline-docs"
#: What the page shows, and its type.
_TYPES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    etag: str


@cache
def _read(name: str) -> _File:
    content = Path(fastapi_offline.__file__).with_name("static").joinpath(name).read_bytes()
    return _File(content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@router.get(f"{FOLDER}/{{name}}")
async def docs_file(name: str, known: KnownTags) -> Response:
    """Return a file. A `Range` is ignored, as it may be (RFC 9110, 14.2)."""
    if name not in _TYPES:
        raise NotFound
    file = _read(name)
    headers = {"ETag": file.etag, "Cache-Control": "public, max-age=86400"}
    if is_among(file.etag, known):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=_TYPES[name], headers=headers)
