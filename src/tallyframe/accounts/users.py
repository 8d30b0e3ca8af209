"""Users: made once, on first sight or by the command line, each with an account and a sign-up grant."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.accounts.identity import Identity, public_name
from tallyframe.accounts.tables import users
from tallyframe.credits import Credits
from tallyframe.db import Database, Reader, Transaction
from tallyframe.errors import Unauthenticated
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.ledger.history import account_of

LOCAL = "local"  # the issuer of users added by the command line


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who can sign in, and has not been deleted."""

    id: UUID
    account_id: UUID
    email: str | None
    display_name: str
    role: str
    is_member: bool
    created_at: datetime


class Deleted(Unauthenticated):
    """This user has been deleted."""


#: The query for users who have not been deleted, in the order of `User`'s fields.
SELECT_USER = sa.select(
    users.c.id,
    account_of(users.c.id).label("account_id"),
    *(users.c[name] for name in ("email", "display_name", "role", "is_member", "created_at")),
).where(users.c.deleted_at.is_(None))


async def find(reader: Reader | Transaction, identity: Identity) -> User | None:
    """Return the user with this identity, if there is one."""
    query = SELECT_USER.where(users.c.issuer == identity.issuer, users.c.subject == identity.subject)
    row = (await reader.execute(query)).one_or_none()
    return User(*row) if row else None


async def find_or_sign_up(db: Database, identity: Identity, grant: int) -> User:
    """Return the user; on first sight make user, account and sign-up grant, exactly once however many ask at once.

    Raises Deleted for somebody who has been deleted.
    """
    async with db.reading() as reader:
        user = await find(reader, identity)
    if user:
        return user
    async with db.transaction() as transaction:
        return await sign_up(transaction, identity, grant)


async def sign_up(transaction: Transaction, identity: Identity, grant: int) -> User:
    """Make the user unless somebody else just has, with an account and `grant` credits; return it either way.

    Raises Deleted for somebody who has been deleted.
    """
    user_id = new_id()
    row = {"id": user_id, "issuer": identity.issuer, "subject": identity.subject, "email": identity.email}
    display_name = public_name(identity.name) or neutral_name(user_id)
    insert = postgresql.insert(users).values(**row, display_name=display_name)
    # A twin waits here until the first has committed, and then inserts nothing.
    made = await transaction.execute(insert.on_conflict_do_nothing().returning(users.c.id))
    if made.one_or_none():
        account_id = await entries.open_account(transaction, user_id)
        if grant:
            await entries.grant(transaction, account_id, Credits(grant), reference=f"sign-up:{user_id}")
    user = await find(transaction, identity)
    if user is None:
        raise Deleted
    return user


def neutral_name(user_id: UUID) -> str:
    """Return what is shown of a user who has no name."""
    return f"Creator {str(user_id)[-4:]}"
