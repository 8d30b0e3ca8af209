"""What a member with a key does who means harm. Each function draws an act; none may be accepted, or cost credits."""

import json
import random
from collections.abc import Callable
from io import BytesIO
from itertools import repeat

from PIL import Image

from chaos.rude import BOUNDARY, FORM, JSON, KIB, MIB, Draw
from chaos.slow_names import BELOW
from chaos.wires import Act
from tests.support.drawn import blank_png, picture

_PROJECTS, _GENERATIONS, _ASSETS = "/v1/projects", "/v1/generations", "/v1/assets"
_FETCH = 10.0  # seconds for a picture that is given by its address, and as long in the line, and a while longer
_WAIT = 30.0  # seconds that a picture waits for its turn
_END = f"--{BOUNDARY}--\r\n".encode()
_FILE = '; filename="a.png"'


def _part(name: str, data: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n'
    return head.encode() + b"\r\n" + data + b"\r\n"


_KIND = _part("kind", b"image")
_FIELDS = _KIND + _part("prompt", b"A red cup")
_WHOLE = _FIELDS + _part("images", picture(), _FILE) + _END  # this alone would be an order

#: Bodies that are no order, though well framed.
_MALFORMED: tuple[tuple[str, bytes], ...] = (
    ("multipart/form-data", _WHOLE),
    ("multipart/form-data; boundary=another", _WHOLE),
    (f"multipart/form-data; boundary={'b' * 300}", _WHOLE),
    (FORM, b""),
    (FORM, b"\x00" * 5000),
    (FORM, _FIELDS + b"".join(_part(f"field-{number}", b"x") for number in range(40)) + _END),
    (FORM, _KIND + _part("prompt", b"a" * 70 * KIB) + _END),
    (FORM, _KIND + _part("prompt", b"a\x00b") + _END),
    (FORM, _FIELDS + _part("kind", b"image") + _END),
    (FORM, _FIELDS + _part("images", b"no file") + _END),
    (FORM, _FIELDS + _part("metadata", b"[" * 50_000) + _END),
    (FORM, _FIELDS + _part("picture", picture(), _FILE) + _END),
    (FORM, _FIELDS + b"".join(_part("images", picture(), _FILE) for _ in range(9)) + _END),
    (FORM, _FIELDS + f"--{BOUNDARY}\r\n".encode() + b"\x01\x02 : \r\n\r\nx\r\n" + _END),
    (JSON, b'{"kind": "image", "prompt": "A red cup"'),
    (JSON, b"[" * 60_000),
    (JSON, b'{"kind": "image", "prompt": "\\ud800"}'),
    (JSON, b'{"kind": "image", "prompt": NaN}'),
    (JSON, b"\xff\xfe\x00"),
    ("text/plain", b'{"kind": "image", "prompt": "A red cup"}'),
    ("application/xml", b"<order/>"),
)


def _post(draw: Draw, path: str, content_type: str, body: bytes, length: int | None = None) -> list[bytes]:
    size = len(body) if length is None else length
    return [draw.head(path, f"Content-Type: {content_type}", f"Content-Length: {size}"), body]


def malformed_form(draw: Draw) -> Act:
    """Send an order that can't be read as one."""
    content_type, body = draw.lot.choice(_MALFORMED)
    return Act("malformed form", _post(draw, _PROJECTS, content_type, body), patience=draw.patience())


def half_form(draw: Draw) -> Act:
    """Send a form that ends before its closing boundary, with the length of what is sent."""
    whole = _WHOLE[: len(_WHOLE) - len(b"--\r\n")]
    after = draw.lot.choice((len(_FIELDS), len(whole), draw.lot.randrange(len(whole))))
    return Act("half a form", _post(draw, _PROJECTS, FORM, whole[:after]), patience=draw.patience())


def cut_form(draw: Draw) -> Act:
    """Stop just short of the end of a form that would be an order, and hang up or wait."""
    body = _WHOLE[: -draw.lot.randrange(1, 40)]
    pieces = _post(draw, _PROJECTS, FORM, body, len(_WHOLE))
    patience = draw.patience(draw.limits.body, draw.limits.body)
    return Act("cut form", pieces, leaves=draw.lot.random() < 0.5, patience=patience)  # noqa: PLR2004  # half of them


def huge_form(draw: Draw) -> Act:
    """Send a form of 30 MiB, without its length, or a body of JSON that is far too long."""
    chunk = b"a" * 64 * KIB
    framed = b"10000\r\n" + chunk + b"\r\n"
    start = _FIELDS + b"".join(_part("images", b"", _FILE).rsplit(b"\r\n", 1)[:1])
    if draw.lot.random() < 0.5:  # noqa: PLR2004  # half of them
        head = draw.head(_PROJECTS, f"Content-Type: {FORM}", "Transfer-Encoding: chunked")
        pieces = (head, f"{len(start):x}\r\n".encode() + start + b"\r\n", *repeat(framed, 30 * MIB // len(chunk)))
    else:
        pieces = (*_post(draw, _GENERATIONS, JSON, b"", 30 * MIB), *repeat(chunk, 30 * MIB // len(chunk)))
    return Act("huge form", pieces, patience=draw.patience(draw.limits.body))


def slow_form(draw: Draw) -> Act:
    """Send an order a byte at a time."""
    content_type = draw.lot.choice((FORM, JSON))
    head = draw.head(draw.lot.choice((_PROJECTS, _GENERATIONS, _ASSETS)), f"Content-Type: {content_type}")
    head = head[:-2] + b"Content-Length: 60000\r\n\r\n"
    patience = draw.patience(draw.limits.body, draw.limits.body)
    return Act("slow form", (head, *(bytes([byte]) for byte in _WHOLE[:300])), pause=0.5, patience=patience)


def slow_name(draw: Draw) -> Act:
    """Order with a picture whose host's name server never answers."""
    urls = [{"url": f"http://{draw.lot.randrange(10**9)}{BELOW}/a.png"} for _ in range(draw.lot.randint(1, 4))]
    body = json.dumps({"kind": "image", "prompt": "A red cup", "images": urls}).encode()
    return Act("slow name", _post(draw, _PROJECTS, JSON, body), patience=draw.patience(_WAIT, _FETCH))


def hostile_picture(draw: Draw) -> Act:
    """Send a picture that can't be decoded, or costs much before that shows, as an upload or with an order."""
    name, fields, path = draw.lot.choice((("file", b"", _ASSETS), ("images", _FIELDS, _PROJECTS)))
    body = fields + _part(name, draw.lot.choice(PICTURES), _FILE) + _END
    return Act("hostile picture", _post(draw, path, FORM, body), patience=draw.patience(_WAIT, _WAIT))


def _pictures() -> tuple[bytes, ...]:
    """Make pictures that must be refused."""
    noise, jpeg = Image.frombytes("L", (900, 900), random.Random(1).randbytes(900 * 900)), BytesIO()
    noise.save(jpeg, "JPEG")
    return (
        blank_png(6400, 6400),  # too many pixels, in a few kilobytes
        picture(kind="JPEG", size=(3000, 3000))[:-2000],  # most of it is decoded before its end is missed
        jpeg.getvalue()[: len(jpeg.getvalue()) // 2],
        picture(kind="WEBP", size=(300, 300))[:60],
        b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 40,
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 5000,
        b"GIF89a" + bytes(500),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        random.Random(2).randbytes(6 * MIB),  # too many bytes
    )


PICTURES = _pictures()

#: How often each comes.
MALICIOUS: dict[Callable[[Draw], Act], int] = {
    malformed_form: 6,
    half_form: 4,
    cut_form: 3,
    huge_form: 1,
    slow_form: 3,
    slow_name: 10,
    hostile_picture: 3,
}
