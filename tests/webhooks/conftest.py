"""An app that takes Clerk's webhooks, and Clerk."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tallyframe.commands.users import add_user
from tallyframe.db import Database
from tallyframe.settings import Settings
from tallyframe.webhooks.base import Sources
from tallyframe.webhooks.registry import build_sources
from tests.conftest import ClientFor
from tests.support.clerk import Clerk, clerk_and_clients, with_clerk
from tests.support.jwks import JwksStub


@pytest.fixture
def issuer() -> Iterator[JwksStub]:
    with JwksStub() as stub:
        yield stub


@pytest.fixture
async def app(settings: Settings, issuer: JwksStub) -> AsyncIterator[tuple[Clerk, ClientFor]]:
    async with clerk_and_clients(settings, issuer) as both:
        yield both


@pytest.fixture
def clerk(app: tuple[Clerk, ClientFor]) -> Clerk:
    return app[0]


@pytest.fixture
def clients(app: tuple[Clerk, ClientFor]) -> ClientFor:
    return app[1]


@pytest.fixture
async def admin_key(db: Database) -> str:
    """The API key of an administrator."""
    _, key = await add_user(db, "root@example.com", admin=True, member=False, credits_given=0, signup_credits=0)
    return key


@pytest.fixture
def sources(settings: Settings, issuer: JwksStub) -> Sources:
    """The sources as a worker has them."""
    return build_sources(with_clerk(settings, issuer))
