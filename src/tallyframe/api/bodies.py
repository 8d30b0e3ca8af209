"""Bodies of orders: JSON or multipart becomes one `NewProject` and its pictures; pictures in fields become ids."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile

from tallyframe.api.forms import read_file, read_form
from tallyframe.api.incoming import TEAPOT, AssetRef, Labels, NewProject, PictureRef, UrlRef
from tallyframe.api.pictures import Given, given
from tallyframe.api.words import JSON_TYPE, escaped
from tallyframe.errors import UnsupportedMedia, ValidationFailed
from tallyframe.operations.fields import MAX_PICTURES, MAX_PROMPT, NO_NUL
from tallyframe.operations.pictures import most_pictures, replace_pictures

ImageInputs = Sequence[UUID | str | bytes]

_REF: TypeAdapter[AssetRef | UrlRef] = TypeAdapter(PictureRef)


async def read(request: Request, max_upload_bytes: int) -> tuple[NewProject, ImageInputs]:
    """Return the order and its pictures as asset ids, URLs or bytes. Raises our errors and pydantic's."""
    content_type = request.headers.get("content-type", "")
    if content_type.split(";")[0].strip().lower() == "multipart/form-data":
        return await _read_form(request, max_upload_bytes)
    if JSON_TYPE.fullmatch(content_type):
        order = NewProject.model_validate_json(await request.body())
        return order, [_source(item) for item in order.images]
    raise UnsupportedMedia("Send application/json or multipart/form-data.")


def read_pictures(model: type[BaseModel], sent: Mapping[str, Any]) -> tuple[dict[str, Any], list[Given]]:
    """Return the fields of any operation with ids in the place of pictures, and the pictures.

    Raises RequestValidationError for what is no picture, and ValidationFailed for too many in one list or in all.
    """
    pictures, most = list[Given](), most_pictures(model)

    def take(item: object, place: tuple[str, ...]) -> UUID:
        if len(pictures) == most:
            raise ValidationFailed(f"There may be {most} pictures at most.")
        with below(*place):
            pictures.append(given(_source(_REF.validate_python(item)), "/".join(("/input", *place))))
        return pictures[-1].id

    return replace_pictures(model, sent, take), pictures


@contextmanager
def below(*place: str) -> Iterator[None]:
    """Let the pointers of what is refused in the block begin at `place`."""
    try:
        yield
    except (ValidationError, RequestValidationError) as error:
        raise RequestValidationError([{**item, "loc": (*place, *item["loc"])} for item in error.errors()]) from None
    except ValidationFailed as error:
        pointer = "".join(f"/{part}" for part in place)
        raise ValidationFailed(error.detail, pointer=f"{pointer}{error.pointer}") from None


def _source(ref: AssetRef | UrlRef) -> UUID | str:
    return ref.asset_id if isinstance(ref, AssetRef) else ref.url


async def _read_form(request: Request, max_upload_bytes: int) -> tuple[NewProject, ImageInputs]:
    async with read_form(request, max_files=MAX_PICTURES) as form:
        fields, files = _sorted(form)
        try:
            text = fields.get("metadata", "").removeprefix("\ufeff")
            metadata = {"metadata": json.loads(text)} if text else {}
        except (ValueError, RecursionError):
            raise ValidationFailed("In a form, 'metadata' is a JSON object.", pointer="/metadata") from None
        order = NewProject.model_validate({**fields, **metadata}, strict=False)
        return order, [await read_file(file, max_upload_bytes, f"/images/{place}") for place, file in enumerate(files)]


def _sorted(form: FormData) -> tuple[dict[str, Any], list[UploadFile]]:
    fields: dict[str, Any] = {}
    files: list[UploadFile] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in {"images", "images[]"}:
                raise ValidationFailed("Pictures go into the field 'images'.", pointer=f"/{escaped(name)}")
            files.append(value)
        elif name in {"images", "images[]"}:
            raise ValidationFailed("In a form, 'images' are files: each part needs a filename.", pointer="/images")
        elif name in fields:
            raise ValidationFailed(f"The field '{name}' is given twice.", pointer=f"/{escaped(name)}")
        else:
            fields[name] = value
    return fields, files


#: What the docs page sends of an optional field that nobody has typed into: nothing, instead of a made-up value.
BLANK: dict[str, Any] = {"type": "string", "example": ""}

#: Both ways in, for the OpenAPI document: FastAPI can't work out a body that we read ourselves.
OPENAPI_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/NewProject"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["kind"],
                    "properties": {
                        "kind": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 64,
                            "pattern": NO_NUL,
                            "example": "image",
                        },
                        "prompt": {"type": "string", "maxLength": MAX_PROMPT, "pattern": NO_NUL, "example": TEAPOT},
                        "prompt_id": BLANK | {"format": "uuid"},
                        "aspect_ratio": BLANK | {"enum": ["1:1", "9:16", "16:9", "4:5", "3:4"]},
                        "duration_seconds": BLANK | {"type": "integer", "minimum": 1},
                        "metadata": TypeAdapter(Labels).json_schema() | {"example": {}},
                        "images": {
                            "type": "array",
                            "example": [],
                            "maxItems": MAX_PICTURES,
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                }
            },
        },
    }
}
