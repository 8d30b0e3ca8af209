"""Pictures that come in are written anew: upright, without EXIF or GPS, and measured as they are stored."""

import hashlib
import io
from typing import Any

import httpx
from PIL import Image

from tests.support.cast import Member
from tests.support.drawn import GPS_SECRET, GREEN, RED, picture, turned_photo
from tests.support.remains import World

KINDS = {"JPEG": ("image/jpeg", "jpg"), "PNG": ("image/png", "png"), "WEBP": ("image/webp", "webp")}


async def upload(member: Member, way: str, file: tuple[str, bytes, str]) -> dict[str, Any]:
    """Send the file in one of the two ways and return the asset that it became."""
    if way == "asset":
        answer = await member.http.post("/v1/assets", files={"file": file})
        assert answer.status_code == 201, answer.text
        asset: dict[str, Any] = answer.json()
        return asset
    answer = await member.http.post("/v1/projects", data={"kind": "image", "prompt": "a"}, files={"images": file})
    assert answer.status_code == 202, answer.text
    [asset] = answer.json()["images"]
    return asset


def near(image: Image.Image, at: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    found = image.convert("RGB").getpixel(at)
    assert isinstance(found, tuple)
    return all(abs(a - b) <= 40 for a, b in zip(found, colour, strict=True))


async def test_metadata_goes_and_orientation_stays(rich: Member, anybody: httpx.AsyncClient, world: World) -> None:
    for kind, (content_type, extension) in KINDS.items():
        photo = turned_photo(kind)
        assert GPS_SECRET in photo
        for way in ("asset", "order"):
            asset = await upload(rich, way, (f"IMG_0001.{extension}", photo, "application/octet-stream"))
            stored = (await anybody.get(asset["url"])).content
            assert GPS_SECRET not in stored, (kind, way)
            image = Image.open(io.BytesIO(stored))
            assert not image.getexif()
            assert not {"exif", "xmp", "comment"} & set(image.info)
            assert image.size == (16, 24)
            # Turned by 90 degrees clockwise, what was left is on top.
            assert near(image, (8, 3), GREEN)
            assert near(image, (8, 20), RED)
            measured = {
                "content_type": content_type,
                "bytes": len(stored),
                "sha256": hashlib.sha256(stored).hexdigest(),
                "width": 16,
                "height": 24,
                "duration_seconds": None,
            }
            assert {name: asset[name] for name in measured} == measured
            assert asset["url"].endswith(f".{extension}")
    on_disk = world.settings.server.data_dir / "media"
    assert len(world.files()) == 6
    assert not [path for path in world.files() if GPS_SECRET in (on_disk / path).read_bytes()]


async def test_a_file_is_known_by_its_content(rich: Member, anybody: httpx.AsyncClient) -> None:
    """Neither the name nor the announced type decides, and neither is repeated."""
    liars = [("../../evil.html", "text/html"), ("a.gif", "image/gif"), ("a\r\nb.png", "image/png"), ("x" * 500, "x/y")]
    for name, content_type in liars:
        for way in ("asset", "order"):
            asset = await upload(rich, way, (name, picture(), content_type))
            assert (asset["content_type"], asset["width"], asset["height"]) == ("image/png", 8, 6)
            answer = await anybody.get(asset["url"])
            assert answer.headers["content-type"] == "image/png"
            assert "evil" not in asset["url"] + asset["download_url"]


async def test_a_download_address_saves_under_a_name(rich: Member, anybody: httpx.AsyncClient) -> None:
    asset = await upload(rich, "asset", ("a.png", picture(), "image/png"))
    answer = await anybody.get(asset["download_url"])
    assert answer.content == (await anybody.get(asset["url"])).content
    assert answer.headers["content-disposition"].startswith('attachment; filename="tallyframe-')
    assert answer.headers["content-disposition"].endswith('.png"')


async def test_an_upload_costs_nothing(alice: Member, world: World) -> None:
    before = await world.remains()
    await upload(alice, "asset", ("a.png", picture(), "image/png"))
    after = await world.remains()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"assets", "files"}
    assert await alice.available() == 20
