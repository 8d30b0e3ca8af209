"""What administrators have done."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from tallyframe.admin import log
from tallyframe.api import cursors
from tallyframe.api.admin.schemas import AskedLog, Log, LogLine, Person
from tallyframe.api.services import SystemServices, administrator

router = APIRouter(prefix="/v1/admin/log", tags=["admin"], dependencies=[Depends(administrator)])


@router.get("")
async def list_log(serving: SystemServices, asked: Annotated[AskedLog, Query()]) -> Log:
    """Return who did what to whom, why and when, newest first."""
    wanted = log.Filter(**{name: getattr(asked, name) for name in log.Filter.__dataclass_fields__})
    before = cursors.decode(asked.cursor, UUID)
    rows = await log.listed(serving.system, wanted, before=before[0] if before else None, limit=asked.limit + 1)
    next_cursor = cursors.encode(str(rows[asked.limit - 1]["id"])) if len(rows) > asked.limit else None
    return Log(data=[_line(row) for row in rows[: asked.limit]], next_cursor=next_cursor)


def _line(row: log.Row) -> LogLine:
    admin = Person(id=row["admin_id"], email=row["admin_email"])
    user = Person(id=row["user_id"], email=row["user_email"])
    names = ("id", "action", "generation_id", "reason", "details", "created_at")
    return LogLine(admin=admin, user=user, **{name: row[name] for name in names})
