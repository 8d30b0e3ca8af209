"""What the endpoints work with, and who is asking."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Annotated

import structlog
from cachetools import TTLCache
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from tallyframe.accounts import keys, users
from tallyframe.accounts.session_tokens import SessionTokens
from tallyframe.accounts.users import User
from tallyframe.db import Database
from tallyframe.errors import Forbidden, Unauthenticated
from tallyframe.generations.accept.terms import Terms
from tallyframe.outbox.relay import JobQueue
from tallyframe.settings import Settings
from tallyframe.storages.base import Storages
from tallyframe.webhooks.base import Sources

#: Seconds that a known caller is remembered. A key revoked through another process works there for as long.
REMEMBER = 5.0
REMEMBER_MOST = 10_000


#: Remembers who a credential belongs to, for a few seconds, so that polling costs no look-up.
Callers = TTLCache[object, User]


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that `main.py` has built for the endpoints."""

    settings: Settings
    db: Database  # sees the rows of the user that it acts for
    system: Database  # sees everybody's rows: for sign-in, webhooks, Explore, metrics and administrators
    queue: JobQueue
    storages: Storages
    terms: Terms  # what can be ordered here
    tokens: SessionTokens | None
    sources: Sources  # of webhooks
    fetch: Callable[[str, str], Awaitable[bytes]]  # (URL, pointer for errors) → bytes
    uploads: asyncio.Semaphore
    callers: Callers = field(default_factory=lambda: Callers(REMEMBER_MOST, ttl=REMEMBER))


async def services(request: Request) -> Services:  # async, so that it isn't sent through a thread
    """Return the app's services."""
    found: Services = request.app.state.services
    return found


#: The services for work that belongs to no user: `db` sees no rows of users, `system` sees those of all.
SystemServices = Annotated[Services, Depends(services)]

_bearer = HTTPBearer(auto_error=False, description="A session JWT of the configured issuer, or an API key (`tf_…`).")


async def current_user(
    serving: SystemServices, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> User:
    """Return who is asking; on a subject's first sight, sign them up. Raises Unauthenticated or Unavailable."""
    if credentials is None or not credentials.credentials:
        raise Unauthenticated
    secret = credentials.credentials
    user = await (_by_key(serving, secret) if secret.startswith("tf_") else _by_token(serving, secret))
    structlog.contextvars.bind_contextvars(user_id=str(user.id))
    return user


CurrentUser = Annotated[User, Depends(current_user)]


async def services_of(user: CurrentUser, serving: SystemServices) -> Services:
    """Return the app's services, with a database that holds the signed-in user's rows only."""
    return replace(serving, db=serving.db.as_user(user.id))


#: The services on behalf of the signed-in user.
UserServices = Annotated[Services, Depends(services_of)]


async def administrator(user: CurrentUser) -> User:
    """Return who is asking, if they may see everything. Raises Forbidden."""
    if user.role != "admin":
        raise Forbidden
    return user


async def _by_key(serving: Services, secret: str) -> User:
    if not keys.looks_valid(secret):
        raise Unauthenticated("This is not a valid API key.")
    hashed = keys.secret_hash(secret)
    user = serving.callers.get(hashed)
    if user is None:
        user = await keys.owner(serving.system, hashed)
        if user is None:
            raise Unauthenticated("This API key is unknown or has been revoked.")
        serving.callers[hashed] = user
    return user


async def _by_token(serving: Services, token: str) -> User:
    if serving.tokens is None:
        raise Unauthenticated("Session tokens are not set up here; use an API key.")
    identity = await serving.tokens.verify(token)
    who = (identity.issuer, identity.subject)
    user = serving.callers.get(who)
    if user is None:
        user = await users.find_or_sign_up(serving.system, identity, serving.settings.money.signup_credits)
        serving.callers[who] = user
    return user
