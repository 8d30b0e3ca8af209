"""Pictures written byte by byte, with metadata or damage, and a look at what becomes of them."""

import io
import struct
import zlib

from PIL import Image, ImageCms, PngImagePlugin

from tallyframe.assets import pictures
from tallyframe.providers.base import Media

SECRET = b"48.2082 16.3738 secret"
FORMATS = ("JPEG", "PNG", "WEBP")
RED, GREEN = (255, 0, 0), (0, 255, 0)
Pixel = tuple[int, ...]


def clean(data: bytes, *, max_bytes: int = 5 * 2**20, max_pixels: int = 40_000_000) -> Media:
    return pictures.clean(data, max_bytes=max_bytes, max_pixels=max_pixels)


def write(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def read(media: Media) -> Image.Image:
    image = Image.open(io.BytesIO(media.data))
    assert media.content_type == f"image/{str(image.format).lower()}"
    assert (media.width, media.height) == image.size
    image.load()
    return image


def pixel(image: Image.Image, at: tuple[int, int] = (0, 0)) -> Pixel:
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return found


def near(one: Pixel, other: Pixel) -> bool:
    return all(abs(a - b) <= 8 for a, b in zip(one, other, strict=True))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *extra: bytes, pixels: bytes = b"") -> bytes:
    """Build a PNG of 1 bit per pixel, with `extra` chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def full_png(width: int, height: int, *extra: bytes) -> bytes:
    return png(width, height, *extra, pixels=zlib.compress(bytes((1 + (width + 7) // 8) * height)))


def vp8x(width: int, height: int) -> bytes:
    """Build the header of a WebP with a canvas of this size, and nothing on it."""
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def exif(orientation: int = 1) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010E] = SECRET.decode()
    block.get_ifd(0x8825)[2] = (48.0, 12.0, 29.0)
    return block.tobytes()


def swapped_profile() -> bytes:
    """Return sRGB with red and green exchanged, so that a conversion shows."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)


def text_chunks() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET)
    info.add_text("Zipped", SECRET * 20, zip=True)
    info.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    return info


def colours() -> Image.Image:
    image = Image.new("RGB", (24, 16), RED)
    image.paste(GREEN, (0, 0, 8, 8))
    image.paste((0, 0, 255), (16, 8, 24, 16))
    return image
