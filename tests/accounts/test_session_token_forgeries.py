"""Session tokens: whatever is forged, odd or broken is refused."""

import base64
import hmac
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tallyframe.accounts.session_tokens import SessionTokens
from tallyframe.errors import Unauthenticated, Unavailable
from tests.support.jwks import JwksStub, forge
from tests.support.tokens import NOW, refusal


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
    ],
)
async def test_odd_headers_are_refused(tokens: SessionTokens, issuer: JwksStub, header: dict[str, Any]) -> None:
    token = forge({"alg": "RS256", "kid": "rsa-0", **header}, issuer.claims(at=NOW), sign_rsa(issuer))
    await refusal(tokens, token)


async def test_an_unknown_key_id_is_refused_or_cannot_be_told_yet(tokens: SessionTokens, issuer: JwksStub) -> None:
    token = forge({"alg": "RS256", "kid": "unknown"}, issuer.claims(at=NOW), sign_rsa(issuer))
    with pytest.raises((Unauthenticated, Unavailable)):
        await tokens.verify(token)


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
