"""`POST /v1/projects` takes JSON or multipart; both become one `NewProject` and its pictures."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from tallyframe.api.forms import read_file
from tallyframe.api.incoming import AssetRef, NewProject
from tallyframe.errors import UnsupportedMedia, ValidationFailed

MAX_IMAGES = 4
MAX_FIELDS = 32

ImageInputs = Sequence[UUID | str | bytes]


async def read(request: Request, max_upload_bytes: int) -> tuple[NewProject, ImageInputs]:
    """Return the order and its pictures as asset ids, URLs or bytes. Raises our errors and pydantic's."""
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return await _read_form(request, max_upload_bytes)
    if content_type in {"application/json", ""}:
        order = NewProject.model_validate_json(await request.body())
        return order, [item.asset_id if isinstance(item, AssetRef) else item.url for item in order.images]
    raise UnsupportedMedia("Send application/json or multipart/form-data.")


async def _read_form(request: Request, max_upload_bytes: int) -> tuple[NewProject, ImageInputs]:
    async with request.form(max_files=MAX_IMAGES, max_fields=MAX_FIELDS, max_part_size=max_upload_bytes + 1) as form:
        fields, files = _sorted(form)
        order = NewProject.model_validate_strings(fields) if "metadata" not in fields else _with_metadata(fields)
        return order, [await read_file(file, max_upload_bytes) for file in files]


def _sorted(form: FormData) -> tuple[dict[str, Any], list[UploadFile]]:
    fields: dict[str, Any] = {}
    files: list[UploadFile] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in {"images", "images[]"}:
                raise ValidationFailed("Pictures go into the field 'images'.", pointer=f"/{name}")
            files.append(value)
        elif name == "images":
            raise ValidationFailed("In a form, 'images' are files.", pointer="/images")
        elif name in fields:
            raise ValidationFailed(f"The field {name!r} is given twice.", pointer=f"/{name}")
        else:
            fields[name] = value
    return fields, files


def _with_metadata(fields: dict[str, Any]) -> NewProject:
    try:
        metadata = json.loads(fields["metadata"])
    except (ValueError, RecursionError):
        raise ValidationFailed("In a form, 'metadata' is a JSON object.", pointer="/metadata") from None
    return NewProject.model_validate({**fields, "metadata": metadata}, strict=False)


#: Both ways in, for the OpenAPI document: FastAPI can't work out a body that we read ourselves.
OPENAPI_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/NewProject"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["kind"],
                    "properties": {
                        "kind": {"type": "string", "enum": ["image", "video"]},
                        "prompt": {"type": "string", "maxLength": 4000},
                        "prompt_id": {"type": "string", "format": "uuid"},
                        "aspect_ratio": {"type": "string", "enum": ["1:1", "9:16", "16:9", "4:5", "3:4"]},
                        "duration_seconds": {"type": "integer"},
                        "metadata": {"type": "string", "description": "A JSON object of strings."},
                        "images": {
                            "type": "array",
                            "maxItems": MAX_IMAGES,
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                }
            },
        },
    }
}
