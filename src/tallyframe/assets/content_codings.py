"""Undoes the compressions that an answer names in `Content-Encoding` (RFC 9110, 8.4), within a bound on the output."""

import zlib
from collections.abc import Sequence
from typing import Any

from tallyframe.errors import TooLarge

#: The codings that are undone here, with the alias of RFC 9110, 8.4.1.3.
_UNDONE = frozenset({"gzip", "x-gzip", "deflate"})
#: The other codings of IANA's "HTTP Content Coding Registry". Their bytes are no picture, and nobody asked for them.
_OTHERS = frozenset({"aes128gcm", "br", "compress", "x-compress", "dcb", "dcz", "exi", "pack200-gzip", "zstd"})
#: Codings on top of each other. One is common, two are a mistake that happens, and each costs its decompression.
MAX_CODINGS = 3
#: Of a gzip file. 5 MiB in blocks of 64 KiB, as bgzip and mgzip write them, are 80; each costs an inflater.
MAX_MEMBERS = 1_024

_MEMBER = b"\x1f\x8b\x08"  # how each gzip member starts: RFC 1952, 2.3.1, with the only method that there is


#: What is said of a picture by its address that is larger than allowed.
TOO_MANY_BYTES = "The picture at this address has more than {:,} bytes."


class Unusable(Exception):
    """These codings are not undone here. The message says why; it is the second half of a sentence."""


def codings(lines: Sequence[str]) -> list[str]:
    """Return the codings to undo, the last one that was applied first, from the values of all Content-Encoding lines.

    A word that isn't in IANA's registry is passed over, because storages repeat whatever was sent along with an upload,
    such as `aws-chunked`, `binary` or `utf-8`: it names no compression that anybody could undo. Should the bytes be
    compressed all the same, they are no picture, and `pictures.clean` says so. Raises Unusable for codings that are
    registered and not undone here, and for more than `MAX_CODINGS`.
    """
    words = [word.strip().lower() for line in lines for word in line.split(",")]
    if _OTHERS.intersection(words):
        raise Unusable("it answers in an encoding that was not asked for")
    found = [word for word in words if word in _UNDONE]
    if len(found) > MAX_CODINGS:
        raise Unusable(f"it is compressed more than {MAX_CODINGS} times over")
    return found[::-1]


class Inflater:
    """Undoes one coding, chunk by chunk: gzip of any number of members, zlib, or a bare deflate stream.

    The first bytes decide which of these it is, as in browsers: `deflate` should be zlib (RFC 9110, 8.4.1.2), and some
    servers send the bare stream of RFC 1951. Behind the last gzip member, padding and garbage are passed over, as gzip
    itself does. No more than one byte above `most` is ever inflated, of all members together.
    """

    def __init__(self, coding: str, most: int) -> None:
        self._may_be_bare = coding == "deflate"
        self._most = most
        self._made = 0  # bytes of output
        self._ended = 0  # streams that have come to their end
        self._stream: Any = None  # zlib's object has no public type
        self._too_few = b""  # bytes that don't tell yet what begins with them
        self._is_over = False  # whatever follows is garbage

    @property
    def is_whole(self) -> bool:
        """Whether all that has begun has come to its end."""
        return self._ended > 0 and self._stream is None

    def feed(self, chunk: bytes) -> bytes:
        """Return what the next bytes become. Raises TooLarge, Unusable, and zlib.error for bytes that are neither."""
        made = bytearray()
        data, self._too_few = self._too_few + chunk, b""
        while data and not self._is_over:
            if self._stream is None:
                data = self._begin(data)
                continue
            made += self._stream.decompress(data, self._most - self._made - len(made) + 1)
            if self._made + len(made) > self._most:
                raise TooLarge(TOO_MANY_BYTES.format(self._most))
            data = self._stream.unused_data
            if self._stream.eof:
                self._stream, self._ended = None, self._ended + 1
        self._made += len(made)
        return bytes(made)

    def _begin(self, data: bytes) -> bytes:
        """Begin the stream that starts in `data`, and return its bytes; none where nothing begins, or not yet."""
        if self._ended:
            data = data.lstrip(b"\0")
        if len(data) < len(_MEMBER) and (not self._ended or _MEMBER.startswith(data)):
            self._too_few = data
            return b""
        if data.startswith(_MEMBER) and self._ended < MAX_MEMBERS:
            self._stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        elif data.startswith(_MEMBER):
            raise Unusable(f"it is compressed in more than {MAX_MEMBERS:,} pieces")
        elif self._ended:
            self._is_over = True
        else:
            # How zlib's header is known: RFC 1950, 2.2, CMF and FLG. Encoders never start a bare stream so.
            is_zlib = data[0] & 0x8F == 8 and int.from_bytes(data[:2], "big") % 31 == 0  # noqa: PLR2004
            self._stream = zlib.decompressobj(-zlib.MAX_WBITS if self._may_be_bare and not is_zlib else zlib.MAX_WBITS)
        return data
