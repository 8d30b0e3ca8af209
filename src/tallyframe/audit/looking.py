"""How a check looks: once, where one query tells all, or again and again, where a sweep may be at work."""

from asyncio import sleep
from typing import Any

import sqlalchemy as sa

from tallyframe.audit.base import MOST, Example, Finding, View

#: Waits of one check at most. The four invariants that wait then take 16 minutes together, so that no other one gets
#: overdue behind them.
MOST_WAITS = 4

#: A query for (subject, detail) of whatever breaks an invariant.
Offenders = sa.Select[Any, Any]


async def look(view: View, about: "sa.Select[int]", offenders: Offenders) -> Finding:
    """Count the rows that the invariant is about, and find what breaks it: by one query, so as of one moment."""
    checked = (await view.reader.execute(about)).scalar_one()
    wrong = offenders.subquery("wrong")
    subject, detail = (sa.cast(column, sa.Text) for column in wrong.c)
    query = sa.select(subject, detail, sa.func.count().over()).order_by(subject, detail).limit(MOST)
    rows = (await view.reader.execute(query)).all()
    return Finding(checked, rows[0][2] if rows else 0, [Example(row[0], row[1]) for row in rows])


async def look_again(view: View, about: "sa.Select[int]", offenders: Offenders) -> Finding:
    """Do the same for what a sweep puts right: a violation is only what every look has found.

    The looks go on while a sweep makes progress: it does only so much at once, and after an outage there may be much to
    be done. If the last look still sees progress, of what is left only those count that the last check has named, too.
    """
    checked = (await view.reader.execute(about)).scalar_one()
    found = await _all(view, offenders)
    for _ in range(MOST_WAITS):
        if not found:
            break
        with view.watch.standing_still():  # it costs the database nothing, so it must not make the check a rare one
            await sleep(view.limits.patience)
        now, before = await _all(view, offenders), len(found)
        found = {subject: now[subject] for subject in found.keys() & now.keys()}
        if len(found) == before:
            break
    else:
        named = {example.subject for example in view.last.examples} if view.last else set[str]()
        found = {subject: found[subject] for subject in found.keys() & named}
    examples = [Example(subject, found[subject]) for subject in sorted(found)]
    return Finding(checked, len(found), examples[:MOST])


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
