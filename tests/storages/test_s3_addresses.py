"""The addresses that browsers get: followed at a service that checks signatures, in time and out of it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tallyframe.storages import s3
from tallyframe.storages.s3 import S3Storage
from tests.support.s3 import FakeS3, fake_s3

KEY = "generations/1/image.png"
LIFETIME = 600  # seconds
NOW = 1_800_000_000.0  # seconds since 1970, where a window opens


@pytest.fixture
async def fake() -> AsyncIterator[FakeS3]:
    async with fake_s3(prefix="/storage/v1/s3") as served:
        yield served


@pytest.fixture
async def storage(fake: FakeS3) -> AsyncIterator[S3Storage]:
    opened = S3Storage(**fake.settings(), url_lifetime=LIFETIME)
    await opened.put(KEY, b"data", "image/png")
    await opened.put("generations/1/image-2.png", b"other", "image/png")
    yield opened
    await opened.aclose()


@pytest.fixture
def clock(fake: FakeS3, storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> "Clock":
    return Clock(fake, monkeypatch)


class Clock:
    """The time at both ends, seconds after NOW."""

    def __init__(self, fake: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
        self._fake = fake
        self._monkeypatch = monkeypatch
        self.move(0)

    def move(self, seconds: float) -> None:
        self._monkeypatch.setattr(s3, "time", lambda: NOW + seconds)
        self._fake.now = datetime.fromtimestamp(NOW + seconds, tz=UTC)


async def read(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as browser:
        return await browser.get(url)


async def test_a_signed_address_reads(storage: S3Storage, clock: Clock) -> None:
    answer = await read(storage.url(KEY))
    assert (answer.status_code, answer.content) == (200, b"data")
    assert answer.headers["cache-control"] == "private, max-age=86400, immutable"
    assert storage.url_lifetime == LIFETIME


async def test_an_address_stays_for_half_its_life(storage: S3Storage, clock: Clock) -> None:
    first = storage.url(KEY)
    clock.move(LIFETIME / 2 - 0.1)
    assert storage.url(KEY) == first
    clock.move(LIFETIME / 2)
    assert storage.url(KEY) != first


@pytest.mark.parametrize("asked", [0, 1, 150, 299.9, 300, 599])
async def test_an_address_works_for_another_half(storage: S3Storage, clock: Clock, asked: float) -> None:
    clock.move(asked)
    url = storage.url(KEY)
    clock.move(asked + LIFETIME / 2)
    assert (await read(url)).status_code == 200


async def test_an_expired_address_is_refused(storage: S3Storage, clock: Clock) -> None:
    url = storage.url(KEY)
    clock.move(LIFETIME)
    assert (await read(url)).status_code == 200
    clock.move(LIFETIME + 1)
    answer = await read(url)
    assert answer.status_code == 403
    assert "Request has expired" in answer.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("image.png", "image-2.png"),
        ("X-Amz-Expires=600", "X-Amz-Expires=604800"),
        ("attachment", "inline"),
        ("X-Amz-Credential=AKIDCANARY0001", "X-Amz-Credential=AKIDCANARY0002"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("%2Fauto%2F", "%2Fus-east-1%2F"),
    ],
)
async def test_a_tampered_address_is_refused(storage: S3Storage, clock: Clock, old: str, new: str) -> None:
    url = storage.url(KEY, download_as="holiday.png")
    assert (await read(url)).status_code == 200
    assert old in url
    answer = await read(url.replace(old, new))
    assert answer.status_code == 403
    assert "data" not in answer.text


async def test_without_a_signature_nothing_is_read(storage: S3Storage, clock: Clock) -> None:
    answer = await read(storage.url(KEY).partition("?")[0])
    assert answer.status_code == 403


async def test_an_address_reads_and_does_nothing_else(fake: FakeS3, storage: S3Storage, clock: Clock) -> None:
    url = storage.url(KEY)
    async with httpx.AsyncClient() as browser:
        assert (await browser.put(url, content=b"other")).status_code == 403
        assert (await browser.delete(url)).status_code == 403
    assert fake.objects[KEY].data == b"data"


async def test_an_address_of_another_secret_is_refused(fake: FakeS3, clock: Clock) -> None:
    other = S3Storage(**{**fake.settings(), "secret_access_key": "other"})
    answer = await read(other.url(KEY))
    assert answer.status_code == 403
    assert "SignatureDoesNotMatch" in answer.text


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("image.png", "attachment; filename=\"image.png\"; filename*=UTF-8''image.png"),
        (
            'a "b" & c?#.png',
            "attachment; filename=\"a _b_ _ c__.png\"; filename*=UTF-8''a%20%22b%22%20%26%20c%3F%23.png",
        ),
        ("Größe\r\n.png", "attachment; filename=\"Gr__e__.png\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe__.png"),
        ("a+b.png", "attachment; filename=\"a_b.png\"; filename*=UTF-8''a%2Bb.png"),
    ],
)
async def test_a_download_comes_under_its_name(storage: S3Storage, clock: Clock, name: str, header: str) -> None:
    answer = await read(storage.url(KEY, download_as=name))
    assert answer.content == b"data"
    assert answer.headers["content-disposition"] == header


async def test_the_longest_lifetime_is_taken(fake: FakeS3, clock: Clock) -> None:
    url = S3Storage(**fake.settings(), url_lifetime=604_800).url(KEY)
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["604800"]
    assert (await read(url)).status_code == 200


def test_where_a_signed_address_leads() -> None:
    storage = S3Storage(
        "media", endpoint_url="https://x.r2.cloudflarestorage.com/", access_key_id="a", secret_access_key="b"
    )
    url = urlsplit(storage.url(KEY))
    assert (url.scheme, url.netloc, url.path) == ("https", "x.r2.cloudflarestorage.com", f"/media/{KEY}")


@pytest.mark.parametrize("public_url", ["https://cdn.example/media", "https://cdn.example/media/"])
def test_public_addresses_last(public_url: str) -> None:
    storage = S3Storage(
        "media", endpoint_url="https://s3.example", access_key_id="a", secret_access_key="b", public_url=public_url
    )
    assert storage.url_lifetime is None
    assert storage.url(KEY) == f"https://cdn.example/media/{KEY}"
    assert storage.url(KEY, download_as="a b/ö.png") == f"https://cdn.example/media/{KEY}?download=a%20b%2F%C3%B6.png"
