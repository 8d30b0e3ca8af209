"""Fetching finished videos: from Google's Files API only, without following anybody anywhere, and within bounds."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tallyframe.errors import FailureCode
from tallyframe.providers.google.client import Google
from tallyframe.providers.google.downloads import fetch_video, unpack_video
from tests.support.google_filming import (
    ASK_LATER,
    ASK_WITH_ALARM,
    QUOTA,
    REJECTED,
    TOO_MUCH,
    UNAVAILABLE,
    Expected,
    access,
    failing,
)
from tests.support.google_videos import DEVELOPER_HOST, KEY, FakeVeo, film
from tests.support.google_wire import bad_key, failure, quota
from tests.support.vendor import DROP, Reply, Vendor, answer, hang, vendor

FILE = f"{DEVELOPER_HOST}/v1beta/files/vid0001:download?alt=media"


@asynccontextmanager
async def files(fake: FakeVeo, **over: Any) -> AsyncIterator[tuple[Google, Vendor]]:
    async with vendor(fake.answer) as server:
        google = Google(access(server.url, **over))
        yield google, server
        await google.aclose()
    assert fake.complaints == []


@pytest.mark.parametrize(
    ("address", "version"),
    [
        (FILE, "v1beta"),
        (f"{DEVELOPER_HOST}/v1beta/files/vid0001:download", "v1beta"),
        (f"{DEVELOPER_HOST}/v1/files/vid0001:download?alt=media&x=1", "v1"),
        (f"{DEVELOPER_HOST}/v1beta/files/vid0001", "v1beta"),
        (f"{DEVELOPER_HOST}/files/vid0001", "v1"),
        ("files/vid0001", "v1"),
        ("{url}/v1beta/files/vid0001:download?alt=media", "v1beta"),
        ("{url}/proxy/v1beta/files/vid0001?alt=media", "v1beta"),
    ],
)
async def test_every_way_to_name_a_file_leads_to_the_configured_address(address: str, version: str) -> None:
    async with files(FakeVeo()) as (google, server):
        media = await fetch_video(google, address.replace("{url}", server.url))
        assert (media.data, media.content_type, media.duration_seconds) == (film(), "video/mp4", 1.0)
        (request,) = server.requests
        assert request.target == f"/{version}/files/vid0001:download?alt=media"
        assert request.headers["x-goog-api-key"] == KEY


@pytest.mark.parametrize(
    "address",
    [
        *("", "vid0001", "files/", "files/../models/x", "files/a/b", "files/a%2Fb"),
        *("https://example.org/v1beta/files/vid0001", "http://generativelanguage.googleapis.com/v1beta/files/vid0001"),
        *("https://generativelanguage.googleapis.com@example.org/files/vid0001", "//example.org/files/vid0001"),
        *("https://generativelanguage.googleapis.com.example.org/files/vid0001", "https://[nonsense/files/vid0001"),
        *(f"{DEVELOPER_HOST}/v1beta/models/vid0001", f"{DEVELOPER_HOST}/v1beta/files/", "file:///files/vid0001"),
        *("gs://bucket/files/vid0001", f"https://{KEY}@example.org/files/vid0001", "x" * 5000),
    ],
)
async def test_what_is_no_file_of_google_is_not_asked_for(address: str) -> None:
    async with files(FakeVeo()) as (google, server):
        error = await failing(fetch_video(google, address), REJECTED)
        assert "not in the Files API" in error.operator_message
        assert server.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with vendor(lambda _request: Reply(200, film())) as elsewhere:
        fake = FakeVeo()
        fake.instead["download"].append(Reply(status, b"", {"Location": f"{elsewhere.url}/files/vid0001"}))
        fake.instead["download"].append(Reply(status, b"", {"Location": "/v1beta/files/vid0001:download?alt=media"}))
        async with files(fake) as (google, server):
            for asked in (1, 2):
                await failing(fetch_video(google, FILE), ASK_WITH_ALARM)
                assert len(server.requests) == asked
        assert elsewhere.requests == []


MP4 = {"Content-Type": "video/mp4"}
#: It is paid, and what came may have been a proxy's word.
ASK_FOR_A_BETTER = (FailureCode.PROVIDER_REJECTED, True, False, False)
FAILURES: dict[str, tuple[Reply, Expected]] = {
    "404": (failure(404, "NOT_FOUND", "No such file."), REJECTED),
    "removed": (
        failure(403, "PERMISSION_DENIED", "You do not have permission to access the File x or it may not exist."),
        REJECTED,
    ),
    "403": (failure(403, "PERMISSION_DENIED", "The key was leaked."), ASK_WITH_ALARM),
    "bad key": (bad_key(), ASK_WITH_ALARM),
    "quota": (quota(), QUOTA),
    "500": (failure(500, "INTERNAL", "Boom."), UNAVAILABLE),
    "503": (failure(503, "UNAVAILABLE", "Overloaded."), UNAVAILABLE),
    "400": (failure(400, "INVALID_ARGUMENT", "Not now."), UNAVAILABLE),
    "dropped": (DROP, UNAVAILABLE),
    "cut": (Reply(200, film(), MP4, cut_after=700), UNAVAILABLE),
    "hangs": (hang(), ASK_LATER),
    "empty": (Reply(200, b"", MP4), ASK_FOR_A_BETTER),
    "html": (Reply(200, b"<html>", {"Content-Type": "text/html"}), ASK_FOR_A_BETTER),
    "json": (answer({"error": "none"}), ASK_FOR_A_BETTER),
    "damaged": (Reply(200, film()[:300], MP4), ASK_FOR_A_BETTER),
    "too large": (Reply(200, film(), MP4, pad_to=TOO_MUCH), REJECTED),
    "compressed": (Reply(200, film(), {**MP4, "Content-Encoding": "gzip"}), UNAVAILABLE),
}


@pytest.mark.parametrize("what", FAILURES)
async def test_failed_download(what: str) -> None:
    reply, expected = FAILURES[what]
    fake = FakeVeo()
    fake.instead["download"].append(reply)
    async with files(fake, timeout=4.0 if reply.delay else 20.0) as (google, server):
        started = time.monotonic()
        await failing(fetch_video(google, FILE), expected)
        assert time.monotonic() - started < 15
        assert len(server.requests) == 1


async def test_the_limit_on_bytes_is_the_configured_one() -> None:
    async with files(FakeVeo(), max_bytes=len(film()) - 1) as (google, _):
        error = await failing(fetch_video(google, FILE), REJECTED)
        assert f"{len(film()) - 1:,} bytes" in error.operator_message
    async with files(FakeVeo(), max_bytes=len(film())) as (google, _):
        assert (await fetch_video(google, FILE)).data == film()


async def test_a_large_film_comes_whole() -> None:
    async with files(FakeVeo(film_size=20 * 2**20)) as (google, _):
        media = await fetch_video(google, FILE)
        assert (len(media.data), media.duration_seconds) == (20 * 2**20, 1.0)


@pytest.mark.parametrize("data", ["?", "AAA", "AAAA", "", "é", film().hex()])
async def test_inline_video_that_is_none(data: str) -> None:
    await failing(unpack_video(data), REJECTED)
