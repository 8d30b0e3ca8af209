from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.session_tokens import SessionTokens
from tests.support.jwks import JwksStub
from tests.support.tokens import PARTIES, Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    clock.is_pyjwts(monkeypatch)
    return clock


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
