"""Media files over HTTP: what they say they are, parts of them, caching, and no way to any other file."""

from email.message import Message
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tallyframe.settings import Settings
from tests.support.drawn import picture
from tests.support.remains import problem

TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}
DATA = bytes(range(256)) * 4


@pytest.fixture
def media(settings: Settings) -> Path:
    folder = settings.server.data_dir / "media"
    (folder / "uploads").mkdir(parents=True)
    for extension in (*TYPES, "html", "svg", "json", "PNG"):
        (folder / f"uploads/a.{extension}").write_bytes(DATA)
    (folder / "uploads/.hidden.png").write_bytes(DATA)
    (folder / "uploads/bare").write_bytes(DATA)
    (folder.parent / "keys.json").write_text("secret")
    (folder.parent / "secret.png").write_text("secret")
    return folder


async def test_files_say_what_they_are_and_do_nothing_else(anybody: httpx.AsyncClient, media: Path) -> None:
    for extension, content_type in TYPES.items():
        for method in ("GET", "HEAD"):
            answer = await anybody.request(method, f"/media/uploads/a.{extension}")
            assert answer.status_code == 200
            assert answer.content == (DATA if method == "GET" else b"")
            headers = answer.headers
            assert headers["content-type"] == content_type
            assert headers["content-length"] == str(len(DATA))
            assert headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "sandbox" in headers["content-security-policy"]
            assert "max-age=" in headers["cache-control"]
            assert headers["accept-ranges"] == "bytes"
            assert headers["x-request-id"]
            assert "content-disposition" not in headers
            assert "set-cookie" not in headers


async def test_parts_of_a_file(anybody: httpx.AsyncClient, media: Path) -> None:
    path, size = "/media/uploads/a.mp4", len(DATA)
    parts = {
        "bytes=0-0": (0, 1),
        "bytes=100-199": (100, 200),
        "bytes=1000-": (1000, size),
        "bytes=-24": (size - 24, size),
        "bytes=-99999": (0, size),
        "bytes=1000-99999": (1000, size),
        "bytes=1000-" + "9" * 5000: (1000, size),  # more digits than Python reads
        "bytes=-" + "9" * 5000: (0, size),
        "bytes=" + "0" * 5000 + "-9": (0, 10),
    }
    for asked, (start, end) in parts.items():
        answer = await anybody.get(path, headers={"Range": asked})
        assert answer.status_code == 206, asked
        assert answer.content == DATA[start:end], asked
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert answer.headers["content-length"] == str(end - start)
        assert answer.headers["content-type"] == "video/mp4"
        head = await anybody.head(path, headers={"Range": asked})  # of GET alone, there are parts (RFC 9110, 14.2)
        assert (head.status_code, head.headers["content-length"]) == (200, str(size))
    for beyond in (f"bytes={size}-", "bytes=99999-100000", f"bytes={'9' * 5000}-"):
        answer = await anybody.get(path, headers={"Range": beyond})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
        assert DATA[:9] not in answer.content
    etag = (await anybody.get(path)).headers["etag"]
    for condition, status in ((etag, 206), ('"other"', 200)):
        answer = await anybody.get(path, headers={"Range": "bytes=0-9", "If-Range": condition})
        assert answer.status_code == status, condition


async def test_very_many_parts_and_dates_that_are_none_are_ignored(anybody: httpx.AsyncClient, media: Path) -> None:
    path = "/media/uploads/a.mp4"
    zone = "Mon, 30 Nov 2026 18:17:00 +99999999999999999999"
    for headers in (
        {"Range": f"bytes={'0-0,' * 100}2-3"},  # 101
        {"If-Modified-Since": zone},
        {"If-Unmodified-Since": zone},
        {"If-None-Match": '"""' * 20_000},
    ):
        answer = await anybody.get(path, headers=headers)
        assert (answer.status_code, answer.content) == (200, DATA)


async def test_what_a_client_has_is_not_sent_again(anybody: httpx.AsyncClient, media: Path) -> None:
    path = "/media/uploads/a.png"
    etag = (await anybody.get(path)).headers["etag"]
    same = await anybody.get(path, headers={"If-None-Match": etag})
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert "max-age=" in same.headers["cache-control"]
    (media / "uploads/a.png").write_bytes(picture())
    other = await anybody.get(path, headers={"If-None-Match": etag})
    assert (other.status_code, other.content) == (200, picture())


async def test_download_names_are_only_names(anybody: httpx.AsyncClient, media: Path) -> None:
    names = {
        "cup.png": "cup.png",
        "a cup.png": "a cup.png",
        "Tässchen 🍵.png": "Tässchen 🍵.png",
        'a"; filename="evil.exe': 'a"; filename="evil.exe',
        "a'b%41;c.png": "a'b%41;c.png",
        "a\r\nSet-Cookie: x=1\r\n\r\n<script>": None,
        "a\0b.png": None,
        "../../.bashrc": None,
        "..\\..\\autoexec.bat": None,
        "": None,
    }
    for name, expected in names.items():
        answer = await anybody.get(f"/media/uploads/a.png?download={quote(name, safe='')}")
        assert (answer.status_code, answer.content) == (200, DATA), name
        assert "set-cookie" not in answer.headers
        said = answer.headers["content-disposition"]
        assert said.isascii(), name
        assert said.isprintable(), name
        header = Message()
        header["Content-Disposition"] = said
        assert header.get_content_disposition() == "attachment"
        found = header.get_filename() or ""
        assert not {"/", "\\", "\r", "\n", "\0"} & set(found), found
        assert expected is None or found == expected
        assert answer.headers["content-type"] == "image/png"  # whatever the name says
    problem(await anybody.get(f"/media/uploads/a.png?download={'a' * 101}"), 422, "validation_failed")


async def test_there_is_no_way_out(anybody: httpx.AsyncClient, media: Path) -> None:
    outside = media.parent / "secret.png"
    (media / "link.png").symlink_to(outside)
    (media / "inside.png").symlink_to(media / "uploads/a.png")
    (media / "folder").symlink_to(media.parent)
    (media / "loop.png").symlink_to(media / "loop.png")
    dots = ("%2e%2e", "%2E%2E", "%2E.", ".%2e", "%252e%252e", "..%00", "%c0%ae%c0%ae", "..;", "....//")
    ways = [f"/media/{up}{slash}{name}" for up in dots for slash in ("/", "%2f", "%5c") for name in ("secret.png",)]
    ways += [f"/media/uploads/{up}/{up}/secret.png" for up in dots]
    absolute = str(outside)
    ways += [
        f"/media/{absolute}",
        f"/media/{quote(absolute, safe='')}",
        f"/media//{absolute}",
        f"/media/file:{absolute}",
    ]
    ways += ["/media/link.png", "/media/inside.png", "/media/folder/secret.png", "/media/loop.png"]
    ways += ["/media/uploads//a.png", "/media//uploads/a.png", "/media/%2e/uploads/a.png", "/media/uploads/%2e/a.png"]
    ways += ["/media/uploads/a.png%00", "/media/uploads/a.png%00.png", "/media/uploads/a%00.png", "/media/%00"]
    ways += [
        "/media/uploads/.hidden.png",
        "/media/uploads/a.png/",
        "/media/uploads/a.png/a.png",
        "/media/uploads/a.PNG",
    ]
    ways += ["/media/", "/media/uploads", "/media/uploads/", f"/media/{'a/' * 1900}a.png", "/media/~root/a.png"]
    ways += [f"/media/{'a' * 4000}.png", "/media/uploads/a.png%20", "/media/c:/secret.png"]
    for way in ways:
        answer = await anybody.get(way)
        problem(answer, 404, "not_found", way)
        assert "secret" not in answer.text, way
    assert (await anybody.get("/media/uploads/a.png")).status_code == 200


async def test_other_kinds_of_files_are_not_served(anybody: httpx.AsyncClient, media: Path) -> None:
    for name in ("a.html", "a.svg", "a.json", "bare", "nothing.png", "png"):
        answer = await anybody.get(f"/media/uploads/{name}")
        problem(answer, 404, "not_found", name)
        assert "max-age" not in answer.headers.get("cache-control", "")
