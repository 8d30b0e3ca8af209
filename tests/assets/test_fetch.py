import asyncio
import datetime as dt
import errno
import gzip
import logging
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tallyframe.assets import fetch
from tallyframe.assets.fetch import Refused, blocked, fetch_picture, resolve_public
from tallyframe.errors import TooLarge, ValidationFailed

NOT_ALLOWED = "The address of this picture is not allowed: only public http(s) addresses on ports 80 and 443."
NOT_FETCHED = "The picture's address could not be fetched"
PICTURE = b"\x89PNG and so on" * 1000
Head = dict[str, str]
Answer = Callable[[str, Head, asyncio.StreamWriter], Awaitable[None]]


def words(text: str) -> list[str]:
    return text.split()


@asynccontextmanager
async def stub(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1; `answer` gets the path, the headers and the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").strip().split("\r\n")
            head = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            await answer(first.split(" ")[1], head, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def sends(status: str, body: bytes = b"", **headers: str) -> Answer:
    async def answer(_path: str, _head: Head, writer: asyncio.StreamWriter) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""]).encode() + body)

    return answer


async def to_stub(host: str, port: int) -> str:
    """Find .example names on this machine and look up everything else as usual."""
    return "127.0.0.1" if host.endswith(".example") else await resolve_public(host, port)


async def get(port: int, path: str = "/cat.png", *, max_bytes: int = 1_000_000, deadline: float = 5) -> bytes:
    url = f"http://pictures.example:{port}{path}"
    return await fetch_picture(url, max_bytes=max_bytes, deadline=deadline, resolve=to_stub, ports=(port, 80, 443))


async def refusal(url: str) -> str:
    with pytest.raises(ValidationFailed) as caught:
        await fetch_picture(url, max_bytes=1000, deadline=5, pointer="/pictures/0")
    assert caught.value.data == {"errors": [{"pointer": "/pictures/0", "detail": caught.value.detail}]}
    return caught.value.detail


def answers(monkeypatch: pytest.MonkeyPatch, found: dict[str, list[str]]) -> list[str]:
    """Make the system's resolver know just `found` and literal addresses. Returns the list of what it is asked."""
    asked: list[str] = []
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def getaddrinfo(host: str, port: int, **options: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(host)
        if host not in found:
            return await real(host, port, flags=socket.AI_NUMERICHOST, **options)  # type: ignore[return-value]
        return [(0, 0, 0, "", (address, port)) for address in found[host]]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture
async def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on any request, and keep name lookups on this machine."""

    async def get(*_: object) -> bytes:
        raise AssertionError("a request went out")

    monkeypatch.setattr(fetch, "_get", get)
    internal = {"localhost": ["127.0.0.1", "::1"], "metadata.internal.test": ["169.254.169.254"]}
    answers(monkeypatch, internal | {"both.test": ["93.184.215.14", "10.0.0.7"], "none.test": []})


@pytest.mark.parametrize(
    "ip",
    [
        *words("""
            0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254
            172.16.0.1 172.31.255.255 192.0.0.8 192.0.0.9 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1
            198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
            :: ::1 ::127.0.0.1 ::a9fe:a9fe ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:a9fe:a9fe
            ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 2001::1
            2001:0:a9fe:a9fe::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:a9fe:a9fe:: 2002:7f00:1::
            2002:0808:0808::1 3ffe::1 3fff::1 5f00::1 4000::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1
            ff02::1 ff0e::1 2606:4700::1111%eth0
        """),
        "",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "1.2.3.4/32",
        " 1.1.1.1",
        "[::1]",
        "1.1.1.1\x00",
    ],
)
def test_blocked(ip: str) -> None:
    assert blocked(ip)


@pytest.mark.parametrize(
    "ip",
    words("""
    1.1.1.1 8.8.8.8 93.184.215.14 100.63.255.255 100.128.0.0 168.63.129.17 172.15.255.255 172.32.0.0 192.0.1.0
    198.17.255.255 198.20.0.0 223.255.255.255 2606:4700:4700::1111 2001:4860:4860::8888 2A00:1450:4001::200E
    """),
)
def test_not_blocked(ip: str) -> None:
    assert not blocked(ip)


METADATA = words("""
    169.254.169.254 2852039166 0xa9fea9fe 0XA9FEA9FE 0251.0376.0251.0376 0251.254.0xa9.254 025177524776 169.254.43518
    169.16689662 169.254.169.254. [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [::FFFF:A9FE:A9FE]
    [0:0:0:0:0:ffff:a9fe:a9fe]
    [64:ff9b::a9fe:a9fe] [64:ff9b::169.254.169.254] [2002:a9fe:a9fe::] [::169.254.169.254] [::a9fe:a9fe]
    \uff11\uff16\uff19.254.169.254 169\u3002254\u3002169\u3002254 \u2460\u2461\u2466.0.0.1 %31%36%39.254.169.254
    169.254.169.254%00 169.254.169.254%2f metadata.internal.test METADATA.INTERNAL.TEST metadata.internal.test.
""")
LOCAL = words("""
    127.0.0.1 127.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 127.0.0.1. 127.255.255.254 0.0.0.0 0 localhost LOCALHOST
    localhost. [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [fe80::1%25lo] [fe80::1%lo]
""")


@pytest.mark.parametrize("host", METADATA + LOCAL)
@pytest.mark.parametrize("form", ["http://{}/", "https://{}/latest/meta-data/?a=b#c", "HTTP://{}:80"])
async def test_no_spelling_of_an_internal_address_gets_through(quiet: None, form: str, host: str) -> None:
    assert await refusal(form.format(host)) == NOT_ALLOWED


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com@169.254.169.254/",
        "http://example.com:80@169.254.169.254/",
        "http://169.254.169.254@8.8.8.8/",
        "http://user:secret@8.8.8.8/",
        "http://@169.254.169.254/",
        "http://8.8.8.8\\@169.254.169.254/",
        "http://169.254.169.254\\@8.8.8.8/",
        "http://169.254.169.254\\.8.8.8.8/",
        "http://8.8.8.8#@169.254.169.254:81/\n",
        "http://both.test/",
        "http://none.test/",
        "http://unknown.test/",
        *(f"http://8.8.8.8:{port}/" for port in (0, 22, 81, 6379, 8080, 65535, 65536, 99999, -80, "x", "80:80", "8O")),
        "https://8.8.8.8:8443/",
        *(f"{scheme}://8.8.8.8/" for scheme in ("ftp", "gopher", "dict", "ws", "unix", "httpx", "")),
        "file:///etc/passwd",
        "file://8.8.8.8:80/etc/passwd",
        "data:image/png;base64,aaaa",
        "javascript:alert(1)",
        "http:8.8.8.8",
        "http:/8.8.8.8/",
        "http:///8.8.8.8/",
        "//8.8.8.8/",
        "8.8.8.8",
        "",
        " ",
        "http://",
        "http://./",
        "http://../",
        "http:// 8.8.8.8/",
        " http://8.8.8.8/",
        "http://8.8.8.8\0/",
        "http://8.8.8.8/\0",
        "http://8.8.8.8/\r\nHost: x",
        "http://8.8.8.8/\n",
        "http://8.8.8.8/\x7f",
        "http://8.8.8.8\t/",
        "http://[::1",
        "http://[8.8.8.8]/",
        "http://[::1]x/",
        "http://256.256.256.256/",
        "http://256.1.1.1./",
        "http://a..example/",
        "http://xn--\u00e9/",
        "http://\u00ad/",
        "http://\ud800/",
        "http://" + "\u00e9" * 64 + ".example/",
        f"http://{'a' * 64}.test/",
        f"http://{'a.' * 130}test/",
        "http://ex*mple.test/",
        "http://ex%00mple.test/",
    ],
)
async def test_odd_addresses_are_refused(quiet: None, url: str) -> None:
    assert await refusal(url) == NOT_ALLOWED


@pytest.mark.parametrize("host", ["%31.example", "a%00.example", "a*.example", "a\\b.example", "a_(b).example", "."])
async def test_what_is_no_host_name_is_not_even_looked_up(host: str) -> None:
    async def resolve(_host: str, _port: int) -> str:
        raise AssertionError("a name was looked up")

    with pytest.raises(ValidationFailed, match="not allowed"):
        await fetch_picture(f"http://{host}/", max_bytes=1000, deadline=5, resolve=resolve)


async def test_a_very_long_address_is_refused(quiet: None) -> None:
    detail = await refusal("http://8.8.8.8/" + "a" * 2034)
    assert detail == "The address of this picture is longer than 2,048 characters."


async def test_the_resolver_answers_with_what_it_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, {"cdn.test": ["2606:4700::1111", "93.184.215.14", "93.184.215.15"]})
    assert await resolve_public("cdn.test", 443) == "93.184.215.14"
    assert asked == ["cdn.test"]
    with pytest.raises(Refused):
        await resolve_public("127.1", 80)


async def test_a_name_is_looked_up_in_ascii_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> str:
        asked.append((host, port))
        return "127.0.0.1"

    async with stub(sends("200 OK", PICTURE)) as port:
        url = f"http://B\u00fccher.example.:{port}/"
        body = await fetch_picture(url, max_bytes=10**6, deadline=5, resolve=resolve, ports=(port,))
    assert body == PICTURE
    assert asked == [("xn--bcher-kva.example", port)]


async def test_a_picture_arrives_and_the_request_says_little(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    seen: list[tuple[str, Head]] = []

    async def answer(path: str, head: Head, writer: asyncio.StreamWriter) -> None:
        seen.append((path, head))
        await sends("200 OK", PICTURE, Content_Type="text/html")(path, head, writer)

    async with stub(answer) as port:
        assert await get(port, "/a%20cat.png?size=1&x=%2F#top") == PICTURE
    [(path, head)] = seen
    assert path == "/a%20cat.png?size=1&x=%2F"
    assert head.pop("user-agent").startswith("Tallyframe/")
    assert head == {
        "host": f"pictures.example:{port}",
        "accept": "image/*",
        "accept-encoding": "identity",
        "connection": "close",
    }


async def test_the_default_resolver_refuses_the_stub() -> None:
    async def answer(_path: str, _head: Head, _writer: asyncio.StreamWriter) -> None:
        raise AssertionError("a request went out")

    async with stub(answer) as port:
        for host in ("127.0.0.1", "127.1", "[::ffff:127.0.0.1]"):
            with pytest.raises(ValidationFailed, match="not allowed"):
                await fetch_picture(f"http://{host}:{port}/", max_bytes=1000, deadline=5, ports=(port,))


@pytest.mark.parametrize(
    ("status", "code"), [("404 Not Found", 404), ("500 Oops", 500), ("304 Not Modified", 304), ("302 Found", 302)]
)
async def test_other_than_2xx_is_named(status: str, code: int) -> None:
    async with stub(sends(status, b"secret words of a server")) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port)
    assert caught.value.detail == f"{NOT_FETCHED} (HTTP {code})."


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00" * 100, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", b"x" * 200_000]
)
async def test_what_is_not_http_is_not_fetched(garbage: bytes) -> None:
    async def answer(_path: str, _head: Head, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)

    async with stub(answer) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port)
    assert caught.value.detail == f"{NOT_FETCHED}."


async def test_nothing_listening_is_not_fetched_and_no_address_of_ours_shows() -> None:
    async with stub(sends("200 OK")) as port:
        pass
    with pytest.raises(ValidationFailed) as caught:
        await get(port)
    assert caught.value.detail == f"{NOT_FETCHED}."


async def test_a_resolver_that_fails_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(_host: str, _port: int) -> str:
        raise OSError(errno.EMFILE, "too many open files")

    with pytest.raises(ValidationFailed) as caught:
        await fetch_picture("http://8.8.8.8/", max_bytes=1000, deadline=5, resolve=resolve)
    assert caught.value.detail == f"{NOT_FETCHED}."


@pytest.mark.parametrize("length", [{}, {"Content_Length": "1000001"}])
async def test_more_bytes_than_allowed(length: dict[str, str]) -> None:
    async with stub(sends("200 OK", bytes(1_000_001), **length)) as port:
        with pytest.raises(TooLarge) as caught:
            await get(port, max_bytes=1_000_000)
    assert caught.value.detail == "The picture at this address has more than 1,000,000 bytes."
    async with stub(sends("200 OK", bytes(1_000_000))) as port:
        assert len(await get(port, max_bytes=1_000_000)) == 1_000_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP"])
async def test_a_compressed_answer_counts_as_inflated(encoding: str) -> None:
    pack = zlib.compress if encoding == "deflate" else gzip.compress
    async with stub(sends("200 OK", pack(PICTURE), Content_Encoding=encoding)) as port:
        assert await get(port) == PICTURE
        assert await get(port, max_bytes=len(PICTURE)) == PICTURE
        with pytest.raises(TooLarge):
            await get(port, max_bytes=len(PICTURE) - 1)


async def test_a_gzip_bomb_is_never_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    real = fetch._inflater

    def watched(encoding: str) -> Callable[[bytes, int], bytes]:
        inflate = real(encoding)

        def measured(chunk: bytes, most: int) -> bytes:
            nonlocal largest
            out = inflate(chunk, most)
            largest = max(largest, len(out))
            return out

        return measured

    monkeypatch.setattr(fetch, "_inflater", watched)
    async with stub(sends("200 OK", gzip.compress(bytes(50 * 2**20)), Content_Encoding="gzip")) as port:
        with pytest.raises(TooLarge):
            await get(port, max_bytes=100_000)
    assert largest == 100_001


async def test_bytes_behind_the_end_of_a_gzip_stream_count_too() -> None:
    endless = gzip.compress(b"tiny") + bytes(200_000)
    async with stub(sends("200 OK", endless, Content_Encoding="gzip")) as port:
        with pytest.raises(TooLarge):
            await get(port, max_bytes=100_000)


@pytest.mark.parametrize(
    ("encoding", "why"), [("br", ": it answers in an encoding that was not asked for."), ("gzip", ".")]
)
async def test_an_encoding_that_is_unknown_or_wrong_is_not_fetched(encoding: str, why: str) -> None:
    async with stub(sends("200 OK", PICTURE, Content_Encoding=encoding)) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port)
    assert caught.value.detail == NOT_FETCHED + why


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
async def test_a_slow_drip_ends_at_the_deadline(head: bytes) -> None:
    async def answer(_path: str, _head: Head, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    began = time.monotonic()
    async with stub(answer) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port, deadline=0.2) if head else await slow_name(port)
    assert caught.value.detail == f"{NOT_FETCHED}: it took longer than 0.2 seconds."
    assert time.monotonic() - began < 1


async def slow_name(port: int) -> bytes:
    async def resolve(_host: str, _port: int) -> str:
        await asyncio.sleep(60)
        return "127.0.0.1"

    return await fetch_picture(f"http://a.example:{port}", max_bytes=9, deadline=0.2, resolve=resolve, ports=(port,))


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


def certificate(folder: Path, name: str) -> Path:
    """Write a key and a certificate for `name`, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "both.pem"
    file.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


async def test_tls_asks_for_the_name_and_checks_it_although_the_address_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path, "pictures.example")
    server, names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), []
    server.load_cert_chain(pem)
    server.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cafile=pem)
    monkeypatch.setattr(fetch, "_tls", lambda: trusting)
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)  # the stub's side of a failed handshake
    async with stub(sends("200 OK", PICTURE), server) as port:

        async def secure(host: str) -> bytes:
            url = f"https://{host}:{port}/"
            return await fetch_picture(url, max_bytes=10**6, deadline=5, resolve=to_stub, ports=(port,))

        assert await secure("pictures.example") == PICTURE
        with pytest.raises(ValidationFailed) as caught:
            await secure("other.example")
    assert caught.value.detail == f"{NOT_FETCHED}."
    assert names == ["pictures.example", "other.example"]


def test_the_default_tls_context_checks_certificates() -> None:
    context = fetch._tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
