"""Pictures for orders: small ones, and ones that must be refused."""

import io
import struct
import zlib

from PIL import Image

GPS_SECRET = b"48.2082 16.3738 secret"
RED, GREEN = (255, 0, 0), (0, 255, 0)


def picture(colour: tuple[int, int, int] = RED, kind: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    """Draw one colour; different colours make different bytes."""
    return _saved(Image.new("RGB", size, colour), kind)


def turned_photo(kind: str) -> bytes:
    """Draw 24 x 16 pixels, green above red once upright, with EXIF that says "turn me by 90 degrees" and where it was.

    Orientation 6 means that the camera's right is the picture's bottom: stored on its side, green at the left.
    """
    image = Image.new("RGB", (24, 16), RED)
    image.paste(GREEN, (0, 0, 12, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = GPS_SECRET.decode()
    exif.get_ifd(0x8825)[2] = (48.0, 12.0, 29.0)
    return _saved(image, kind, exif=exif.tobytes())


def blank_png(width: int, height: int) -> bytes:
    """Build a whole PNG of 1 bit per pixel in a few kilobytes, however many pixels it has."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    rows = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    pixels = b"".join(rows.compress(row * 64) for _ in range(height // 64)) + rows.compress(row * (height % 64))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", pixels + rows.flush()) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()
