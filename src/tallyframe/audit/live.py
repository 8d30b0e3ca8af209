"""Generations that are under way: somebody has each, or will be woken for it, and none is so for too long."""

import sqlalchemy as sa

from tallyframe.audit.base import Finding, Invariant, View
from tallyframe.audit.looking import Offenders, ago, counted, look, look_again, words
from tallyframe.generations.tables import IS_LIVE, generations
from tallyframe.outbox.rows import not_queued
from tallyframe.outbox.tables import RUN_GENERATION

#: Seconds beyond what a lease may be: the settings of workers may differ while they are being changed.
MARGIN = 3600.0

_row = generations.c
_LIVE = counted(generations, IS_LIVE)


class NobodyIsStranded(Invariant):
    """A live generation without a valid lease and without an outbox row, which the sweeper hasn't found either."""

    name = "no_stranded_generation"
    meaning = "Each live generation is run by a worker, or there is a call that will wake one for it."

    async def check(self, view: View) -> Finding:
        """Look, leaving the sweeper its time."""
        unheld = sa.or_(_row.lease_until.is_(None), _row.lease_until < ago(view.limits.patience))
        stranded = sa.and_(IS_LIVE, unheld, not_queued(RUN_GENERATION, _row.id))
        detail = words("%s, lease until %s, and nobody would be woken", _row.status, _row.lease_until)
        return await look_again(view, _LIVE, sa.select(_row.id, detail).where(stranded))


class LeasesEnd(Invariant):
    """A lease that no worker can have taken: its generation would wait for its end."""

    name = "no_endless_lease"
    meaning = "No worker has a generation for longer than a lease may be."

    async def check(self, view: View) -> Finding:
        """Look."""
        longest = view.limits.lease_seconds + MARGIN
        endless = sa.select(_row.id, words("lease until %s, worker %s", _row.lease_until, _row.worker))
        query = endless.where(IS_LIVE, _row.lease_until > ago(-longest))
        return await look(view, counted(generations, IS_LIVE, _row.lease_until.is_not(None)), query)


class NobodyIsOverdue(Invariant):
    """A live generation past its maximum age, which the sweeper hasn't ended."""

    name = "no_overdue_generation"
    meaning = "No generation is live past its maximum age."

    async def check(self, view: View) -> Finding:
        """Look, leaving the sweeper its time."""
        overdue = sa.select(_row.id, words("%s, should have ended at %s", _row.status, _row.expires_at))
        return await look_again(view, _LIVE, overdue.where(IS_LIVE, _row.expires_at < ago(view.limits.patience)))


class OneAtATime(Invariant):
    """Two live generations in one slot of a project."""

    name = "one_generation_at_a_time"
    meaning = "No slot of a project has two live generations."

    async def check(self, view: View) -> Finding:
        """Look."""
        detail = words("project of %s live generations", sa.func.count())
        in_slots = IS_LIVE & _row.project_id.is_not(None)
        several: Offenders = sa.select(_row.project_id, detail).where(in_slots).group_by(_row.project_id, _row.slot)
        return await look(view, _LIVE, several.having(sa.func.count() > 1))
