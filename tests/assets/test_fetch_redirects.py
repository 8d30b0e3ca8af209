import asyncio

import pytest

from tallyframe.errors import ValidationFailed
from tests.support.fetching import NOT_ALLOWED, NOT_FETCHED, PICTURE, Head, answers, get, sends, stub


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_without_cookies(status: int) -> None:
    heads: list[Head] = []

    async def answer(path: str, head: Head, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        moved = sends(f"{status} Moved", b"ignored", Location="../b", Set_Cookie="session=1; Path=/")
        await (sends("200 OK", PICTURE) if path == "/b" else moved)(path, head, writer)

    async with stub(answer) as port:
        assert await get(port, "/x/a") == PICTURE
    assert len(heads) == 2
    assert not any("cookie" in head or "referer" in head for head in heads)


async def test_five_redirects_are_the_most() -> None:
    paths: list[str] = []

    async def answer(path: str, head: Head, writer: asyncio.StreamWriter) -> None:
        paths.append(path)
        left = int(path[1:])
        await (sends("302 Found", Location=f"/{left - 1}") if left else sends("200 OK", PICTURE))(path, head, writer)

    async with stub(answer) as port:
        assert await get(port, "/5") == PICTURE
        paths.clear()
        with pytest.raises(ValidationFailed) as caught:
            await get(port, "/99")
    assert caught.value.detail == f"{NOT_FETCHED}: it redirects more than 5 times."
    assert len(paths) == 6


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "//169.254.169.254/",
        "http://2852039166/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://user@pictures.example/",
        "http://pictures.example:22/",
        "ftp://pictures.example/",
        "file:///etc/passwd",
        "data:image/png;base64,aaaa",
        "http://[::1",
        "http://pictures.example:x/",
        "http://\u00e9\u00ad/",
    ],
)
async def test_a_redirect_goes_through_the_same_gate(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"localhost": ["127.0.0.1"]})
    async with stub(sends("302 Found", Location=location)) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port)
    assert caught.value.detail == NOT_ALLOWED
