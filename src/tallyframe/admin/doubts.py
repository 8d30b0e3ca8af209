"""Say what became of an order that was in doubt: the vendor has billed it (`settled`), or hasn't (`refunded`).

The user's credits don't depend on it. Whatever ended with a doubt has been refunded then; so what is said here is for
the operator's own accounts with the vendor, and moves no money. The exception is a generation that is not over yet and
only waits because of its doubt: with `refunded` it ends, and so its credits come back, in the same statement.
"""

from typing import Literal
from uuid import UUID

import sqlalchemy as sa

from tallyframe.admin.log import Action, Decision, Subject, audit_entry
from tallyframe.db import Database, with_writes
from tallyframe.generations.end import settle
from tallyframe.generations.steps.decide import IN_DOUBT
from tallyframe.generations.tables import generation_steps, generations

Outcome = Literal["settled", "refunded"]

#: A doubt that no administrator has resolved.
IS_OPEN = (generation_steps.c.state == "in_doubt") & generation_steps.c.resolution.is_(None)


def has_open_doubt() -> "sa.ColumnElement[bool]":
    """Return the condition that a generation, in an outer query, has an open doubt.

    Not as EXISTS: the planner would read all steps of all times for it, and so it reads those of each row it looks at.
    """
    mine = sa.select(sa.true()).where(generation_steps.c.generation_id == generations.c.id, IS_OPEN).limit(1)
    return sa.func.coalesce(mine.scalar_subquery(), sa.false())


async def resolve(db: Database, decision: Decision, generation_id: UUID, outcome: Outcome, *, fence: int) -> bool:
    """Close the open doubts of a generation, which must have ended, or end with that.

    A generation ends with it if it only waits because of its doubt, nobody has run it since `fence` was read, and the
    vendor has billed nothing: then its credits come back. False: nothing was changed.
    """

    def also(row: sa.FromClause) -> list[sa.Insert | sa.Update]:
        return [_close(row, outcome), _line(decision, row, outcome)]

    if outcome == "refunded" and await settle.give_up(db, generation_id, fence, IN_DOUBT, also):
        return True
    this = (generations.c.id == generation_id) & generations.c.finished_at.is_not(None)
    # Locked, so that two who close several doubts at once don't wait for each other crosswise.
    row = sa.select(generations.c.id, generations.c.user_id).where(this).with_for_update(key_share=True).cte("ended")
    closed = _close(row, outcome).returning(generation_steps.c.generation_id).cte("closed")
    resolved = sa.select(row).where(sa.exists().where(closed.c.generation_id == row.c.id)).cte("resolved")
    statement = with_writes(sa.select(resolved.c.id), _line(decision, resolved, outcome))
    return (await db.run(statement)).one_or_none() is not None


def _close(row: sa.FromClause, outcome: Outcome) -> sa.Update:
    mine = generation_steps.c.generation_id == sa.select(row.c.id).scalar_subquery()
    return sa.update(generation_steps).where(mine, IS_OPEN).values(resolution=outcome)


def _line(decision: Decision, row: sa.FromClause, outcome: Outcome) -> sa.Insert:
    return audit_entry(decision, Action.RESOLVE, row, Subject(row.c.user_id, row.c.id), {"outcome": outcome})
