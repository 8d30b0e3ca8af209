"""What operators do to a running system from the command line."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa

from tallyframe.accounts import keys, users
from tallyframe.accounts.api_keys import secret_hash
from tallyframe.accounts.session_tokens import Identity
from tallyframe.accounts.tables import users as users_table
from tallyframe.accounts.users import LOCAL, User
from tallyframe.credits import whole_credits
from tallyframe.db import ADMIN_ROLE, Database, Transaction
from tallyframe.ids import new_id
from tallyframe.ledger import entries

DEV_CREDITS = 10_000
GRANTED = "granted on the command line"


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    """Open a small pool for one command; audits may take their time."""
    db = Database(url, role=ADMIN_ROLE, pool_size=2, statement_timeout=600)
    try:
        yield db
    finally:
        await db.close()


async def add_user(
    db: Database, email: str, *, admin: bool, member: bool, credits_given: int | None, signup_credits: int
) -> tuple[User, str]:
    """Make or update a user and return them with a new API key.

    A new user is granted `credits_given`, or the sign-up credits when that is None; one who is there already is
    granted `credits_given`, if any.
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
        await _set_flags(transaction, user, admin=admin, member=member)
        _, secret = await keys.make(transaction, user.id, "command line")
        changed = await users.find(transaction, identity)
    return changed or user, secret


async def _set_flags(transaction: Transaction, user: User, *, admin: bool, member: bool) -> None:
    values: dict[str, object] = {"role": "admin"} if admin else {}
    if member:
        values["is_member"] = True
    if values:
        await transaction.execute(sa.update(users_table).where(users_table.c.id == user.id).values(**values))


async def dev_keys(db: Database, data_dir: Path) -> Mapping[str, str]:
    """Return the development users' keys, kept in the data folder (0600), and make what isn't there yet."""
    path = data_dir / "keys.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    wanted = {"admin_api_key": ("admin@localhost", True), "api_key": ("dev@localhost", False)}
    for name, (email, admin) in wanted.items():
        if name in known and await keys.owner(db, secret_hash(known[name])):
            continue
        first = await _is_new(db, email)
        _, known[name] = await add_user(
            db, email, admin=admin, member=admin, credits_given=DEV_CREDITS if first else None, signup_credits=0
        )
    _write_secret(path, json.dumps(known))
    return dict(known)


async def _is_new(db: Database, email: str) -> bool:
    async with db.reading() as reader:
        return await users.find(reader, Identity(LOCAL, email, email, None)) is None


def _write_secret(path: Path, text: str) -> None:
    """Replace the file, readable by its owner only from the first byte on."""
    fresh = path.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)
