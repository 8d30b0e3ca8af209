"""Reads forms. We do this ourselves: the framework would parse a form before it knows who sends it."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tallyframe.api.dependencies import CurrentUser
from tallyframe.api.words import JSON_TYPE, NOT_JSON, escaped, unreadable
from tallyframe.errors import TallyframeError, TooLarge, UnsupportedMedia, ValidationFailed

#: Characters of a file's name that an error repeats.
_LONGEST_NAME = 100


class Upload(bytes):
    """The bytes of an uploaded file, with the name that its sender gave it, shortened; empty: it has none."""

    name: str

    @classmethod
    def of(cls, data: bytes, name: str | None) -> "Upload":
        """Return the bytes with this name, of which only what can be shown is kept."""
        upload = cls(data)
        upload.name = "".join(letter for letter in (name or "").rsplit("/", 1)[-1] if letter.isprintable())[
            :_LONGEST_NAME
        ]
        return upload


#: Parts of a form that are no files, at most.
MAX_FIELDS = 32
#: The names of parts that are files.
_FILES = frozenset({b"file", b"images", b"images[]"})
#: Characters of what separates parts (RFC 2046, section 5.1.1).
_LONGEST_BOUNDARY = 70
#: Bytes of such a part, at most. What is read from it is parsed at once, so it stays as small as a JSON body.
MAX_FIELD_BYTES = 64 * 1024


class _Parser(MultiPartParser):
    """The framework's, which by itself takes a form for complete that breaks off after a part."""

    is_complete = False

    async def parse(self) -> FormData:
        """Return the parts. Raises MultiPartException for what is no form in UTF-8, or half of one."""
        _, options = parse_options_header(self.headers.get("content-type", ""))
        if not (boundary := options.get(b"boundary")):
            raise MultiPartException("Missing boundary in multipart.")
        if len(boundary) > _LONGEST_BOUNDARY:
            raise MultiPartException(f"Its boundary has more than {_LONGEST_BOUNDARY} characters.")
        if options.get(b"charset", b"utf-8").lower() not in {b"utf-8", b"utf8", b"us-ascii"}:
            raise MultiPartException("Send it in UTF-8.")
        self.stream = self._whole(self.stream)
        return await super().parse()

    def on_headers_finished(self) -> None:
        """Begin a part. Raises MultiPartException for a file without a name, which would be taken for text.

        JSON is a field, also where it has a file name: a browser gives one to each Blob (XMLHttpRequest, "FormData").
        """
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        name, kind = options.get(b"name", b""), dict(part.item_headers).get(b"content-type", b"").decode("latin-1")
        is_named = b"filename" in options
        if name not in _FILES and is_named and kind and JSON_TYPE.fullmatch(kind):
            quoted = name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            part.content_disposition = b'form-data; name="' + quoted + b'"'
        elif name in _FILES and not is_named and re.match(r"\s*(image/|application/octet-stream)", kind, re.IGNORECASE):
            raise MultiPartException(f"The part '{name.decode()}' is a file, so it needs a filename.")
        if options.get(b"filename") == b"":  # an input that was left blank counts as a field, and not as a file
            self._current_files, self._current_fields = self._current_files - 1, self._current_fields + 1
            if self._current_fields > self.max_fields:
                raise MultiPartException(f"Too many fields. Maximum number of fields is {self.max_fields}.")
        super().on_headers_finished()

    async def _whole(self, stream: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for chunk in stream:
            yield chunk
        if not self.is_complete:  # the parser has seen all chunks by now, and closes its files if this is raised
            raise MultiPartException("Its closing boundary is missing.")

    def on_end(self) -> None:
        """Note the closing delimiter (RFC 2046, 5.1.1)."""
        self.is_complete = True


@asynccontextmanager
async def read_form(request: Request, *, max_files: int) -> AsyncIterator[FormData]:
    """Have the parts of a multipart form, with its files open while the block runs.

    What a browser sends for an input that is left blank is left out. Lines in fields end in LF: browsers send CR LF
    (HTML, "multipart form data"), which nobody has typed. Raises ValidationFailed for what is no complete form, and
    what reading the body raises.
    """
    limits = {"max_files": max_files, "max_fields": MAX_FIELDS, "max_part_size": MAX_FIELD_BYTES}
    try:
        form = await _Parser(request.headers, request.stream(), **limits).parse()
    except MultiPartException as error:
        raise ValidationFailed(f"The form can't be read: {unreadable(error.message)}") from None
    try:
        filled = [(name, _as_typed(value)) for name, value in form.multi_items() if not _is_blank(value)]
        if sum(isinstance(value, UploadFile) for _, value in filled) > max_files:
            raise ValidationFailed(unreadable(f"The form may have at most {max_files} files."))
        yield FormData(filled)
    finally:
        await form.close()


def _is_blank(value: UploadFile | str) -> bool:
    return not value.strip() if isinstance(value, str) else not value.filename and not value.size


def _as_typed(value: UploadFile | str) -> UploadFile | str:
    return value.replace("\r\n", "\n") if isinstance(value, str) else value


async def read_only_file(request: Request, name: str, max_upload_bytes: int) -> bytes:
    """Return the bytes of a form's one file. Raises UnsupportedMedia, ValidationFailed or TooLarge."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnsupportedMedia(f"Send multipart/form-data with one file in the field '{name}'.")
    async with read_form(request, max_files=1) as form:
        others = [each for each in form if each != name]
        if others:
            raise ValidationFailed(f"This form has one field, '{name}'.", pointer=f"/{escaped(others[0])}")
        sent = form.getlist(name)
        if len(sent) != 1 or not isinstance(sent[0], UploadFile):
            hint = ": the part needs a filename" if sent and isinstance(sent[0], str) else ""
            raise ValidationFailed(f"Send one file in the field '{name}'{hint}.", pointer=f"/{name}")
        return await read_file(sent[0], max_upload_bytes, f"/{name}")


async def read_file(file: UploadFile, max_upload_bytes: int, pointer: str) -> Upload:
    """Return the bytes of an uploaded file, which stands at `pointer`.

    Raises TooLarge as soon as it is too long, without reading the rest.
    """
    data = Upload.of(await file.read(max_upload_bytes + 1), file.filename)
    if len(data) > max_upload_bytes:
        accepted = f"{max_upload_bytes / 1024 / 1024:g} MiB"
        words = f"The picture is larger than the {accepted} that are accepted. Send JPEG, PNG or WebP."
        raise named(TooLarge(words), pointer, data)
    return data


def named(error: TallyframeError, pointer: str, source: object) -> TallyframeError:
    """Return what is wrong with a picture, with its place in the request and, of an upload, its file name.

    An error that points more closely keeps its own place.
    """
    place = getattr(error, "pointer", "") or pointer
    name = f"{source.name}: " if isinstance(source, Upload) and source.name else ""
    words = f"{name}{error.detail}"
    error.detail, error.data = f"{place}: {words}", {**error.data, "errors": [{"pointer": place, "detail": words}]}
    return error


async def refuse_fields(request: Request, _user: CurrentUser) -> None:  # who is known before the body is read
    """Refuse a body with fields, which the call would ignore. Raises ValidationFailed."""
    body = (await request.body()).strip()
    try:
        sent = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        raise ValidationFailed(f"{NOT_JSON}; this call needs no body.") from None
    if sent != {}:
        pointer = f"/{escaped(next(iter(sent)))}" if isinstance(sent, dict) else ""
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
                    "additionalProperties": False,
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "JPEG, PNG or WebP."}},
                }
            }
        },
    }
}
