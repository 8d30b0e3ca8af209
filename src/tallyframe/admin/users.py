"""Find users: all of them, or those with a certain address, name, id or subject. And delete one."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe import pages
from tallyframe.accounts.tables import users
from tallyframe.admin.log import Action, Decision, Subject, audit_entry
from tallyframe.db import Database
from tallyframe.generations.end.forget import delete_user
from tallyframe.generations.tables import IS_LIVE, generations
from tallyframe.ledger.entries import balance_of
from tallyframe.ledger.history import account_of
from tallyframe.pages import Page, Row, Window

_COLUMNS = ("id", "issuer", "subject", "email", "display_name", "role", "is_member", "created_at", "deleted_at")


def _users() -> "sa.Select[Any]":
    mine = (generations.c.user_id == users.c.id) & IS_LIVE
    active = sa.select(sa.func.count()).select_from(generations).where(mine).scalar_subquery()
    return sa.select(
        *(users.c[name] for name in _COLUMNS),
        account_of(users.c.id).label("account_id"),
        sa.func.coalesce(balance_of(users.c.id), 0).label("available"),
        active.label("active_generations"),
    )


async def listed(db: Database, query: str | None, window: Window) -> Page:
    """Return users, newest first, deleted ones too.

    With `query`: those who have it in their address or name, in either case, or as their subject. A user's id finds
    that user. Without a query, or with an id, no more rows are looked at than are returned.
    """
    if query is None:
        return await pages.page(db, pages.Listing(users, _users()), window)
    try:
        user_id = UUID(query)
    except ValueError:
        user_id = None
    found = await one(db, user_id) if user_id else None
    if found:
        return Page([] if window.before else [found], None)
    # `icontains` and not `ilike`, so that % and _ are just characters.
    named = [users.c[name].icontains(query, autoescape=True) for name in ("email", "display_name")]
    matching = sa.or_(*named, users.c.subject == query)
    return await pages.page(db, pages.Listing(users, _users()), window, matching)


async def delete(db: Database, decision: Decision, user_id: UUID) -> list[object] | None:
    """Delete the user for good, and log it in the same transaction. None: no such user, or deleted before.

    Return the credentials that have stopped: the identity, and the hashes of the keys.
    """
    async with db.transaction() as transaction:
        query = sa.select(users.c.issuer, users.c.subject).where(users.c.id == user_id).with_for_update()
        identity = (await transaction.execute(query)).one_or_none()
        deleted = await delete_user(transaction, *identity) if identity else None
        if identity is None or deleted is None:
            return None
        act = sa.select(users.c.id).where(users.c.id == user_id).subquery("act")
        await transaction.execute(audit_entry(decision, Action.DELETE_USER, act, Subject(user_id)))
        return [tuple(identity), *deleted[1]]


async def one(db: Database, user_id: UUID) -> Row | None:
    """Return the user, deleted or not."""
    return (await db.run(_users().where(users.c.id == user_id))).mappings().one_or_none()
