from datetime import UTC, datetime, timedelta, timezone

import pytest

from tallyframe.storages.presign import Signer, attachment, window

#: The example of https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
EXAMPLE = Signer("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
EXAMPLE_URL = "https://examplebucket.s3.amazonaws.com/test.txt"
EXAMPLE_SIGNED = (
    EXAMPLE_URL + "?X-Amz-Algorithm=AWS4-HMAC-SHA256"
    "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)
MIDNIGHT = datetime(2013, 5, 24, tzinfo=UTC)


def test_the_published_example() -> None:
    assert EXAMPLE.sign_get(EXAMPLE_URL, signed_at=MIDNIGHT, lifetime=86_400) == EXAMPLE_SIGNED


def test_a_time_is_a_time_in_every_zone() -> None:
    tokyo = MIDNIGHT.astimezone(timezone(timedelta(hours=9)))
    assert EXAMPLE.sign_get(EXAMPLE_URL, signed_at=tokyo, lifetime=86_400) == EXAMPLE_SIGNED


@pytest.mark.parametrize("host", ["examplebucket.s3.amazonaws.com:443", "EXAMPLEBUCKET.s3.amazonaws.com"])
def test_the_host_is_signed_as_a_browser_sends_it(host: str) -> None:
    url = f"https://{host}/test.txt"
    signed = EXAMPLE.sign_get(url, signed_at=MIDNIGHT, lifetime=86_400)
    assert signed.removeprefix(url) == EXAMPLE_SIGNED.removeprefix(EXAMPLE_URL)


def test_another_port_is_signed() -> None:
    signed = EXAMPLE.sign_get(
        "https://examplebucket.s3.amazonaws.com:444/test.txt", signed_at=MIDNIGHT, lifetime=86_400
    )
    assert signed[-64:] != EXAMPLE_SIGNED[-64:]


def test_the_secret_does_not_show() -> None:
    assert "wJalrXUtnFEMI" not in repr(EXAMPLE)


@pytest.mark.parametrize("lifetime", [2, 3, 60, 3600, 604_800])
def test_a_window_is_kept_for_half_the_lifetime(lifetime: int) -> None:
    half = lifetime // 2
    start = 1_800_000_000 // half * half
    opened = window(start, lifetime)
    assert opened.timestamp() == start
    assert window(start + half - 0.001, lifetime) == opened
    assert window(start + half, lifetime).timestamp() == start + half
    assert opened.timestamp() + lifetime - (start + half - 0.001) >= half, "another half is left"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("image.png", "attachment; filename=\"image.png\"; filename*=UTF-8''image.png"),
        ('a"b;c.png', "attachment; filename=\"a_b_c.png\"; filename*=UTF-8''a%22b%3Bc.png"),
        ("a/b\\c\r\n.png", "attachment; filename=\"a_b_c__.png\"; filename*=UTF-8''a_b_c__.png"),
        ("Größe.png", "attachment; filename=\"Gr__e.png\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.png"),
        ("", "attachment; filename=\"\"; filename*=UTF-8''"),
    ],
)
def test_what_a_download_is_called(name: str, header: str) -> None:
    assert attachment(name) == header
