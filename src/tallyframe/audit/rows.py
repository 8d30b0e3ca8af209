"""What the latest check of each invariant has found: one row per invariant."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.audit.base import Example, Finding, Invariant
from tallyframe.audit.tables import audits
from tallyframe.db import Database, Reader

#: A check may take a twentieth of the time: one that takes a minute comes every 20 minutes at most.
SHARE = 20
#: A check is overdue when it could have been made so many times since the last one.
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
    latest = dict[str, Checked]()
    for row in (await reader.execute(sa.select(audits, age.label("age")))).all():
        examples = [Example(each["subject"], each["detail"]) for each in row.examples]
        finding = Finding(row.checked, row.violations, examples)
        latest[row.name] = Checked(row.checked_at, float(row.age), row.milliseconds, finding)
    return latest


async def write(db: Database, name: str, finding: Finding, *, milliseconds: int) -> None:
    """Keep what a check has found, instead of what it found before."""
    values = {
        "checked_at": sa.func.clock_timestamp(),
        "milliseconds": milliseconds,
        "checked": finding.checked,
        "violations": finding.violations,
        "examples": [asdict(example) for example in finding.examples],
    }
    insert = postgresql.insert(audits).values(name=name, **values)
    await db.run(insert.on_conflict_do_update(index_elements=["name"], set_=values))


def pause(invariant: Invariant, interval: float, took: float) -> float:
    """Return the seconds from one check of the invariant to the next, if the last one took so many seconds."""
    return max(interval, invariant.every, took * SHARE)


def is_due(invariant: Invariant, checked: Checked | None, interval: float) -> bool:
    """Tell whether it is time for the next check."""
    return checked is None or checked.age >= pause(invariant, interval, checked.milliseconds / 1000)


def is_overdue(invariant: Invariant, checked: Checked | None, interval: float) -> bool:
    """Tell whether a check should have been made long ago: the next one, or even the first."""
    return checked is None or checked.age > MISSED * pause(invariant, interval, checked.milliseconds / 1000)
