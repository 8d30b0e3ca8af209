"""What `Content-Encoding` names is undone, within bounds; words that compress nothing are passed over."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tallyframe.assets.content_codings import MAX_MEMBERS
from tallyframe.errors import TooLarge, ValidationFailed
from tests.support.fetching import NOT_FETCHED, PICTURE, Head, get, sends, stub

HALVES = gzip.compress(PICTURE[:5000]), gzip.compress(PICTURE[5000:])


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


async def refused(body: bytes, encoding: str = "gzip") -> str:
    async with stub(sends("200 OK", body, Content_Encoding=encoding)) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port)
    return caught.value.detail.removeprefix(NOT_FETCHED)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        *((word, gzip.compress) for word in ("gzip", "GZIP", "x-gzip", " gzip ", "gzip,", ",gzip")),
        *(("deflate", each) for each in (zlib.compress, bare, gzip.compress)),
        ("gzip", zlib.compress),
        *(
            (words, gzip.compress)
            for words in ("aws-chunked,gzip", "aws-chunked, gzip", "gzip, identity", "UTF-8,gzip")
        ),
        ("gzip, deflate", lambda data: zlib.compress(gzip.compress(data))),
        ("deflate, gzip", lambda data: gzip.compress(bare(data))),
        ("gzip,gzip", lambda data: gzip.compress(gzip.compress(data))),
        *((word, bytes) for word in ("", ",", "identity", "Identity", "identity, identity", "aws-chunked")),
        *((word, bytes) for word in ("AWS-Chunked, identity", "binary", "utf-8", "none", "image/png", "8bit", "null")),
    ],
)
async def test_an_encoding_is_undone_and_counts_as_inflated(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    async with stub(sends("200 OK", pack(PICTURE), Content_Encoding=encoding)) as port:
        assert await get(port) == PICTURE
        assert await get(port, max_bytes=len(PICTURE)) == PICTURE
        with pytest.raises(TooLarge):
            await get(port, max_bytes=len(PICTURE) - 1)


async def test_encodings_in_several_lines_are_one_list() -> None:
    async def answer(_path: str, _head: Head, writer: asyncio.StreamWriter) -> None:
        lines = b"Content-Encoding: deflate\r\ncontent-encoding: aws-chunked\r\nContent-Encoding: gzip"
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + lines + b"\r\n\r\n")
        writer.write(gzip.compress(zlib.compress(PICTURE)))

    async with stub(answer) as port:
        assert await get(port) == PICTURE


@pytest.mark.parametrize("words", ["br", "zstd", "compress", "aws-chunked, br", "gzip, BR", "x-compress", "dcz"])
async def test_an_encoding_that_was_not_asked_for_is_refused(words: str) -> None:
    assert await refused(PICTURE, words) == ": it answers in an encoding that was not asked for."


@pytest.mark.parametrize(
    "behind",
    [
        b"",
        bytes(1),
        bytes(70_000),
        b"garbage",
        b"\x1f",
        b"\x1f\x8b",
        b"\0\0\x1f\x8b and no member",
        b"--boundary--\r\n" + HALVES[0],
    ],
    ids=range(8),
)
async def test_gzip_of_several_members_comes_whole(behind: bytes) -> None:
    for body in (b"".join(HALVES), HALVES[0] + gzip.compress(b"") + HALVES[1], HALVES[0] + bytes(9) + HALVES[1]):
        async with stub(sends("200 OK", body + behind, Content_Encoding="gzip")) as port:
            assert await get(port) == PICTURE


@pytest.mark.parametrize("packed", [b"".join(HALVES) + b"\0\x1fgarbage", bare(PICTURE) + b"x", zlib.compress(PICTURE)])
async def test_it_does_not_matter_how_the_bytes_are_cut(packed: bytes) -> None:
    async def drips(_path: str, _head: Head, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: deflate\r\n\r\n")
        for byte in packed:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with stub(drips) as port:
        assert await get(port) == PICTURE


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
async def test_a_compressed_body_that_is_cut_is_refused(encoding: str) -> None:
    too_early = ": its compressed bytes end too early."
    for whole in (b"".join(HALVES), gzip.compress(PICTURE), zlib.compress(PICTURE)):
        body = gzip.compress(whole) if encoding == "gzip, gzip" else whole
        for length in (0, 1, 2, 3, len(whole) // 2, len(body) - 1):
            assert await refused(body[:length], encoding) == too_early, length
    assert await refused(HALVES[0] + HALVES[1][:12], encoding="gzip") == too_early


async def test_a_second_member_that_is_damaged_is_refused() -> None:
    damaged = HALVES[1][:-8] + bytes(8)  # check sum and length
    assert await refused(HALVES[0] + damaged) == "."


async def test_what_is_said_to_be_gzip_and_is_not_is_refused() -> None:
    assert await refused(PICTURE) == "."
    assert await refused(bare(PICTURE)) == "."


async def test_many_encodings_and_many_members_are_refused() -> None:
    assert await refused(PICTURE, "gzip,gzip,gzip,gzip") == ": it is compressed more than 3 times over."
    assert await refused(gzip.compress(b"") * (MAX_MEMBERS + 1)) == ": it is compressed in more than 1,024 pieces."
    async with stub(sends("200 OK", gzip.compress(b"a") * MAX_MEMBERS, Content_Encoding="gzip")) as port:
        assert await get(port) == b"a" * MAX_MEMBERS


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip.compress(bytes(20 * 2**20))),
        ("gzip", gzip.compress(bytes(60_000)) * 20),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(20 * 2**20)))),
        ("aws-chunked, deflate", bare(bytes(20 * 2**20))),
    ],
    ids=range(4),
)
async def test_a_bomb_is_never_inflated(encoding: str, bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[int, int] = {}  # bytes, by window bits: each layer of a bomb has its own bound
    real = zlib.decompressobj

    def watched(window_bits: int) -> object:
        inflater = real(window_bits)

        class Watched(SimpleNamespace):
            def __getattr__(self, name: str) -> object:
                return getattr(inflater, name)

            def decompress(self, chunk: bytes, most: int) -> bytes:
                out = inflater.decompress(chunk, most)
                made[window_bits] = made.get(window_bits, 0) + len(out)
                return out

        return Watched()

    monkeypatch.setattr(zlib, "decompressobj", watched)
    async with stub(sends("200 OK", bomb, Content_Encoding=encoding)) as port:
        with pytest.raises(TooLarge):
            await get(port, max_bytes=100_000)
    assert 100_000 < sum(made.values()) <= 100_001 * (encoding.count("gzip") or 1)


async def test_bytes_behind_the_end_of_a_gzip_stream_count_too() -> None:
    endless = gzip.compress(b"tiny") + bytes(200_000)
    async with stub(sends("200 OK", endless, Content_Encoding="gzip")) as port:
        with pytest.raises(TooLarge):
            await get(port, max_bytes=100_000)
