"""Supabase's tokens: HS256 with a shared secret (older projects), ES256 with a published key, and no API keys."""

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr

from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.session_tokens import Identity, SessionTokens
from tallyframe.settings import Settings
from tests.conftest import serving
from tests.support.jwks import JwksStub, forge
from tests.support.remains import problem
from tests.support.tokens import NOW, PARTIES, Clock, refusal

SECRET = "super-secret-jwt-token-with-at-least-32-characters"
OTHER = "another-secret-jwt-token-with-at-least-32-characters"
SUB = "0b1f6a4e-7a52-4f9f-8d2a-3f0f1d6c9e11"


def claims(issuer: JwksStub, **changes: Any) -> dict[str, Any]:
    """What a Supabase session token holds; a claim that is changed to None is left out."""
    made = {
        "iss": issuer.issuer,
        "aud": "authenticated",
        "role": "authenticated",
        "sub": SUB,
        "email": "Ada@Example.org",
        "phone": "",
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": int(NOW)}],
        "session_id": "5e3c1f0a-2d57-4f5e-9d3e-7a4bd6c0a001",
        "app_metadata": {"provider": "email"},
        "user_metadata": {"role": "service_role", "is_anonymous": True},  # the user's own words
        "is_anonymous": False,
        "iat": int(NOW),
        "exp": int(NOW) + 3600,
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def minted(payload: object, *, secret: str = SECRET, alg: str = "HS256", **headers: Any) -> str:
    return jwt.PyJWS().encode(json.dumps(payload).encode(), secret, alg, headers)


@pytest.fixture
def supabase(jwks: Jwks, issuer: JwksStub, clock: Clock) -> SessionTokens:
    """A project on its way from the shared secret to keys."""
    return SessionTokens(jwks, issuer.issuer, "authenticated", now=clock, shared_secret=SECRET)


@pytest.fixture
def legacy(issuer: JwksStub, clock: Clock) -> SessionTokens:
    """A project that has no keys."""
    return SessionTokens(None, issuer.issuer, "authenticated", now=clock, shared_secret=SECRET)


async def test_both_kinds_name_the_same_user(supabase: SessionTokens, legacy: SessionTokens, issuer: JwksStub) -> None:
    ada = Identity(issuer.issuer, SUB, "ada@example.org", None)
    assert await legacy.verify(minted(claims(issuer))) == ada
    assert await supabase.verify(minted(claims(issuer))) == ada
    for alg in ("ES256", "RS256"):
        assert await supabase.verify(issuer.mint(alg=alg, at=NOW, **{**claims(issuer), "azp": None})) == ada


@pytest.mark.parametrize("kid", ["ec-0", "rsa-0", "anything", ""])
async def test_with_a_secret_the_key_id_makes_no_difference(legacy: SessionTokens, issuer: JwksStub, kid: str) -> None:
    assert (await legacy.verify(minted(claims(issuer), kid=kid))).subject == SUB


async def test_a_secret_costs_the_issuer_no_fetch(issuer: JwksStub, clock: Clock) -> None:
    fetches, jwks = issuer.fetches, Jwks(issuer.url)
    tokens = SessionTokens(jwks, issuer.issuer, "authenticated", now=clock, shared_secret=SECRET)
    await tokens.verify(minted(claims(issuer), kid="ec-0"))
    await refusal(tokens, minted(claims(issuer), secret=OTHER, kid="ec-0"))
    assert issuer.fetches == fetches
    await jwks.aclose()


async def test_without_keys_other_algorithms_are_refused(legacy: SessionTokens, issuer: JwksStub) -> None:
    for alg in ("ES256", "RS256"):
        token = issuer.mint(alg=alg, at=NOW, **claims(issuer))
        assert "algorithm is not accepted" in await refusal(legacy, token)


async def test_without_a_secret_hs256_is_refused(jwks: Jwks, issuer: JwksStub, clock: Clock) -> None:
    tokens = SessionTokens(jwks, issuer.issuer, "authenticated", now=clock)
    assert "algorithm is not accepted" in await refusal(tokens, minted(claims(issuer)))


async def test_another_secret_is_refused(supabase: SessionTokens, legacy: SessionTokens, issuer: JwksStub) -> None:
    for tokens in (supabase, legacy):
        for secret in (OTHER, SECRET + "x", SECRET[:-1], base64.b64encode(SECRET.encode()).decode()):
            assert "signature is not valid" in await refusal(tokens, minted(claims(issuer), secret=secret))


@pytest.mark.parametrize("alg", ["HS384", "HS512", "hs256", "none"])
async def test_the_secret_is_bound_to_one_algorithm(legacy: SessionTokens, issuer: JwksStub, alg: str) -> None:
    digest = {"HS384": "sha384", "HS512": "sha512"}.get(alg, "sha256")
    token = forge({"alg": alg}, claims(issuer), lambda data: hmac.digest(SECRET.encode(), data, digest))
    assert "algorithm is not accepted" in await refusal(legacy, token)


async def test_keys_and_secret_are_never_mixed(supabase: SessionTokens, issuer: JwksStub) -> None:
    public = issuer.keys["rsa-0"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for header in ({"alg": "HS256", "kid": "rsa-0"}, {"alg": "RS256", "kid": "rsa-0"}, {"alg": "HS256"}):
        token = forge(header, claims(issuer), lambda data: hmac.digest(pem, data, "sha256"))
        assert "signature is not valid" in await refusal(supabase, token)
    for header in ({"alg": "RS256", "kid": "rsa-0"}, {"alg": "ES256", "kid": "ec-0"}):
        token = forge(header, claims(issuer), lambda data: hmac.digest(SECRET.encode(), data, "sha256"))
        assert "signature is not valid" in await refusal(supabase, token)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"role": "anon"}, "API key"),
    ({"role": "service_role"}, "API key"),
    ({"role": "service_role", "sub": None}, "API key"),
    ({"sub": None}, "no subject"),
    ({"sub": "user_1"}, "no subject"),
    ({"sub": SUB.upper()}, "no subject"),
    ({"sub": SUB.replace("-", "")}, "no subject"),
    ({"sub": f"{{{SUB}}}"}, "no subject"),
    ({"sub": f"{SUB}\n"}, "no subject"),
    ({"sub": 7}, "no subject"),
    ({"aud": None}, "no 'aud'"),
    ({"aud": "anon"}, "another audience"),
    ({"iss": "supabase"}, "another issuer"),
    ({"exp": NOW - 6}, "has expired"),
    ({"exp": None}, "no 'exp'"),
    ({"is_anonymous": True}, "Anonymous"),
]


@pytest.mark.parametrize(("changes", "reason"), WRONG)
async def test_wrong_claims_are_refused(
    legacy: SessionTokens, supabase: SessionTokens, issuer: JwksStub, changes: dict[str, Any], reason: str
) -> None:
    for tokens in (legacy, supabase):
        assert reason in await refusal(tokens, minted(claims(issuer, **changes)))


async def test_the_public_api_keys_are_no_sign_in(supabase: SessionTokens, issuer: JwksStub) -> None:
    for role in ("anon", "service_role"):
        key = {"iss": "supabase", "ref": "abcdefgh", "role": role, "iat": int(NOW), "exp": int(NOW) + 10**8}
        await refusal(supabase, minted(key))
        signed_with_a_key = issuer.mint(alg="ES256", at=NOW, aud="authenticated", role=role, azp=None)
        assert "API key" in await refusal(supabase, signed_with_a_key)


async def test_anonymous_users_come_in_only_where_that_is_set(
    jwks: Jwks, supabase: SessionTokens, issuer: JwksStub, clock: Clock
) -> None:
    tokens = SessionTokens(jwks, issuer.issuer, "authenticated", now=clock, shared_secret=SECRET, allow_anonymous=True)
    anonymous = {**claims(issuer), "is_anonymous": True, "email": ""}
    for token in (minted(anonymous), issuer.mint(alg="ES256", at=NOW, **{**anonymous, "azp": None})):
        assert await tokens.verify(token) == Identity(issuer.issuer, SUB, None, None)
        assert "Anonymous" in await refusal(supabase, token)


@pytest.mark.parametrize("secret", ["x" * 31, "x", "é" * 15])
def test_a_short_secret_is_refused_at_once(issuer: JwksStub, secret: str) -> None:
    with pytest.raises(ValueError, match="32 bytes") as caught:
        SessionTokens(None, issuer.issuer, "authenticated", shared_secret=secret)
    assert secret not in str(caught.value).removesuffix("at least 32 bytes.")


def test_a_secret_of_32_bytes_is_long_enough(issuer: JwksStub) -> None:
    SessionTokens(None, issuer.issuer, "authenticated", shared_secret="é" * 16)


def test_a_secret_needs_an_audience(jwks: Jwks, issuer: JwksStub) -> None:
    with pytest.raises(ValueError, match="audience"):
        SessionTokens(jwks, issuer.issuer, authorized_parties=PARTIES, shared_secret=SECRET)


def test_something_to_verify_with_is_needed(issuer: JwksStub) -> None:
    with pytest.raises(ValueError, match="keys or a shared secret"):
        SessionTokens(None, issuer.issuer, "authenticated")


def test_the_secret_does_not_show(legacy: SessionTokens) -> None:
    assert SECRET not in repr(legacy)
    assert SECRET not in f"{legacy._secret_key!r}"


async def test_the_app_follows_the_settings(settings: Settings, issuer: JwksStub) -> None:
    now, fetches = int(time.time()), issuer.fetches
    sign_in = {"auth_issuer": issuer.issuer, "auth_audience": "authenticated", "auth_jwt_secret": SecretStr(SECRET)}
    token = minted(claims(issuer, iat=now, exp=now + 3600))
    anonymous = minted(claims(issuer, iat=now, exp=now + 3600, is_anonymous=True))
    signed_with_a_key = issuer.mint(alg="ES256", aud="authenticated", sub=SUB)
    async with serving(settings.replaced(**sign_in)) as clients:
        me = (await clients(token).get("/v1/me")).json()
        assert me["email"] == "ada@example.org"
        problem(await clients(anonymous).get("/v1/me"), 401, "unauthenticated")
        problem(await clients(signed_with_a_key).get("/v1/me"), 401, "unauthenticated")
        assert issuer.fetches == fetches
    both = {**sign_in, "auth_jwks_url": issuer.url, "auth_allow_anonymous": True}
    async with serving(settings.replaced(**both)) as clients:
        for each in (token, anonymous, signed_with_a_key):
            assert (await clients(each).get("/v1/me")).json()["id"] == me["id"]
