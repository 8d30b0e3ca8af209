"""Reads files from forms. We do this ourselves: the framework would parse a form before it knows who sends it."""

import json
from typing import Any

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from tallyframe.errors import TooLarge, UnsupportedMedia, ValidationFailed


async def read_only_file(request: Request, name: str, max_upload_bytes: int) -> bytes:
    """Return the bytes of a form's one file. Raises UnsupportedMedia, ValidationFailed or TooLarge."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnsupportedMedia(f"Send multipart/form-data with one file in the field '{name}'.")
    async with request.form(max_files=1, max_fields=0) as form:
        file = form.get(name)
        if not isinstance(file, UploadFile):
            raise ValidationFailed(f"Send one file in the field '{name}'.", pointer=f"/{name}")
        return await read_file(file, max_upload_bytes)


async def read_file(file: UploadFile, max_upload_bytes: int) -> bytes:
    """Return the bytes of an uploaded file. Raises TooLarge as soon as it is too long, without reading the rest."""
    data = await file.read(max_upload_bytes + 1)
    if len(data) > max_upload_bytes:
        accepted = f"{max_upload_bytes / 1024 / 1024:g} MiB"
        raise TooLarge(f"A picture is larger than the {accepted} that are accepted. Send JPEG, PNG or WebP.")
    return data


async def refuse_fields(request: Request) -> None:
    """Refuse a body with fields, which the call would ignore. Raises ValidationFailed."""
    body = (await request.body()).strip()
    try:
        sent = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise ValidationFailed("The body is not JSON; this call needs none.") from None
    if sent != {}:
        pointer = f"/{next(iter(sent))}" if isinstance(sent, dict) else ""
        raise ValidationFailed("This call takes no fields.", pointer=pointer)


NoBody = Depends(refuse_fields)

#: For the OpenAPI document.
OPENAPI_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP."}},
                }
            }
        },
    }
}
