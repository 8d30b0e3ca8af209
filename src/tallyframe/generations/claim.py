"""A claim on a generation, and the conditions that every write of its run asks for.

Each claim raises `fence`, and every write requires the fence of its claim. So a worker that has lost its lease changes
nothing any more. All times are by the database's clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.generations.states import Status
from tallyframe.generations.tables import generations
from tallyframe.projects.tables import changed, projects

#: Further writes in the statement of a move. They take their rows from the row that it changes, which has an `id`.
ExtraWrites = Callable[[sa.FromClause], Sequence[sa.Insert | sa.Update]]


def no_writes(_: sa.FromClause) -> Sequence[sa.Insert]:
    """Return no further writes."""
    return ()


class ClaimLost(Exception):
    """The generation has been taken over, canceled or expired; what this worker does no longer counts."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A generation that this worker runs now.

    `attempt` counts the tries of the whole generation from 1; `retries` are those of them that followed a failure.
    """

    id: UUID
    user_id: UUID
    operation: str
    input: dict[str, Any]
    fence: int
    attempt: int
    retries: int


#: The condition that a claim still holds its generation: the parameters `claim_id` and `claim_fence` say which.
HELD = sa.and_(
    generations.c.id == sa.bindparam("claim_id", type_=sa.Uuid()),
    generations.c.fence == sa.bindparam("claim_fence", type_=sa.Integer()),
    generations.c.status == Status.PROCESSING,
    generations.c.lease_until.is_not(None),
)


def unheld() -> "sa.ColumnElement[bool]":
    """Return the condition that no worker holds the generation."""
    return sa.or_(generations.c.lease_until.is_(None), generations.c.lease_until < sa.func.now())


def bump_project(generation: sa.CTE) -> sa.Update:
    """Return the update that lets pollers of its project, if it has one, see that the generation has changed."""
    mine = projects.c.id == sa.select(generation.c.project_id).scalar_subquery()
    return sa.update(projects).where(mine).values(**changed())
