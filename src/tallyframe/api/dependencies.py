"""What endpoints depend on: the services, who is asking, and a request's `Idempotency-Key`."""

import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, TypeVar, cast
from uuid import UUID

import structlog
from cachetools import TTLCache
from fastapi import Depends, Header, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ValidationError

from tallyframe.accounts import keys as api_keys, users
from tallyframe.accounts.session_tokens import SessionTokens
from tallyframe.accounts.users import User
from tallyframe.api import views
from tallyframe.api.middleware import USER
from tallyframe.assets.decoders import Decoders
from tallyframe.db import Database, LaggingReads
from tallyframe.errors import Forbidden, TallyframeError, Unauthenticated, ValidationFailed
from tallyframe.generations.accept.order import Terms
from tallyframe.generations.queries import Version
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Kept, Key, Made
from tallyframe.outbox.relay import JobQueue
from tallyframe.settings import Settings
from tallyframe.storages.base import Storages
from tallyframe.webhooks.base import Sources

Answer = TypeVar("Answer", bound=BaseModel)
Value = TypeVar("Value")

#: Seconds that a known caller is remembered. A key revoked through another process works there for as long.
REMEMBER = 5.0
REMEMBER_MOST = 10_000
#: Seconds for which nothing is remembered of what has just been forgotten: longer than a look-up can take.
LOOK_UP = 60.0


class Memory(TTLCache[object, Value]):
    """What was looked up by a key, so that polling costs no look-up: `most` of it, for so many seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        super().__init__(most, ttl=seconds)
        self._changed: TTLCache[object, bool] = TTLCache(most, ttl=LOOK_UP)

    def remember(self, key: object, value: Value) -> None:
        """Keep what a look-up has found, unless it may have begun before the last `forget`."""
        if self.ttl and key not in self._changed:
            self[key] = value

    def forget(self, key: object) -> None:
        """Look it up again from now on: it was changed or removed."""
        self._changed[key] = True
        self.pop(key, None)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that `main.py` has built for the endpoints."""

    settings: Settings
    db: Database  # sees the rows of the user that it acts for
    system: Database  # sees everybody's rows: for sign-in and Explore
    office: Database  # the same, for administrators: in half of its connections, so that others get on
    inbox: Database  # the same, for webhooks, in half of them, too
    shown: LaggingReads  # of `system`: what all may see may be a little old
    listed: LaggingReads  # of `office`: lists and figures for administrators, but nothing that they have just changed
    queue: JobQueue
    storages: Storages
    terms: Terms  # what can be ordered here
    tokens: SessionTokens | None
    sources: Sources  # of webhooks
    fetch: Callable[[UUID, str, str], Coroutine[Any, Any, bytes]]  # (user, URL, pointer for errors) → bytes
    decoders: Decoders
    states: Memory[Version]  # of projects, by (user id, project id)
    #: Who a credential belongs to.
    callers: Memory[User] = field(default_factory=lambda: Memory(REMEMBER_MOST, REMEMBER))


async def services(request: Request) -> Services:  # async, so that it isn't sent through a thread
    """Return the app's services."""
    found: Services = request.app.state.services
    return found


#: The services for work that belongs to no user: `db` sees no rows of users, `system` sees those of all.
SystemServices = Annotated[Services, Depends(services)]


bearer = HTTPBearer(auto_error=False, description="A session JWT of the configured issuer, or an API key (`tf_…`).")


async def current_user(
    request: Request,
    serving: SystemServices,
    _: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],  # for the document
) -> User:
    """Return who is asking; on a subject's first sight, sign them up. Raises Unauthenticated or Unavailable."""
    return await caller(request, serving)


async def caller(request: Request, serving: Services) -> User:
    """Do as `current_user`."""
    if known := request.scope.get(USER):  # `SignedInFirst` has asked before
        return cast("User", known)
    sent = request.headers.getlist("authorization")
    if len(sent) > 1:
        raise Unauthenticated("The header Authorization is sent twice; send it once.")
    scheme, _, secret = sent[0].partition(" ") if sent else ("", "", "")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated
    secret = secret.strip()
    user = await (_by_key(serving, secret) if secret.startswith("tf_") else _by_token(serving, secret))
    structlog.contextvars.bind_contextvars(user_id=str(user.id))
    request.scope[USER] = user
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


Administrator = Annotated[User, Depends(administrator)]


async def _by_key(serving: Services, secret: str) -> User:
    hashed = api_keys.secret_hash(secret)
    try:
        return serving.callers[hashed]  # `get` would look twice, for every request
    except KeyError:
        if not api_keys.looks_valid(secret):
            raise Unauthenticated("This is not a valid API key.") from None
    user = await api_keys.owner(serving.system, hashed)
    if user is None:
        raise Unauthenticated("This API key is unknown or has been revoked.")
    serving.callers.remember(hashed, user)
    return user


async def _by_token(serving: Services, token: str) -> User:
    if serving.tokens is None:
        raise Unauthenticated("Session tokens are not set up here; use an API key.")
    identity = await serving.tokens.verify(token)
    who = (identity.issuer, identity.subject)
    user = serving.callers.get(who)
    if user is None:
        user = await users.find_or_sign_up(serving.system, identity, serving.settings.money.signup_credits)
        serving.callers.remember(who, user)
    return user


_PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Up to 255 printable characters of your choice, e.g. a UUID. The same key with the same request is "
        "answered again, with `Idempotent-Replayed: true`, and done only once.",
        json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    ),
]


def canonical(asked: object) -> object:
    """Return what a request asks for, in JSON values; of a body, without the fields that have their default.

    So a field that a later version adds changes nothing for those who don't send it, and who asks again after an
    upgrade asks for the same.
    """
    if isinstance(asked, list):
        return [canonical(each) for each in asked]
    return asked.model_dump(mode="json", exclude_defaults=True) if isinstance(asked, BaseModel) else asked


@dataclass(frozen=True, slots=True)
class Idempotent:
    """A request on behalf of a user that may come again. `key` is None where it has none: then it is done each time."""

    request: Request
    response: Response
    user: User
    serving: Services
    key: str | None

    async def answer(
        self,
        model: type[Answer],
        asked: object,
        create: Callable[[Key | None], Awaitable[UUID | Made | Kept]],
        render: Callable[[UUID], Awaitable[Answer]],
        *,
        secrets: tuple[str, ...] = (),
        is_kept: bool = True,
        finds: bool = False,
    ) -> Answer:
        """Return what `render` says, as a `model`, of the id that `create` has made, now or at the first request.

        `asked` is the request: its body, and whatever else in JSON values. `create` writes the key with what it makes;
        with `finds`, it also finds by itself what is kept. If it makes the answer, too, nothing is rendered.
        The fields `secrets` are shown the first time only and kept nowhere. An answer that another version has kept,
        and that is no `model` any more, gives way to what `render` says now, and so does every answer where none
        `is_kept`. Raises IdempotencyKeyReused, ValidationFailed for a key that is none, and whatever `create` raises.
        """
        key = self._read_key(asked)
        made = await self._create(key, create, finds=finds) if key else await create(None)
        kept = made if isinstance(made, Kept) else None
        if kept:
            self.response.headers["Idempotent-Replayed"] = "true"
        if isinstance(made, UUID):
            made = Made(made)
        if made.answer is not None and (known := views.read_as(model, made.answer)):
            return known
        try:
            shown = await render(made.ref)
        except ValidationError as error:  # what was asked is done, so it's no 422
            raise views.not_shown(error, "This is done, but") from None
        if key is None or not is_kept:
            return shown
        hidden = dict.fromkeys(secrets)
        first = await keys.remember(self.serving.db, key, shown.model_dump(mode="json") | hidden)
        told = {name: None if kept else getattr(shown, name) for name in secrets}
        return views.read_as(model, {**first, **told}) or shown

    def _read_key(self, asked: object) -> Key | None:
        """Return the key, sent bare or between quotes (a string of RFC 8941), with what the request asks for."""
        if self.key is None:
            return None
        if len(self.request.headers.getlist("idempotency-key")) > 1:
            raise ValidationFailed("Idempotency-Key: send it once, not twice.", pointer="/Idempotency-Key")
        bare = self.key.strip()
        quoted = len(bare) > 1 and bare[0] == bare[-1] == '"'
        text = bare[1:-1] if quoted else bare
        if not _PRINTABLE.fullmatch(text):
            raise ValidationFailed("Idempotency-Key: at most 255 printable characters.", pointer="/Idempotency-Key")
        path: str = self.request.scope["route"].path_format
        place = path.format(**{name: _as_we_write_it(part) for name, part in self.request.path_params.items()})
        return Key(self.user.id, text, keys.fingerprint(place, canonical(asked)))

    async def _create(
        self, key: Key, create: Callable[[Key | None], Awaitable[UUID | Made | Kept]], *, finds: bool
    ) -> UUID | Made | Kept:
        if not finds and (kept := await keys.find(self.serving.db, key)):
            return kept
        try:
            return await create(key)
        except TallyframeError:  # perhaps because a twin was first: then its answer is ours, too
            if kept := await keys.find(self.serving.db, key):
                return kept
            raise


async def idempotent(  # async, as `services`
    request: Request, response: Response, user: CurrentUser, serving: SystemServices, key: KeyHeader = None
) -> Idempotent:
    """Return the request, on behalf of whoever is asking, with its Idempotency-Key if it has one."""
    return Idempotent(request, response, user, await services_of(user, serving), key)


IdempotentRequest = Annotated[Idempotent, Depends(idempotent)]


def _as_we_write_it(part: str) -> str:
    """Return a part of a path; an id as we write it, whichever way the client did."""
    try:
        return str(UUID(part))
    except ValueError:
        return part


def read_id(part: str) -> UUID | None:
    """Return a part of a path as an id, if it is written as we write it."""
    try:
        return UUID(part) if len(part) == _ID_LENGTH else None
    except ValueError:
        return None


_ID_LENGTH = 36
