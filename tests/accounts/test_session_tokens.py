"""Session tokens: which are believed, which are refused, and what is remembered."""

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tallyframe.accounts import session_tokens
from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.session_tokens import Identity, SessionTokens
from tallyframe.errors import Unauthenticated, Unavailable
from tests.support.jwks import AZP, JwksStub, forge

NOW = 1_800_000_000.0
PARTIES = frozenset({AZP})


class Clock:
    """Unix seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def issuer() -> Iterator[JwksStub]:
    with JwksStub() as stub:
        yield stub


@pytest_asyncio.fixture(scope="module")
async def jwks(issuer: JwksStub) -> AsyncIterator[Jwks]:
    jwks = Jwks(issuer.url)
    yield jwks
    await jwks.aclose()


@pytest.fixture
def tokens(jwks: Jwks, issuer: JwksStub, clock: Clock) -> SessionTokens:
    return SessionTokens(jwks, issuer.issuer, authorized_parties=PARTIES, now=clock)


async def refusal(tokens: SessionTokens, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await tokens.verify(token)
    assert not any(part in caught.value.detail for part in token.split(".") if len(part) > 9)
    return caught.value.detail


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_a_valid_token_names_its_user(tokens: SessionTokens, issuer: JwksStub, alg: str) -> None:
    token = issuer.mint(alg=alg, at=NOW, sub="user_7", email="Ada@Example.org", name="Ada L")
    assert await tokens.verify(token) == Identity(issuer.issuer, "user_7", "ada@example.org", "Ada L")


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
async def test_both_types_of_token_are_accepted(tokens: SessionTokens, issuer: JwksStub, typ: str) -> None:
    await tokens.verify(issuer.mint(at=NOW, headers={"typ": typ}))


async def test_type_nbf_and_iat_may_be_left_out(tokens: SessionTokens, issuer: JwksStub) -> None:
    await tokens.verify(issuer.mint(at=NOW, headers={"typ": ""}, nbf=None, iat=None))


CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"exp": NOW - 5}, "has expired"),
    ({"exp": None}, "no expiry"),
    ({"nbf": NOW + 6}, "not valid yet"),
    ({"iat": NOW + 6}, "not valid yet"),
    ({"iss": "https://other.example"}, "another issuer"),
    ({"iss": None}, "another issuer"),
    ({"iss": ["https://other.example"]}, "another issuer"),
    ({"azp": "https://evil.example"}, "another party"),
    ({"azp": [AZP]}, "another party"),
    ({"azp": None}, "no authorized party"),
    ({"aud": "other"}, "another audience"),
    ({"sub": None}, "no subject"),
    ({"sub": ""}, "no subject"),
    ({"sub": "u" * 256}, "no subject"),
    ({"sub": 7}, "no subject"),
    ({"sub": "user\x00"}, "no subject"),
    ({"sub": "\ud800"}, "no subject"),
    ({"sts": "pending"}, "not complete"),
]


@pytest.mark.parametrize(("changes", "reason"), CLAIMS)
async def test_wrong_claims_are_refused(
    tokens: SessionTokens, issuer: JwksStub, changes: dict[str, Any], reason: str
) -> None:
    assert reason in await refusal(tokens, issuer.mint(at=NOW, **changes))


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["1", True, [], float("nan"), float("inf"), -float("inf"), -1, 10**30, 10**400])
async def test_times_must_be_sound_numbers(tokens: SessionTokens, issuer: JwksStub, claim: str, value: Any) -> None:
    assert "malformed time" in await refusal(tokens, issuer.mint(at=NOW, **{claim: value}))


async def test_a_few_seconds_of_clock_difference_are_put_up_with(tokens: SessionTokens, issuer: JwksStub) -> None:
    await tokens.verify(issuer.mint(at=NOW, exp=NOW - 4))
    await tokens.verify(issuer.mint(at=NOW, iat=NOW + 5, nbf=NOW + 5))


@pytest.mark.parametrize(
    ("claims", "outcome"),
    [
        ({"aud": "ours"}, "passes"),
        ({"aud": ["other", "ours"]}, "passes"),
        ({"aud": "ours", "azp": None}, "passes"),
        ({"aud": "ours", "azp": "https://evil.example"}, "refused"),
        ({"aud": "theirs"}, "refused"),
        ({"aud": "ours too"}, "refused"),
        ({"aud": ["theirs"]}, "refused"),
        ({"aud": []}, "refused"),
        ({"aud": {"ours": 1}}, "refused"),
        ({"aud": [["ours"]]}, "refused"),
        ({}, "refused"),
    ],
)
async def test_a_configured_audience_is_required(
    jwks: Jwks, issuer: JwksStub, clock: Clock, claims: dict[str, Any], outcome: str
) -> None:
    tokens = SessionTokens(jwks, issuer.issuer, audience="ours", authorized_parties=PARTIES, now=clock)
    token = issuer.mint(at=NOW, **claims)
    if outcome == "passes":
        await tokens.verify(token)
    else:
        await refusal(tokens, token)


async def test_without_parties_any_party_of_the_audience_passes(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    tokens = SessionTokens(jwks, issuer.issuer, audience="ours", now=clock)
    await tokens.verify(issuer.mint(at=NOW, aud="ours", azp="https://any.example"))


async def test_a_missing_party_passes_only_when_that_is_set(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    tokens = SessionTokens(jwks, issuer.issuer, authorized_parties=PARTIES, allow_missing_azp=True, now=clock)
    await tokens.verify(issuer.mint(at=NOW, azp=None))
    await refusal(tokens, issuer.mint(at=NOW, azp="https://evil.example"))


@pytest.mark.parametrize("settings", [{}, {"audience": ""}, {"audience": None, "authorized_parties": frozenset()}])
def test_one_of_audience_and_parties_must_be_configured(jwks: Jwks, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="audience or authorized parties"):
        SessionTokens(jwks, "https://issuer.example", **settings)


async def test_an_empty_audience_is_none(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    tokens = SessionTokens(jwks, issuer.issuer, audience="", authorized_parties=PARTIES, now=clock)
    await tokens.verify(issuer.mint(at=NOW))
    await refusal(tokens, issuer.mint(at=NOW, aud=""))


def test_an_issuer_must_be_configured(jwks: Jwks) -> None:
    with pytest.raises(ValueError, match="issuer"):
        SessionTokens(jwks, "", audience="ours")


def sign_rsa(issuer: JwksStub) -> Callable[[bytes], bytes]:
    key = issuer.keys["rsa-0"]
    assert isinstance(key, rsa.RSAPrivateKey)
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def sign_ec(issuer: JwksStub) -> Callable[[bytes], bytes]:
    key = issuer.keys["ec-0"]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))


async def test_what_is_forged_differs_only_where_a_test_says_so(tokens: SessionTokens, issuer: JwksStub) -> None:
    await tokens.verify(forge({"alg": "RS256", "kid": "rsa-0"}, issuer.claims(at=NOW), sign_rsa(issuer)))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 0, ["RS256"], "rs256", "RS512", "PS256", "HS256"])
async def test_other_algorithms_are_refused(tokens: SessionTokens, issuer: JwksStub, alg: object) -> None:
    token = forge({"alg": alg, "kid": "rsa-0"}, issuer.claims(at=NOW), sign_rsa(issuer))
    assert "algorithm is not accepted" in await refusal(tokens, token)


async def test_no_signature_is_refused(tokens: SessionTokens, issuer: JwksStub) -> None:
    for alg in ("none", "RS256"):
        await refusal(tokens, forge({"alg": alg, "kid": "rsa-0"}, issuer.claims(at=NOW), lambda _: b""))


@pytest.mark.parametrize("alg", ["HS256", "RS256"])
async def test_a_public_key_is_no_shared_secret(tokens: SessionTokens, issuer: JwksStub, alg: str) -> None:
    pem = (
        issuer.keys["rsa-0"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    header = {"alg": alg, "kid": "rsa-0"}
    token = forge(header, issuer.claims(at=NOW), lambda data: hmac.digest(pem, data, "sha256"))
    await refusal(tokens, token)


async def test_a_key_verifies_its_own_algorithm_only(tokens: SessionTokens, issuer: JwksStub) -> None:
    claims = issuer.claims(at=NOW)
    for header, sign in [
        ({"alg": "RS256", "kid": "ec-0"}, sign_ec),
        ({"alg": "RS256", "kid": "ec-0"}, sign_rsa),
        ({"alg": "ES256", "kid": "rsa-0"}, sign_rsa),
        ({"alg": "ES256", "kid": "rsa-0"}, sign_ec),
    ]:
        assert "signature is not valid" in await refusal(tokens, forge(header, claims, sign(issuer)))


async def test_another_issuers_key_of_the_same_name_is_refused(tokens: SessionTokens, issuer: JwksStub) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    header = {"alg": "RS256", "kid": "rsa-0"}
    token = forge(header, issuer.claims(at=NOW), lambda data: stranger.sign(data, padding.PKCS1v15(), hashes.SHA256()))
    assert "signature is not valid" in await refusal(tokens, token)


async def test_keys_and_addresses_in_a_token_are_not_read(tokens: SessionTokens, issuer: JwksStub) -> None:
    other = JwksStub()
    with other:
        hints = {"jku": other.url, "x5u": other.url, "jwk": json.loads(other.jwks())["keys"][0], "x5c": ["AAAA"]}
        await tokens.verify(issuer.mint(at=NOW, headers=hints))
        await refusal(tokens, issuer.mint(at=NOW, headers={**hints, "kid": "elsewhere"}))
        assert other.fetches == 0


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": True},
        {"crit": []},
        {"crit": None},
        {"b64": False},
        {"typ": "JOSE"},
        {"typ": None},
        {"typ": 7},
        {"typ": "logout+jwt"},
        {"kid": ""},
        {"kid": None},
        {"kid": 7},
        {"kid": ["rsa-0"]},
        {"kid": "unknown"},
    ],
)
async def test_odd_headers_are_refused(tokens: SessionTokens, issuer: JwksStub, header: dict[str, Any]) -> None:
    token = forge({"alg": "RS256", "kid": "rsa-0", **header}, issuer.claims(at=NOW), sign_rsa(issuer))
    await refusal(tokens, token)


async def test_a_token_without_key_id_is_refused(tokens: SessionTokens, issuer: JwksStub) -> None:
    assert "names no key" in await refusal(tokens, forge({"alg": "RS256"}, issuer.claims(at=NOW), sign_rsa(issuer)))


@pytest.mark.parametrize("payload", [[], "text", 7, None, [{"iss": "x"}]])
async def test_a_signed_payload_must_be_claims(tokens: SessionTokens, issuer: JwksStub, payload: object) -> None:
    assert "malformed" in await refusal(tokens, forge({"alg": "RS256", "kid": "rsa-0"}, payload, sign_rsa(issuer)))


@pytest.mark.parametrize("payload", [b"\xff", b"", b"[" * 3000, b"{", b'{"exp": ' + b"9" * 5000 + b"}"])
async def test_a_signed_payload_must_be_sound_json(tokens: SessionTokens, issuer: JwksStub, payload: bytes) -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"rsa-0"}').decode().rstrip("=")
    signed = f"{header}.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}"
    signature = base64.urlsafe_b64encode(sign_rsa(issuer)(signed.encode())).decode().rstrip("=")
    assert "malformed" in await refusal(tokens, f"{signed}.{signature}")


ODD_TOKENS = ["", ".", "..", "...", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e", "é.é.é", "\ud800", "{}", "tf_x", "\x00" * 9]


@pytest.mark.parametrize("token", ODD_TOKENS)
async def test_what_is_no_token_is_refused(tokens: SessionTokens, token: str) -> None:
    await refusal(tokens, token)


async def test_around_a_token_nothing_is_allowed(tokens: SessionTokens, issuer: JwksStub) -> None:
    token = issuer.mint(at=NOW)
    for odd in (f"{token}\n", f" {token}", f"{token}=", f"{token}==", f"{token}.", f"Bearer {token}", f"{token}A"):
        assert "malformed" in await refusal(tokens, odd) or odd.endswith("A")


async def test_an_oversized_token_is_refused(tokens: SessionTokens, issuer: JwksStub) -> None:
    assert "malformed" in await refusal(tokens, issuer.mint(at=NOW, padding="x" * 8192))
    await tokens.verify(issuer.mint(at=NOW, padding="x" * 4096))


def mutations(token: str, count: int) -> Iterator[str]:
    rng = random.Random(2)
    alphabet = "ABCXYZabcxyz0189-_.=+/ \n\x00é"
    for _ in range(count):
        characters = list(token)
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(characters))
            change = rng.randrange(4)
            characters[place : place + rng.choice((0, 1, 1, 9))] = [rng.choice(alphabet) for _ in range(change)]
        yield "".join(characters)
    parts = token.split(".")
    for _ in range(count // 4):
        yield ".".join(rng.choice(parts) for _ in range(rng.randrange(1, 5)))


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_no_mutation_is_believed_or_breaks_anything(tokens: SessionTokens, issuer: JwksStub, alg: str) -> None:
    token = issuer.mint(at=NOW, alg=alg)
    await tokens.verify(token)
    for mutation in mutations(token, 400):
        if mutation != token:
            await refusal(tokens, mutation)


@pytest.mark.parametrize(
    ("claims", "email", "name"),
    [
        ({}, None, None),
        ({"email": "A@B.example", "email_verified": True}, "a@b.example", None),
        ({"email": "a@b.example", "email_verified": False}, None, None),
        ({"email": "a@b.example", "email_verified": "false"}, None, None),
        ({"email": "no address"}, None, None),
        ({"email": "a@b@c.example"}, None, None),
        ({"email": "a@b.example\n"}, None, None),
        ({"email": "\x00a@b.example"}, None, None),
        ({"email": "a" * 250 + "@b.example"}, None, None),
        ({"email": ["a@b.example"]}, None, None),
        ({"name": "  Ada\r\nLovelace\t\x1b\u202e\x00\ud800 "}, None, "Ada Lovelace"),
        ({"name": "\u0001 \n"}, None, None),
        ({"name": "é" * 100}, None, "é" * 80),
        ({"name": {"first": "Ada"}}, None, None),
    ],
)
async def test_email_and_name_are_taken_only_when_sound(
    tokens: SessionTokens, issuer: JwksStub, claims: dict[str, Any], email: str | None, name: str | None
) -> None:
    identity = await tokens.verify(issuer.mint(at=NOW, **claims))
    assert (identity.email, identity.name) == (email, name)


async def test_a_token_is_verified_once_a_minute(
    tokens: SessionTokens, issuer: JwksStub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    check = session_tokens._signed_claims

    def counted(*args: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return check(*args)

    monkeypatch.setattr(session_tokens, "_signed_claims", counted)
    token = issuer.mint(at=NOW, exp=NOW + 3600)
    for seconds, expected in [(0, 1), (59, 1), (60, 2), (119, 2), (121, 3)]:
        clock.now = NOW + seconds
        await tokens.verify(token)
        assert calls == expected


async def test_a_remembered_token_still_expires(tokens: SessionTokens, issuer: JwksStub, clock: Clock) -> None:
    token = issuer.mint(at=NOW, exp=NOW + 20)
    await tokens.verify(token)
    clock.now = NOW + 24.9  # within the leeway
    await tokens.verify(token)
    clock.now = NOW + 25
    assert "expired" in await refusal(tokens, token)


async def test_refusals_are_not_remembered_as_valid(tokens: SessionTokens, issuer: JwksStub, clock: Clock) -> None:
    token = issuer.mint(at=NOW, nbf=NOW + 30)
    await refusal(tokens, token)
    clock.now = NOW + 30
    await tokens.verify(token)


async def test_the_memory_is_bounded_and_keeps_who_is_active(
    tokens: SessionTokens, issuer: JwksStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_tokens, "_CACHE_SIZE", 3)
    active = issuer.mint(at=NOW, alg="ES256")
    for i in range(6):
        await tokens.verify(issuer.mint(at=NOW, alg="ES256", sub=f"user_{i}"))
        await tokens.verify(active)
    assert len(tokens._verified) == 3
    assert next(reversed(tokens._verified)) == hashlib.sha256(active.encode()).digest()
    assert active not in repr(tokens)


async def test_an_unreachable_issuer_is_an_outage_and_answered_fast() -> None:
    with JwksStub() as issuer:
        issuer.mode = "down"
        jwks = Jwks(issuer.url)
        tokens = SessionTokens(jwks, issuer.issuer, authorized_parties=PARTIES)
        token, started = issuer.mint(), time.monotonic()
        for _ in range(20):
            with pytest.raises(Unavailable):
                await tokens.verify(token)
        assert time.monotonic() - started < 2
        assert issuer.fetches == 1
        with pytest.raises(Unauthenticated):
            await tokens.verify("garbage")
        await jwks.aclose()


async def test_an_outage_later_hurts_nobody_whose_key_is_known() -> None:
    with JwksStub() as issuer:
        seconds = 0.0
        jwks = Jwks(issuer.url, clock=lambda: seconds)
        tokens = SessionTokens(jwks, issuer.issuer, authorized_parties=PARTIES)
        await tokens.verify(issuer.mint())
        issuer.mode, seconds = "down", 3600.0
        await tokens.verify(issuer.mint(sub="somebody_new"))
        issuer.mode, seconds = "up", 3700.0
        issuer.rotate()
        await tokens.verify(issuer.mint(sub="after_rotation"))
        await jwks.aclose()
