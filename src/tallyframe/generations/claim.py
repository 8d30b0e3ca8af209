"""A claim on a generation, and the conditions that every write of its run asks for.

Each claim raises `fence`, and every write asks for the same fence. So a worker that lost its lease, for whatever
reason, changes nothing any more. Time is the database's.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.generations.states import Status
from tallyframe.generations.tables import generations
from tallyframe.projects.tables import changed, projects


@dataclass(frozen=True, slots=True)
class Claim:
    """A generation that this worker runs now."""

    id: UUID
    user_id: UUID
    operation: str
    input: dict[str, Any]
    fence: int
    attempt: int
    retries: int


def held(claim: Claim) -> "sa.ColumnElement[bool]":
    """Return the condition that this very claim still holds its generation."""
    row = generations.c
    running = sa.and_(row.status == Status.PROCESSING, row.lease_until.is_not(None))
    return sa.and_(row.id == claim.id, row.fence == claim.fence, running)


def unheld() -> "sa.ColumnElement[bool]":
    """Return the condition that no worker holds the generation."""
    return sa.or_(generations.c.lease_until.is_(None), generations.c.lease_until < sa.func.now())


def is_latest(generation: sa.CTE) -> "tuple[sa.ColumnElement[bool], ...]":
    """Return the condition that a project shows the generation; found by its own id, the only one that has an index."""
    latest = projects.c.generation_id == sa.select(generation.c.id).scalar_subquery()
    return projects.c.id == sa.select(generation.c.project_id).scalar_subquery(), latest


def bump_project(generation: sa.CTE) -> sa.Update:
    """Return the update that lets pollers see that the generation's receipt has changed."""
    return sa.update(projects).where(*is_latest(generation)).values(**changed())
