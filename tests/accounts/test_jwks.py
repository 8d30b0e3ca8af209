"""The cache of an issuer's keys: what it takes, how often it asks, and what it does when nobody answers."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tallyframe.accounts.jwks import Jwks
from tallyframe.errors import Unauthenticated, Unavailable
from tests.support.jwks import JwksStub, Mode, PrivateKey, public_jwk

DAY = 24 * 3600
NO_OBJECTS: list[object] = [None, 7, "key", [], {}]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Iterator[JwksStub]:
    with JwksStub() as stub:
        yield stub


@pytest_asyncio.fixture
async def jwks(issuer: JwksStub, clock: Clock) -> AsyncIterator[Jwks]:
    jwks = Jwks(issuer.url, timeout=5, clock=clock)
    yield jwks
    await jwks.aclose()


async def outcomes(jwks: Jwks, *kids: str) -> list[type]:
    results = await asyncio.gather(*(jwks.key(kid) for kid in kids), return_exceptions=True)
    return [type(result) for result in results]


async def test_both_kinds_of_key_are_served_from_one_fetch(jwks: Jwks, issuer: JwksStub) -> None:
    assert (await jwks.key("rsa-0")).algorithm_name == "RS256"
    assert (await jwks.key("ec-0")).algorithm_name == "ES256"
    assert issuer.fetches == 1


async def test_a_cold_cache_fetches_once_for_all_who_wait(jwks: Jwks, issuer: JwksStub) -> None:
    assert await outcomes(jwks, *["rsa-0"] * 50) == [jwt.PyJWK] * 50
    assert issuer.fetches == 1


async def test_keys_are_fetched_again_after_their_lifetime(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    await jwks.key("rsa-0")
    clock.now += 299
    await jwks.key("rsa-0")
    assert issuer.fetches == 1
    clock.now += 1
    await jwks.key("rsa-0")
    assert issuer.fetches == 2


async def test_a_withdrawn_key_is_refused_after_the_lifetime(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    await jwks.key("rsa-0")
    issuer.rotate()
    clock.now += 300
    with pytest.raises(Unauthenticated):
        await jwks.key("rsa-0")


async def test_a_new_key_is_found_at_once(jwks: Jwks, issuer: JwksStub) -> None:
    await jwks.key("rsa-0")
    issuer.rotate(keep_old=True)
    assert await outcomes(jwks, "rsa-1", "rsa-0", "ec-1") == [jwt.PyJWK] * 3
    assert issuer.fetches == 2


async def test_unknown_key_ids_cause_one_fetch_a_minute(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    await jwks.key("rsa-0")
    for minute in range(3):
        for _ in range(4):
            assert await outcomes(jwks, *(f"unknown-{i}" for i in range(50))) == [Unauthenticated] * 50
            clock.now += 14
        assert issuer.fetches == 2 + minute
        clock.now += 4


async def test_a_key_that_cannot_be_asked_for_yet_is_no_refusal(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    """Somebody sends an unknown key id once a minute. A signing key that is new just then must not be a 401."""
    await jwks.key("rsa-0")
    assert await outcomes(jwks, "unknown") == [Unauthenticated]
    issuer.rotate(keep_old=True)
    clock.now += 20
    with pytest.raises(Unavailable) as caught:
        await jwks.key("rsa-1")
    assert caught.value.retry_after == 40
    assert await outcomes(jwks, "unknown") == [Unauthenticated]  # the issuer has said so
    clock.now += 40
    assert (await jwks.key("rsa-1")).key_id == "rsa-1"
    assert issuer.fetches == 3


async def test_a_flood_of_unknown_key_ids_fetches_a_cold_cache_once(jwks: Jwks, issuer: JwksStub) -> None:
    assert await outcomes(jwks, *(f"unknown-{i}" for i in range(50))) == [Unauthenticated] * 50
    assert issuer.fetches == 1


async def test_a_caller_that_goes_away_does_not_stop_the_fetch(jwks: Jwks, issuer: JwksStub) -> None:
    issuer.mode, issuer.delay = "slow", 0.1
    first, second = (asyncio.create_task(jwks.key("rsa-0")) for _ in range(2))
    await asyncio.sleep(0.02)
    first.cancel()
    assert (await second).key_id == "rsa-0"
    assert first.cancelled()
    assert issuer.fetches == 1


async def test_callers_that_go_away_do_not_lift_the_limit(jwks: Jwks, issuer: JwksStub) -> None:
    await jwks.key("rsa-0")
    for i in range(5):
        with contextlib.suppress(TimeoutError, Unauthenticated, Unavailable):
            await asyncio.wait_for(jwks.key(f"unknown-{i}"), 0.0001)
    with contextlib.suppress(Unauthenticated, Unavailable):
        await jwks.key("unknown")
    assert issuer.fetches <= 2


@pytest.mark.parametrize("mode", ["down", "garbage", "huge", "redirect", "empty"])
async def test_without_keys_a_bad_answer_is_an_outage(jwks: Jwks, issuer: JwksStub, clock: Clock, mode: Mode) -> None:
    issuer.mode = mode
    assert await outcomes(jwks, *["rsa-0"] * 20) == [Unavailable] * 20
    assert await outcomes(jwks, "rsa-0", "unknown") == [Unavailable] * 2
    assert issuer.fetches == 1  # the back-off
    issuer.mode = "up"
    clock.now += 5
    assert await outcomes(jwks, "rsa-0") == [jwt.PyJWK]


async def test_a_slow_issuer_is_given_up_on_and_then_left_alone(issuer: JwksStub, clock: Clock) -> None:
    issuer.mode = "slow"
    jwks = Jwks(issuer.url, timeout=0.1, clock=clock)
    started = time.monotonic()
    assert await outcomes(jwks, *["rsa-0"] * 20) == [Unavailable] * 20
    assert await outcomes(jwks, *["rsa-0"] * 20) == [Unavailable] * 20
    assert time.monotonic() - started < 15
    assert issuer.fetches == 1
    await jwks.aclose()


async def test_a_port_where_nobody_listens_is_an_outage(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    jwks = Jwks(f"http://127.0.0.1:{port}/", clock=clock)
    with pytest.raises(Unavailable) as caught:
        await jwks.key("rsa-0")
    assert caught.value.retry_after == 5
    await jwks.aclose()


@pytest.mark.parametrize("mode", ["down", "slow", "garbage", "huge", "redirect", "empty"])
async def test_known_keys_outlive_an_outage_for_a_day(issuer: JwksStub, clock: Clock, mode: Mode) -> None:
    jwks = Jwks(issuer.url, timeout=5, clock=clock)
    await jwks.key("rsa-0")
    jwks._timeout, loaded_at = 0.1, clock.now
    clock.now += 300
    issuer.mode = mode
    assert await outcomes(jwks, *["rsa-0"] * 20, "unknown") == [jwt.PyJWK] * 20 + [Unavailable]
    clock.now = loaded_at + 300 + DAY - 1
    assert await outcomes(jwks, "rsa-0") == [jwt.PyJWK]
    clock.now += 6
    assert await outcomes(jwks, "rsa-0") == [Unavailable]
    await jwks.aclose()


async def test_a_slow_refresh_holds_up_one_request_only(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    await jwks.key("rsa-0")
    clock.now += 300
    issuer.mode, issuer.delay = "slow", 0.3
    first = asyncio.create_task(jwks.key("rsa-0"))
    await asyncio.sleep(0.02)
    await asyncio.wait_for(jwks.key("rsa-0"), 0.1)
    assert not first.done()
    assert (await first).key_id == "rsa-0"


async def test_closing_stops_a_fetch(issuer: JwksStub, clock: Clock) -> None:
    issuer.mode = "slow"
    jwks = Jwks(issuer.url, timeout=30, clock=clock)
    waiting = asyncio.create_task(jwks.key("rsa-0"))
    await asyncio.sleep(0.02)
    await asyncio.wait_for(jwks.aclose(), 1)
    with pytest.raises(asyncio.CancelledError):
        await waiting


def small_rsa() -> PrivateKey:
    return rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is here to be refused


def unusable(keys: dict[str, PrivateKey]) -> dict[str, object]:
    """Members of a JWK Set that must not be taken, each under its own id."""
    a_rsa, an_ec = keys["rsa-0"], keys["ec-0"]
    changes: dict[str, dict[str, object]] = {
        "encryption": {"use": "enc"},
        "null-use": {"use": None},
        "operations": {"key_ops": ["encrypt"]},
        "operations-text": {"key_ops": "verify"},
        "rs512": {"alg": "RS512"},
        "pss": {"alg": "PS256"},
        "hmac": {"alg": "HS256"},
        "list-alg": {"alg": ["RS256"]},
        "no-n": {"n": None},
        "number-n": {"n": 7},
        "list-n": {"n": ["AQAB"]},
        "empty-n": {"n": ""},
        "junk-n": {"n": "!!é\ud800"},
        "exponent-1": {"e": "AQ"},
        "object-e": {"e": {}},
        "list-kty": {"kty": ["RSA"]},
        "ec-kty": {"kty": "EC"},
    }
    members: dict[str, object] = {kid: public_jwk(kid, a_rsa, **change) for kid, change in changes.items()}
    members |= {f"not-{value!r}": value for value in NO_OBJECTS}
    members["oct"] = {"kty": "oct", "kid": "oct", "k": "c2VjcmV0", "alg": "HS256"}
    members["okp"] = {"kty": "OKP", "crv": "Ed25519", "kid": "okp", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    members["small"] = public_jwk("small", small_rsa())
    members["p-384"] = public_jwk("p-384", ec.generate_private_key(ec.SECP384R1()))
    members["no-curve"] = public_jwk("no-curve", an_ec, crv=None)
    members["off-curve"] = public_jwk("off-curve", an_ec, y="A" * 43)
    members["number-x"] = public_jwk("number-x", an_ec, x=1)
    members["list-crv"] = public_jwk("list-crv", an_ec, crv=["P-256"])
    return members


async def test_only_sound_signature_keys_are_taken(jwks: Jwks, issuer: JwksStub) -> None:
    members = unusable(issuer.keys)
    issuer.extra = [*members.values(), public_jwk("", issuer.keys["rsa-0"]), {"kid": 7, "kty": "RSA"}]
    await jwks.key("rsa-0")
    assert set(jwks._keys) == {"rsa-0", "ec-0"}


async def test_a_private_key_published_by_mistake_is_not_kept(jwks: Jwks, issuer: JwksStub) -> None:
    key = issuer.keys["rsa-0"]
    assert isinstance(key, rsa.RSAPrivateKey)
    issuer.extra = [public_jwk("leaked", key, d="AQAB")]
    assert not hasattr((await jwks.key("leaked")).key, "private_numbers")


async def test_algorithm_and_use_may_be_left_out(jwks: Jwks, issuer: JwksStub) -> None:
    bare = public_jwk("bare", issuer.keys["rsa-0"])
    issuer.extra = [{name: bare[name] for name in ("kty", "kid", "n", "e")}]
    assert (await jwks.key("bare")).algorithm_name == "RS256"
