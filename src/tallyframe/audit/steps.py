"""Orders at vendors, of generations that have ended: those that no worker will withdraw, and those in doubt."""

import sqlalchemy as sa

from tallyframe.audit.base import Finding, Invariant, View
from tallyframe.audit.looking import ago, counted, look, look_again, words
from tallyframe.generations.end.sweep import IS_OPEN, UNDER_WAY
from tallyframe.generations.tables import WITHDRAW, generation_steps, generations
from tallyframe.outbox.rows import not_queued
from tallyframe.outbox.tables import outbox

#: A call that was rung so often, for so many seconds, is one that nobody can answer: withdrawing gives up earlier.
MOST_RINGS = 30
LONGEST = 24 * 3600.0

_step = generation_steps.c


class NoOrderIsForgotten(Invariant):
    """A step whose vendor may still be at work, or have a result, and which no outbox row will have withdrawn."""

    name = "no_forgotten_order"
    meaning = "No ended generation has an order at a vendor that nobody withdraws or books as a doubt."

    async def check(self, view: View) -> Finding:
        """Look, leaving sweeper and workers their time."""
        ended = generations.c.finished_at
        unheard = (outbox.c.kind == WITHDRAW) & (outbox.c.ref == generations.c.id) & (outbox.c.rings > MOST_RINGS)
        alone = not_queued(WITHDRAW, generations.c.id) | ((ended < ago(LONGEST)) & sa.exists().where(unheard))
        detail = words("%s at %s, ended at %s", sa.func.min(_step.state), sa.func.min(_step.provider), ended)
        both = generation_steps.join(generations, generations.c.id == _step.generation_id)
        late = IS_OPEN & (ended < ago(UNDER_WAY + view.limits.patience)) & alone
        forgotten = sa.select(generations.c.id, detail).select_from(both).where(late).group_by(generations.c.id)
        return await look_again(view, counted(generation_steps, IS_OPEN), forgotten)


class StepsAreBoughtOnce(Invariant):
    """A step that was ordered again although a try before may have been delivered, or may still be."""

    name = "steps_are_bought_once"
    meaning = "No step has a try after one that is done, has a ticket, or is in doubt for good."

    async def check(self, view: View) -> Finding:
        """Look; from later tries to earlier ones, because there are few of them."""
        later, before = generation_steps.alias("later"), generation_steps.alias("before")
        same = (before.c.generation_id == later.c.generation_id) & (before.c.name == later.c.name)
        # A doubt that isn't final is of a provider that may be asked again.
        over = (before.c.state == "failed") | ((before.c.state == "in_doubt") & ~before.c.is_final)
        may_stand = (before.c.attempt < later.c.attempt) & ~over
        detail = words("%s, try %s at %s after one that may stand", later.c.name, later.c.attempt, later.c.provider)
        again = later.c.attempt > 1
        query = sa.select(later.c.generation_id, detail).where(again, sa.exists().where(same & may_stand))
        return await look(view, counted(generation_steps), query)


class Doubts(Invariant):
    """Orders of which nobody knows what became of them, until an administrator has found it out."""

    name = "in_doubt"
    meaning = "Orders in doubt that nobody has resolved: a vendor may have billed them, though nothing came of them."
    is_counted = True

    async def check(self, view: View) -> Finding:
        """Count them."""
        in_doubt = _step.state == "in_doubt"
        detail = words("%s, attempt %s, at %s", _step.name, _step.attempt, _step.provider)
        unresolved = sa.select(_step.generation_id, detail).where(in_doubt, _step.resolution.is_(None))
        return await look(view, counted(generation_steps, in_doubt), unresolved)
