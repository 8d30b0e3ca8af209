import asyncio

import pytest

from tallyframe.assets import fetch
from tallyframe.assets.fetch import fetch_picture
from tallyframe.assets.public_addresses import NotPublic, blocked
from tallyframe.errors import ValidationFailed
from tests.support.fetching import NOT_ALLOWED, PICTURE, Head, answers, resolve_public, sends, stub


def words(text: str) -> list[str]:
    return text.split()


async def refusal(url: str) -> str:
    with pytest.raises(ValidationFailed) as caught:
        await fetch_picture(url, max_bytes=1000, deadline=5, pointer="/pictures/0", resolve=resolve_public)
    assert caught.value.data == {"errors": [{"pointer": "/pictures/0", "detail": caught.value.detail}]}
    return caught.value.detail


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
            ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::7f00:1 64:ff9b::10.0.0.1
            64:ff9b::192.168.0.1 64:ff9b::100.100.100.200 64:ff9b::168.63.129.16 64:ff9b:: 64:ff9b::255.255.255.255
            64:ff9b::224.0.0.1 64:ff9b::8.8.8.8%eth0 64:ff9b:1::1 64:ff9b:1::8.8.8.8 64:ff9b:0:1::8.8.8.8
            64:ff9b::1:0808:0808 64:ff9c::8.8.8.8 100::1 2001::1
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
    64:ff9b::8.8.8.8 64:FF9B::5db8:d70e 64:ff9b:0:0:0:0:808:808
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
    with pytest.raises(NotPublic):
        await resolve_public("127.1", 80)


async def test_what_dns64_answers_for_a_public_host_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = {"public.test": ["64:ff9b::5db8:d70e"], "metadata.test": ["64:ff9b::a9fe:a9fe"]}
    answers(monkeypatch, hosts | {"both.test": ["64:ff9b::5db8:d70e", "64:ff9b::a00:1"]})
    assert await resolve_public("public.test", 443) == "64:ff9b::5db8:d70e"
    for host in ("metadata.test", "both.test"):
        with pytest.raises(NotPublic):
            await resolve_public(host, 443)


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


async def test_the_default_resolver_refuses_the_stub() -> None:
    async def answer(_path: str, _head: Head, _writer: asyncio.StreamWriter) -> None:
        raise AssertionError("a request went out")

    async with stub(answer) as port:
        for host in ("127.0.0.1", "127.1", "[::ffff:127.0.0.1]"):
            with pytest.raises(ValidationFailed, match="not allowed"):
                await fetch_picture(
                    f"http://{host}:{port}/", max_bytes=1000, deadline=5, ports=(port,), resolve=resolve_public
                )
