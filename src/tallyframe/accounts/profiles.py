"""Later news from an issuer about its users: a new address or name, or a deletion."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.accounts.identity import Identity, public_name
from tallyframe.accounts.tables import users
from tallyframe.accounts.users import Deleted, neutral_name
from tallyframe.db import Transaction
from tallyframe.ids import new_id


async def update(transaction: Transaction, user_id: UUID, identity: Identity, at: datetime) -> bool:
    """Give the user the address and name that the issuer had at that time.

    False: nothing was changed, because news as new or newer are kept already. Raises Deleted for somebody who has been
    deleted. A deletion and this wait for each other, also where nothing is changed: what comes later finds all that the
    other has done.
    """
    alive = sa.select(users.c.id).where(users.c.id == user_id, users.c.deleted_at.is_(None))
    if (await transaction.execute(alive.with_for_update(key_share=True))).one_or_none() is None:
        raise Deleted
    display_name = public_name(identity.name) or neutral_name(user_id)
    is_news = users.c.profile_updated_at.is_(None) | (users.c.profile_updated_at < at)
    change = sa.update(users).where(users.c.id == user_id, is_news)
    values = {"email": identity.email, "display_name": display_name, "profile_updated_at": at}
    return (await transaction.execute(change.values(**values).returning(users.c.id))).one_or_none() is not None


async def delete_user(transaction: Transaction, issuer: str, subject: str) -> UUID | None:
    """Delete the user for good and return the id; None: the user has been deleted before.

    The row stays, without address and name. A user who isn't known yet gets such a row too, without account and grant:
    earlier news may arrive later, and must not sign them up.
    """
    user_id = new_id()
    row = {"id": user_id, "issuer": issuer, "subject": subject, "display_name": neutral_name(user_id)}
    insert = postgresql.insert(users).values(**row, deleted_at=sa.func.clock_timestamp())
    gone = {"deleted_at": insert.excluded.deleted_at, "email": None, "profile_updated_at": None}
    alive = users.c.deleted_at.is_(None)
    upsert = insert.on_conflict_do_update(index_elements=["issuer", "subject"], set_=gone, where=alive)
    deleted_id: UUID | None = (await transaction.execute(upsert.returning(users.c.id))).scalar_one_or_none()
    if deleted_id is not None and deleted_id != user_id:
        unnamed = sa.update(users).where(users.c.id == deleted_id).values(display_name=neutral_name(deleted_id))
        await transaction.execute(unnamed)
    return deleted_id
