"""The events of webhooks: find them, look into one, apply one again, give up on one."""

import base64
from datetime import datetime
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, ValidationError

from tallyframe.admin import webhooks
from tallyframe.admin.log import Decision
from tallyframe.api import cursors, words
from tallyframe.api.admin.schemas import Because, Cursor, Limit, Name
from tallyframe.api.dependencies import Administrator, Services, SystemServices, administrator
from tallyframe.api.routes import SignedInFirst
from tallyframe.errors import NotFound, NotReplayable
from tallyframe.operations.fields import Fields
from tallyframe.webhooks.base import EventStatus

router = APIRouter(
    prefix="/v1/admin/webhooks", tags=["admin"], dependencies=[Depends(administrator)], route_class=SignedInFirst
)


class AskedWebhooks(Fields):
    """Which events to show."""

    source: Name | None = None
    status: EventStatus | None = None
    cursor: Cursor = None
    limit: Limit = 20


class AdminWebhook(BaseModel):
    """An event."""

    id: UUID
    source: str
    event_id: str = Field(description="The source's id of it.")
    type: str
    subject: str | None = Field(description="The source's id of the person whom it is about.")
    status: EventStatus = Field(description="received: it has yet to be applied")
    attempts: int = Field(description="How many times it was tried to apply it.")
    error: str | None = Field(description="Why the latest try failed.")
    received_at: datetime
    finished_at: datetime | None = Field(description="When it was last applied or ignored.")


class AdminWebhooks(BaseModel):
    """One page of events, newest first."""

    data: list[AdminWebhook]
    next_cursor: str | None


class AdminWebhookDetail(AdminWebhook):
    """An event with what was sent, but for credentials in its headers."""

    headers: dict[str, str]
    body: str | None = Field(description="Null: it was erased, or came before bodies were stored.")
    body_encoding: Literal["text", "base64"] | None


class ReplayedWebhook(AdminWebhookDetail):
    """An event after it was applied again."""

    outcome: Literal["applied", "ignored"] = Field(description="ignored: there was nothing (left) to change")


@router.get("")
async def list_webhooks(serving: SystemServices, asked: Annotated[AskedWebhooks, Query()]) -> AdminWebhooks:
    """Return events, newest first."""
    wanted = webhooks.Filter(source=asked.source, status=asked.status)
    before = cursors.decode(asked.cursor, cursors.moment, UUID)
    rows = await serving.listed.read(partial(webhooks.listed, wanted=wanted, before=before, limit=asked.limit + 1))
    page, next_cursor = cursors.cut(rows, asked.limit, lambda row: row["received_at"].isoformat(), cursors.by_id)
    return AdminWebhooks(data=[AdminWebhook.model_validate(dict(row)) for row in page], next_cursor=next_cursor)


@router.get("/{webhook_id}")
async def get_webhook(webhook_id: UUID, serving: SystemServices) -> AdminWebhookDetail:
    """Return an event with what was sent."""
    return AdminWebhookDetail.model_validate(await _shown(serving, webhook_id))


@router.post("/{webhook_id}/replay")
async def replay(webhook_id: UUID, because: Because, admin: Administrator, serving: SystemServices) -> ReplayedWebhook:
    """Apply an event, also one that has been applied: what it has changed before, it doesn't change again."""
    decision = Decision(admin.id, because.reason)
    try:
        outcome = await webhooks.replay(serving.office, serving.sources, decision, webhook_id)
    except ValidationError as error:  # of what the other service has sent, and not of this request
        wrong = "; ".join(f"{words.pointer(item) or 'body'}: {words.said(item)}" for item in error.errors())
        raise NotReplayable(f"What is kept of this event can't be applied: {wrong}.") from None
    for credential in outcome.stale:
        serving.callers.forget(credential)
    return ReplayedWebhook.model_validate({**await _shown(serving, webhook_id), "outcome": outcome.status})


@router.post("/{webhook_id}/dismiss")
async def dismiss(
    webhook_id: UUID, because: Because, admin: Administrator, serving: SystemServices
) -> AdminWebhookDetail:
    """Give up on an event that can't be applied: it counts as ignored, and nobody tries it again by themselves."""
    await webhooks.dismiss(serving.office, Decision(admin.id, because.reason), webhook_id)
    return AdminWebhookDetail.model_validate(await _shown(serving, webhook_id))


async def _shown(serving: Services, webhook_id: UUID) -> dict[str, object]:
    row = await webhooks.one(serving.office, webhook_id)
    if row is None:
        raise NotFound
    body: bytes | None = row["body"]
    if body is None:
        return {**row, "body_encoding": None}
    try:
        return {**row, "body": body.decode(), "body_encoding": "text"}
    except UnicodeDecodeError:
        return {**row, "body": base64.b64encode(body).decode(), "body_encoding": "base64"}
