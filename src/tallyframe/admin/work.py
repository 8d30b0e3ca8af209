"""Cancel, wake, order again: what the state machine does for everybody, and a line in the log, in one statement."""

from uuid import UUID

import sqlalchemy as sa

from tallyframe.admin.log import Action, Decision, Subject, line
from tallyframe.db import Database
from tallyframe.generations import lease, settle
from tallyframe.generations.submit import Accepted, Order, submit_instead
from tallyframe.ids import new_id

CANCELED = "This was canceled by an administrator. Your credits are back."


async def cancel(db: Database, decision: Decision, generation_id: UUID) -> bool:
    """End the generation as canceled and give the credits back. False: it has already ended."""
    return await settle.cancel(db, generation_id, CANCELED, lambda row: [_of(decision, Action.CANCEL, row)])


async def wake(db: Database, decision: Decision, generation_id: UUID) -> bool:
    """Have a generation that waits looked at now. False: it is being run, or has ended."""
    return await lease.wake(db, generation_id, lambda row: [_of(decision, Action.WAKE, row)])


async def order_again(
    db: Database, decision: Decision, ended_id: UUID, order: Order, project_id: UUID
) -> Accepted | None:
    """Place the order of an ended generation again, as a new one that is paid; as `submit_instead` has it."""
    accepted = Accepted(project_id, new_id())
    subject, details = Subject(order.user_id, ended_id), {"generation_id": str(accepted.generation_id)}
    return await submit_instead(
        db, order, accepted, ended_id, lambda row: [line(decision, Action.ORDER_AGAIN, row, subject, details)]
    )


def _of(decision: Decision, action: Action, row: sa.FromClause) -> sa.Insert:
    return line(decision, action, row, Subject(row.c.user_id, row.c.id))
