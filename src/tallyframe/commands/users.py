"""Users that are made on the command line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from tallyframe.accounts import keys, users
from tallyframe.accounts.session_tokens import Identity
from tallyframe.accounts.tables import users as users_table
from tallyframe.accounts.users import LOCAL, User
from tallyframe.credits import whole_credits
from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.ids import new_id
from tallyframe.ledger import entries

GRANTED = "granted on the command line"


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    """Open a small pool of connections for one command, whose statements may take ten minutes: audits read all."""
    db = Database(url, role=ADMIN_ROLE, pool_size=2, statement_timeout=600)
    try:
        yield db
    finally:
        await db.close()


async def add_user(
    db: Database, email: str, *, admin: bool, member: bool, credits_given: int | None, signup_credits: int
) -> tuple[User, str]:
    """Make or update a user and return them with a new API key.

    `credits_given` are granted. If that is None, a new user gets the sign-up credits, and another one nothing. `admin`
    and `member` are only ever set, and never taken away.
    """
    identity = Identity(LOCAL, email.lower(), email.lower(), None)
    async with db.transaction() as transaction:
        known = await users.find(transaction, identity)
        user = known or await users.sign_up(transaction, identity, 0)
        amount = credits_given if credits_given is not None else 0 if known else signup_credits
        if amount:
            given = whole_credits(amount)
            reference = f"command-line:{new_id()}"
            await entries.grant(transaction, user.account_id, given, reference=reference, reason=GRANTED)
        values: dict[str, object] = ({"role": "admin"} if admin else {}) | ({"is_member": True} if member else {})
        if values:
            await transaction.execute(sa.update(users_table).where(users_table.c.id == user.id).values(**values))
        _, secret = await keys.make(transaction, user.id, "command line")
        changed = await users.find(transaction, identity)
    return changed or user, secret
