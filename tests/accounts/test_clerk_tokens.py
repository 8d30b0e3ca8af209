"""Clerk's session tokens, version 2, from end to end: who comes in, who doesn't, and what an outage is."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.session_tokens import Identity, SessionTokens
from tallyframe.errors import Unavailable
from tallyframe.settings import Settings
from tests.conftest import serving
from tests.support.jwks import AZP, JwksStub
from tests.support.remains import problem
from tests.support.tokens import NOW, PARTIES, Clock, refusal

#: What Clerk adds to the claims that `JwksStub.mint` makes; the second half only with an active organisation or plan.
V2: dict[str, Any] = {
    "jti": "9d1c0c3a3f7e5b2a1d4f",
    "fva": [3, -1],
    "o": {"id": "org_1", "rol": "admin", "slg": "acme", "per": "manage", "fpm": "3"},
    "pla": "u:pro",
    "fea": "u:video",
    "act": {"iss": "https://dashboard.clerk.com", "sub": "user_9", "sid": "sess_9"},
}
HEADERS = {"cat": "cl_B7d4PD111AAA"}


@pytest.fixture
def own_issuer() -> Iterator[JwksStub]:
    """One that a test may rotate and take down."""
    with JwksStub() as stub:
        yield stub


@pytest.fixture
async def own_jwks(own_issuer: JwksStub) -> AsyncIterator[Jwks]:
    jwks = Jwks(own_issuer.url, timeout=2)
    yield jwks
    await jwks.aclose()


@pytest.fixture
def own_tokens(own_jwks: Jwks, own_issuer: JwksStub, clock: Clock) -> SessionTokens:
    return SessionTokens(own_jwks, own_issuer.issuer, authorized_parties=PARTIES, now=clock)


async def test_a_version_2_token_names_its_user(tokens: SessionTokens, issuer: JwksStub) -> None:
    token = issuer.mint(at=NOW, sub="user_29w83sxmDNGwOuEthce5gg56FcC", headers=HEADERS, **V2)
    identity = await tokens.verify(token)
    assert identity == Identity(issuer.issuer, "user_29w83sxmDNGwOuEthce5gg56FcC", None, None)


async def test_open_sign_in_tasks_keep_one_out(tokens: SessionTokens, issuer: JwksStub) -> None:
    assert "not complete" in await refusal(tokens, issuer.mint(at=NOW, sts="pending", **V2))
    await tokens.verify(issuer.mint(at=NOW, sts=None, **V2))


@pytest.mark.parametrize("azp", ["https://evil.example", f"{AZP}/", f"{AZP}.evil.example", "", "null"])
async def test_a_token_for_another_origin_is_refused(
    tokens: SessionTokens, jwks: Jwks, issuer: JwksStub, clock: Clock, azp: str
) -> None:
    lenient = SessionTokens(jwks, issuer.issuer, authorized_parties=PARTIES, allow_missing_azp=True, now=clock)
    for each in (tokens, lenient):
        assert "another party" in await refusal(each, issuer.mint(at=NOW, azp=azp, **V2))


async def test_a_token_of_a_native_app_comes_in_only_where_that_is_set(
    tokens: SessionTokens, jwks: Jwks, issuer: JwksStub, clock: Clock
) -> None:
    lenient = SessionTokens(jwks, issuer.issuer, authorized_parties=PARTIES, allow_missing_azp=True, now=clock)
    token = issuer.mint(at=NOW, azp=None, **V2)
    assert "no authorized party" in await refusal(tokens, token)
    assert (await lenient.verify(token)).subject == "user_1"


async def test_a_new_key_is_taken_up_at_once_and_the_old_one_dropped(
    own_tokens: SessionTokens, own_issuer: JwksStub
) -> None:
    old = own_issuer.mint(at=NOW, sid="sess_old")
    await own_tokens.verify(own_issuer.mint(at=NOW))
    own_issuer.rotate()
    await own_tokens.verify(own_issuer.mint(at=NOW, sub="user_2"))
    assert "not signed with a known key" in await refusal(own_tokens, old)


async def test_keys_that_cannot_be_had_are_an_outage(own_tokens: SessionTokens, own_issuer: JwksStub) -> None:
    own_issuer.mode = "down"
    with pytest.raises(Unavailable):
        await own_tokens.verify(own_issuer.mint(at=NOW))


async def ask(app: Settings, token: str) -> httpx.Response:
    async with serving(app) as clients:
        return await clients(token).get("/v1/me")


async def test_the_app_follows_the_settings(settings: Settings, own_issuer: JwksStub) -> None:
    clerk = settings.replaced(auth_issuer=own_issuer.issuer, auth_authorized_parties=(AZP,))
    assert (await ask(clerk, own_issuer.mint(**V2))).status_code == 200
    native = own_issuer.mint(azp=None, **V2)
    problem(await ask(clerk, native), 401, "unauthenticated")
    lenient = clerk.replaced(auth_allow_missing_azp=True)
    assert (await ask(lenient, native)).status_code == 200
    own_issuer.mode = "down"
    problem(await ask(clerk, own_issuer.mint(**V2)), 503, "unavailable")
