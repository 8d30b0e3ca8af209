"""What the latest check of each invariant has found: one row per invariant."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.audit.base import Example, Finding, Invariant, as_json
from tallyframe.audit.tables import audits
from tallyframe.db import Database, Reader

#: A check that takes long comes less often: it may take one part in so many of the time.
SHARE = 20
#: Times that it may be due again before somebody should ask why it isn't checked.
MISSED = 3


@dataclass(frozen=True, slots=True)
class Checked:
    """The latest check of an invariant; `age` is in seconds, by the database's clock."""

    at: datetime
    age: float
    milliseconds: int
    finding: Finding


async def read(reader: Reader) -> Mapping[str, Checked]:
    """Return the latest checks by the names of their invariants."""
    age = sa.func.extract("epoch", sa.func.clock_timestamp() - audits.c.checked_at)
    return {row.name: _checked(row) for row in (await reader.execute(sa.select(audits, age.label("age")))).all()}


def _checked(row: "sa.Row[*tuple[Any, ...]]") -> Checked:
    examples = [Example(each["subject"], each["detail"]) for each in row.examples]
    finding = Finding(row.checked, row.violations, examples)
    return Checked(row.checked_at, float(row.age), row.milliseconds, finding)


async def write(db: Database, name: str, finding: Finding, *, milliseconds: int) -> None:
    """Keep what a check has found, in the place of what it found before."""
    values = {
        "checked_at": sa.func.clock_timestamp(),
        "milliseconds": milliseconds,
        "checked": finding.checked,
        "violations": finding.violations,
        "examples": as_json(finding.examples),
    }
    insert = postgresql.insert(audits).values(name=name, **values)
    await db.run(insert.on_conflict_do_update(index_elements=["name"], set_=values))


def pause(invariant: Invariant, interval: float, took: float) -> float:
    """Return the seconds between two checks of the invariant, of which the last took so many seconds."""
    return max(interval, invariant.every, took * SHARE)


def is_due(invariant: Invariant, checked: Checked | None, interval: float) -> bool:
    """Tell whether it is time for the next check."""
    return checked is None or checked.age >= pause(invariant, interval, checked.milliseconds / 1000)


def is_overdue(invariant: Invariant, checked: Checked | None, interval: float) -> bool:
    """Tell whether the next check should have been made long ago, or the first one hasn't been."""
    return checked is None or checked.age > MISSED * pause(invariant, interval, checked.milliseconds / 1000)
