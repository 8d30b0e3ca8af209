"""Session tokens: what is remembered of them, and what an outage of the issuer does."""

import hashlib
import time
from typing import Any

import jwt
import pytest

from tallyframe.accounts import token_memory
from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.session_tokens import SessionTokens
from tallyframe.errors import Unauthenticated, Unavailable
from tests.support.jwks import JwksStub
from tests.support.tokens import NOW, PARTIES, Clock, refusal


async def test_a_token_is_verified_once_a_minute(
    tokens: SessionTokens, issuer: JwksStub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, decode = 0, jwt.decode

    def counted(*args: Any, **kwargs: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return decode(*args, **kwargs)

    monkeypatch.setattr(jwt, "decode", counted)
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
    monkeypatch.setattr(token_memory, "MOST_TOKENS", 3)
    active = issuer.mint(at=NOW, alg="ES256")
    for i in range(6):
        await tokens.verify(issuer.mint(at=NOW, alg="ES256", sub=f"user_{i}"))
        await tokens.verify(active)
    kept = tokens._memory._identities
    assert len(kept) == 3
    assert next(reversed(kept)) == hashlib.sha256(active.encode()).digest()
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
        assert time.monotonic() - started < 15
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
