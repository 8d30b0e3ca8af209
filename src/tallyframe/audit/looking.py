"""Looking once at what one query can tell, and again and again at what may be just under way."""

from asyncio import sleep
from typing import Any

import sqlalchemy as sa

from tallyframe.audit.base import MOST, Example, Finding, View

#: Times that is waited, while there is progress. All invariants that wait (three) then take 12 minutes together: no
#: other one gets overdue behind them.
MOST_WAITS = 4

#: A query of (subject, detail): the things that break an invariant.
Offenders = sa.Select[Any, Any]


async def look(view: View, about: "sa.Select[int]", offenders: Offenders) -> Finding:
    """Count what the invariant is about, and what breaks it: one query, and so one state of the database."""
    checked = (await view.reader.execute(about)).scalar_one()
    wrong = offenders.subquery("wrong")
    subject, detail = (sa.cast(column, sa.Text) for column in wrong.c)
    query = sa.select(subject, detail, sa.func.count().over()).order_by(subject, detail).limit(MOST)
    rows = (await view.reader.execute(query)).all()
    return Finding(checked, rows[0][2] if rows else 0, [Example(row[0], row[1]) for row in rows])


async def look_again(view: View, about: "sa.Select[int]", offenders: Offenders) -> Finding:
    """The same, for what is put right by a sweep: only what all looks have found counts.

    It is looked again while there is progress, because a sweep does only so much at once, and after an outage there may
    be much to be done. If there still is some after the last look, the rest is the next check's: of what is left, only
    what has been a violation before stays one.
    """
    checked = (await view.reader.execute(about)).scalar_one()
    found = await _all(view, offenders)
    for _ in range(MOST_WAITS):
        before, found = found, await _still(view, offenders, found)
        if len(found) == len(before):
            break
    else:
        found = _known(view, found)
    examples = [Example(subject, found[subject]) for subject in sorted(found)]
    return Finding(checked, len(found), examples[:MOST])


async def _still(view: View, offenders: Offenders, found: dict[str, str]) -> dict[str, str]:
    """Return what is left of `found` after a while."""
    if not found:
        return found
    with view.watch.standing_still():  # it costs the database nothing, so it must not make the check a rare one
        await sleep(view.limits.patience)
    now = await _all(view, offenders)
    return {subject: now[subject] for subject in found.keys() & now.keys()}


def _known(view: View, found: dict[str, str]) -> dict[str, str]:
    """Return what the latest check has named as well."""
    named = {example.subject for example in view.last.examples} if view.last else set[str]()
    return {subject: found[subject] for subject in found.keys() & named}


async def _all(view: View, offenders: Offenders) -> dict[str, str]:
    return {str(row[0]): row[1] for row in (await view.reader.execute(offenders)).all()}


def counted(table: sa.FromClause, *conditions: "sa.ColumnElement[bool]") -> "sa.Select[int]":
    """Return the query for how many rows there are."""
    return sa.select(sa.func.count()).select_from(table).where(*conditions)


def ago(seconds: float) -> "sa.ColumnElement[Any]":
    """Return the time so many seconds ago, by the database's clock."""
    return sa.func.now() - sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds, type_=sa.Interval())


def words(template: str, *values: Any) -> "sa.ColumnElement[str]":  # noqa: ANN401  # columns and constants
    """Return a sentence, with the values in the place of each %s."""
    return sa.func.format(template, *values, type_=sa.Text())
