"""What Clerk tells of its users: they come, change and go, and we follow, once per event and in whatever order.

    body ──► decide(): SignUp | Delete | nothing        pure
         ──► follow(): the event noted, and its effect  ONE transaction

An event may be told again, late, or after a later one. The event's id tells the first, `updated_at` the second, and
deletion is for good. Bodies: https://clerk.com/docs/guides/development/webhooks/overview
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import AfterValidator, BaseModel, Field

from tallyframe.accounts import keys, profiles, users
from tallyframe.accounts.identity import Identity, is_sound_subject, public_name, sound_email
from tallyframe.db import Database, Transaction
from tallyframe.projects.tables import changed, projects
from tallyframe.webhooks.received import is_new

SOURCE = "clerk"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000 = 253_402_300_800_000  # milliseconds since 1970; Python's times end there

Status = Literal["applied", "ignored", "replayed"]


def _subject(value: str) -> str:
    if not is_sound_subject(value):
        raise ValueError("must be 1 to 255 printable characters")
    return value


Subject = Annotated[str, AfterValidator(_subject)]


class Event(BaseModel):
    """Any event; what is in `data` depends on the type."""

    type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,100}$")]
    data: Any


class _Verification(BaseModel):
    status: str | None = None


class _Address(BaseModel):
    id: str | None = None
    email_address: str
    verification: _Verification | None = None


class _User(BaseModel):
    """The `data` of user.created and user.updated, as far as we look at it."""

    id: Subject
    updated_at: Annotated[int, Field(ge=0, lt=_YEAR_10000)]  # milliseconds since 1970
    email_addresses: list[_Address] = []
    primary_email_address_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None


class _Gone(BaseModel):
    """The `data` of user.deleted."""

    id: Subject


@dataclass(frozen=True, slots=True)
class SignUp:
    """Make the user, or bring the profile up to date: so it was at `updated_at`."""

    identity: Identity
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the user."""

    subject: str


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of an event. `stale` are the credentials of users who are no longer what they were."""

    status: Status
    stale: Sequence[object] = ()


def decide(event: Event, issuer: str) -> SignUp | Delete | None:
    """Return what an event asks for; None for a type that we don't use. Raises pydantic's ValidationError."""
    if event.type in {"user.created", "user.updated"}:
        user = _User.model_validate(event.data)
        identity = Identity(issuer, user.id, _email(user), _name(user))
        return SignUp(identity, _EPOCH + timedelta(milliseconds=user.updated_at))
    return Delete(_Gone.model_validate(event.data).id) if event.type == "user.deleted" else None


def _email(user: _User) -> str | None:
    """The primary address, if Clerk has verified it. Who signed up with a phone number has none."""
    for address in user.email_addresses:
        verified = address.verification is not None and address.verification.status == "verified"
        if verified and address.id is not None and address.id == user.primary_email_address_id:
            return sound_email(address.email_address)
    return None


def _name(user: _User) -> str | None:
    full_name = f"{user.first_name or ''} {user.last_name or ''}"
    return public_name(full_name) or public_name(user.username)


async def follow(db: Database, event_id: str, body: bytes, *, issuer: str, grant: int) -> Followed:
    """Do what the event asks for, once. New users of `issuer` get `grant` credits.

    `body` is JSON whose signature has been checked. Raises pydantic's ValidationError when it is none, or not an event.
    """
    event = Event.model_validate_json(body)
    decision = decide(event, issuer)
    if decision is None:
        return Followed("ignored")
    async with db.transaction() as transaction:
        if not await is_new(transaction, SOURCE, event_id, event.type):
            return Followed("replayed")
        if isinstance(decision, Delete):
            return await _delete(transaction, issuer, decision.subject)
        return await _sign_up(transaction, decision, grant)


async def _sign_up(transaction: Transaction, wanted: SignUp, grant: int) -> Followed:
    identity = wanted.identity
    try:
        user = await users.sign_up(transaction, identity, grant)
    except users.Deleted:
        return Followed("ignored")
    if not await profiles.update(transaction, user.id, identity, wanted.updated_at):
        return Followed("ignored")
    return Followed("applied", [(identity.issuer, identity.subject)])


async def _delete(transaction: Transaction, issuer: str, subject: str) -> Followed:
    """The books stay, and so do projects and their media; but nobody sees them any more."""
    user_id = await profiles.delete_user(transaction, issuer, subject)
    if user_id is None:
        return Followed("ignored")
    hashes = await keys.revoke_all(transaction, user_id)
    shown = (projects.c.user_id == user_id) & projects.c.deleted_at.is_(None) & projects.c.is_published
    hide = sa.update(projects).where(shown).values(is_published=False, published_at=None, **changed())
    await transaction.execute(hide)
    return Followed("applied", [(issuer, subject), *hashes])
