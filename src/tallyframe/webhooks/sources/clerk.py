"""Clerk's events: its users are made, changed and deleted here, too, in whatever order the events arrive.

    body ──► decide(): SignUp | Delete | nothing    pure
         ──► Clerk.apply(): its effects             in the caller's transaction

An event may come late, after a later one, or again by an administrator's hand: `updated_at` tells which profile is the
latest, and deletion is for good. Bodies: https://clerk.com/docs/guides/development/webhooks/overview
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, Field

from tallyframe.accounts import profiles, users
from tallyframe.accounts.identity import Identity, is_sound_subject, public_name, sound_email
from tallyframe.db import Transaction
from tallyframe.generations.end.forget import delete_user
from tallyframe.settings import Settings
from tallyframe.webhooks.base import Event, Outcome, Source, Verified
from tallyframe.webhooks.signatures import Signatures

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000 = 253_402_300_800_000  # milliseconds since 1970; Python's times end there
_CHANGES = frozenset({"user.created", "user.updated"})
_DELETION = "user.deleted"


def _subject(value: str) -> str:
    if not is_sound_subject(value):
        raise ValueError("must be 1 to 255 printable characters")
    return value


Subject = Annotated[str, AfterValidator(_subject)]


class _Envelope(BaseModel):
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


def build(settings: Settings) -> Source | None:
    """Return Clerk, if the secret of its webhook is set."""
    secrets = [secret.get_secret_value() for secret in settings.auth.clerk_webhook_secret]
    return Clerk(secrets, issuer=settings.auth.issuer, grant=settings.money.signup_credits) if secrets else None


class Clerk:
    """Clerk's webhook, signed by Svix with any of `secrets`. New users of `issuer` get `grant` credits."""

    name: ClassVar[str] = "clerk"
    types: ClassVar[frozenset[str]] = _CHANGES | {_DELETION}

    def __init__(self, secrets: Sequence[str], *, issuer: str, grant: int) -> None:
        """Raises ValueError for a secret that isn't one."""
        self._signatures = Signatures(secrets)
        self._issuer = issuer
        self._grant = grant

    def verify(self, headers: Mapping[str, str], body: bytes) -> Verified:
        """Check Svix' signature; the event's id is in its headers."""
        event_id = self._signatures.verified_id(body, headers)
        event = _Envelope.model_validate_json(body)
        subject = event.data.get("id") if isinstance(event.data, dict) and event.type in self.types else None
        return Verified(event_id, event.type, subject if is_sound_subject(subject) else None)

    async def apply(self, transaction: Transaction, event: Event) -> Outcome:
        """Sign the user up, bring the profile up to date, or delete the user."""
        decision = decide(event.sent(), self._issuer)
        match decision:
            case SignUp():
                return await _sign_up(transaction, decision, self._grant)
            case Delete(subject):
                return await _delete(transaction, self._issuer, subject)
            case None:
                return Outcome("ignored")


def decide(body: bytes, issuer: str) -> SignUp | Delete | None:
    """Return what an event asks for; None for a type that we don't use. Raises pydantic's ValidationError."""
    event = _Envelope.model_validate_json(body)
    if event.type in _CHANGES:
        user = _User.model_validate(event.data)
        name = public_name(f"{user.first_name or ''} {user.last_name or ''}") or public_name(user.username)
        identity = Identity(issuer, user.id, _email(user), name)
        return SignUp(identity, _EPOCH + timedelta(milliseconds=user.updated_at))
    return Delete(_Gone.model_validate(event.data).id) if event.type == _DELETION else None


def _email(user: _User) -> str | None:
    """The primary address, if Clerk has verified it. Who signed up with a phone number has none."""
    for address in user.email_addresses:
        verified = address.verification is not None and address.verification.status == "verified"
        if verified and address.id is not None and address.id == user.primary_email_address_id:
            return sound_email(address.email_address)
    return None


async def _sign_up(transaction: Transaction, wanted: SignUp, grant: int) -> Outcome:
    identity = wanted.identity
    try:
        user = await users.sign_up(transaction, identity, grant)
        is_news = await profiles.update(transaction, user.id, identity, wanted.updated_at)
    except users.Deleted:
        return Outcome("ignored", subject_is_gone=True)
    return Outcome("applied", [(identity.issuer, identity.subject)]) if is_news else Outcome("ignored")


async def _delete(transaction: Transaction, issuer: str, subject: str) -> Outcome:
    deleted = await delete_user(transaction, issuer, subject)
    if deleted is None:
        return Outcome("ignored", subject_is_gone=True)
    return Outcome("applied", [(issuer, subject), *deleted[1]], subject_is_gone=True)
