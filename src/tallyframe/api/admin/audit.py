"""Whether what must always be true is true, as the auditor has last found it."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from tallyframe.api.dependencies import SystemServices, administrator
from tallyframe.api.routes import SignedInFirst
from tallyframe.audit import rows
from tallyframe.audit.base import MOST, Invariant
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.audit.rows import Checked

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(administrator)], route_class=SignedInFirst)


class AuditExample(BaseModel):
    """One violation: the id of what is wrong, and what is wrong with it."""

    subject: str
    detail: str


class AuditCheck(BaseModel):
    """The latest check; what it has found is null if there has been none yet."""

    name: str
    meaning: str
    checked_at: datetime | None
    milliseconds: int | None = Field(description="What the check took, without its waits.")
    checked: int | None = Field(description="Things looked at; of files, how far the walk through all has come.")
    is_overdue: bool = Field(description="It should have been checked again long ago, or has never been.")
    examples: list[AuditExample] = Field(description=f"The first {MOST}.")


class AuditInvariant(AuditCheck):
    """Something that must always be true."""

    violations: int | None


class AuditCount(AuditCheck):
    """A count that operators want to see, although it is no violation."""

    count: int | None


class Audit(BaseModel):
    """What the auditor has found."""

    is_well: bool = Field(description="Every invariant was checked lately, and holds.")
    invariants: list[AuditInvariant]
    counts: list[AuditCount]


@router.get("/audit")
async def read_audit(serving: SystemServices) -> Audit:
    """Return every invariant with what its latest check has found."""
    async with serving.office.reading() as reader:
        latest = await rows.read(reader)
    interval = serving.settings.audit.interval
    invariants, counts = list[AuditInvariant](), list[AuditCount]()
    for rule in INVARIANTS:
        checked = latest.get(rule.name)
        found = checked.finding.violations if checked else None
        if rule.is_counted:
            counts.append(AuditCount(**_shown(rule, checked, interval), count=found))
        else:
            invariants.append(AuditInvariant(**_shown(rule, checked, interval), violations=found))
    is_well = all(each.violations == 0 and not each.is_overdue for each in invariants)
    return Audit(is_well=is_well, invariants=invariants, counts=counts)


def _shown(rule: Invariant, checked: Checked | None, interval: float) -> dict[str, Any]:
    examples = checked.finding.examples[:MOST] if checked else ()
    return {
        "name": rule.name,
        "meaning": rule.meaning,
        "checked_at": checked and checked.at,
        "milliseconds": checked and checked.milliseconds,
        "checked": checked and checked.finding.checked,
        "is_overdue": rows.is_overdue(rule, checked, interval),
        "examples": [AuditExample(subject=example.subject, detail=example.detail) for example in examples],
    }
