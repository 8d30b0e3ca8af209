"""What administrators have done."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from tallyframe.admin import log
from tallyframe.admin.log import Action
from tallyframe.api import cursors
from tallyframe.api.admin.schemas import Cursor, Limit
from tallyframe.api.dependencies import SystemServices, administrator
from tallyframe.api.routes import SignedInFirst
from tallyframe.operations.fields import Fields

router = APIRouter(
    prefix="/v1/admin/log", tags=["admin"], dependencies=[Depends(administrator)], route_class=SignedInFirst
)


class AskedLog(Fields):
    """Which lines of the log to show."""

    user_id: UUID | None = Field(None, description="To whom it was done.")
    generation_id: UUID | None = None
    admin_id: UUID | None = Field(None, description="Who did it.")
    action: Action | None = None
    cursor: Cursor = None
    limit: Limit = 20


class Person(BaseModel):
    """Somebody, with the address that they have now."""

    id: UUID
    email: str | None


class LogLine(BaseModel):
    """Who did what to whom, why and when."""

    id: UUID
    admin: Person
    action: Action
    user: Person | None = Field(description="Null where it was done to no user.")
    generation_id: UUID | None
    reason: str
    details: dict[str, Any]
    created_at: datetime


class Log(BaseModel):
    """One page of the log, newest first."""

    data: list[LogLine]
    next_cursor: str | None


@router.get("")
async def list_log(serving: SystemServices, asked: Annotated[AskedLog, Query()]) -> Log:
    """Return who did what to whom, why and when, newest first."""
    wanted = log.Filter(**{name: getattr(asked, name) for name in log.Filter.__dataclass_fields__})
    (before,) = cursors.decode(asked.cursor, UUID) or (None,)
    rows = await serving.listed.read(partial(log.listed, wanted=wanted, before=before, limit=asked.limit + 1))
    page, next_cursor = cursors.cut(rows, asked.limit, cursors.by_id)
    names = ("id", "action", "generation_id", "reason", "details", "created_at")
    data = [
        LogLine(
            admin=Person(id=row["admin_id"], email=row["admin_email"]),
            user=Person(id=row["user_id"], email=row["user_email"]) if row["user_id"] else None,
            **{name: row[name] for name in names},
        )
        for row in page
    ]
    return Log(data=data, next_cursor=next_cursor)
