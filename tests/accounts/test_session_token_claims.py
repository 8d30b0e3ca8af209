"""Session tokens: which claims are believed, which are refused, and what is taken from them."""

import time
from typing import Any

import pytest

from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.session_tokens import Identity, SessionTokens
from tests.support.jwks import AZP, JwksStub
from tests.support.tokens import NOW, PARTIES, Clock, refusal


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
    ({"exp": None}, "no 'exp'"),
    ({"nbf": NOW + 6}, "not valid yet"),
    ({"iat": NOW + 6}, "not valid yet"),
    ({"iss": "https://other.example"}, "another issuer"),
    ({"iss": None}, "no 'iss'"),
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
    said = await refusal(tokens, issuer.mint(at=NOW, **{claim: value}))
    assert any(reason in said for reason in ("malformed", "has expired", "not valid yet"))


async def test_a_few_seconds_of_clock_difference_are_put_up_with(tokens: SessionTokens, issuer: JwksStub) -> None:
    await tokens.verify(issuer.mint(at=NOW, exp=NOW - 4))
    await tokens.verify(issuer.mint(at=NOW, iat=NOW + 5, nbf=NOW + 5))


async def test_where_no_test_sets_the_clock_it_is_the_systems(jwks: Jwks, issuer: JwksStub) -> None:
    tokens = SessionTokens(jwks, issuer.issuer, authorized_parties=PARTIES)
    await tokens.verify(issuer.mint())
    assert "has expired" in await refusal(tokens, issuer.mint(at=time.time() - 3600))
    assert "not valid yet" in await refusal(tokens, issuer.mint(at=time.time() + 3600))


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
        ({"aud": ["ours", 7]}, "refused"),
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
