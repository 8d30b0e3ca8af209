"""Cancel, wake, order again: what the state machine does for everybody, and a line in the log, in one statement."""

from uuid import UUID

import sqlalchemy as sa

from tallyframe.admin.log import Action, Decision, Subject, audit_entry
from tallyframe.db import Database
from tallyframe.generations.accept.order import Accepted, Order
from tallyframe.generations.accept.submit import submit_instead
from tallyframe.generations.end import settle
from tallyframe.generations.run import lease
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Key
from tallyframe.ids import new_id

CANCELED = "This was canceled by an administrator. Your credits are back."


async def cancel(db: Database, decision: Decision, generation_id: UUID) -> bool:
    """End the generation as canceled and give the credits back. False: it has already ended."""
    return await settle.cancel(db, generation_id, CANCELED, lambda row: [_of(decision, Action.CANCEL, row)])


async def wake(db: Database, decision: Decision, generation_id: UUID, key: Key | None = None) -> bool:
    """Have a generation that waits looked at now; keep the key of the request. False: it is being run, or has ended.

    Raises RequestInProgress where the key is taken.
    """

    def also(row: sa.FromClause) -> list[sa.Insert]:
        return [_of(decision, Action.WAKE, row), *_kept(row, key, generation_id)]

    with keys.in_progress_when_taken():
        return await lease.wake(db, generation_id, also)


async def order_again(
    db: Database, decision: Decision, ended_id: UUID, order: Order, project_id: UUID | None, key: Key | None = None
) -> Accepted | None:
    """Place the order of an ended generation again, as a new one that is paid; as `submit_instead` has it.

    The key of the request is kept with the new one. Raises RequestInProgress where it is taken.
    """
    accepted = Accepted(project_id, new_id())
    subject, details = Subject(order.user_id, ended_id), {"generation_id": str(accepted.generation_id)}

    def also(row: sa.FromClause) -> list[sa.Insert]:
        log = audit_entry(decision, Action.ORDER_AGAIN, row, subject, details)
        return [log, *_kept(row, key, accepted.generation_id)]

    return await submit_instead(db, order, accepted, ended_id, also)


def _kept(act: sa.FromClause, key: Key | None, ref: UUID) -> list[sa.Insert]:
    return [keys.keep_with(act, key, ref)] if key else []


def _of(decision: Decision, action: Action, row: sa.FromClause) -> sa.Insert:
    return audit_entry(decision, action, row, Subject(row.c.user_id, row.c.id))
