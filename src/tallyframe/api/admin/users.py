"""Everybody's accounts: find users, look at their figures, give or take credits."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from tallyframe.admin import users
from tallyframe.admin.credits import Adjustment, adjust
from tallyframe.admin.log import Decision
from tallyframe.admin.pages import Row, Window
from tallyframe.api import cursors
from tallyframe.api.admin.schemas import AdminUser, AdminUserDetail, AdminUsers, AskedUsers, NewAdjustment
from tallyframe.api.idempotent import IdempotentRequest, canonical_body
from tallyframe.api.schemas import Entry
from tallyframe.api.services import Services, SystemServices, administrator
from tallyframe.errors import NotFound, UserDeleted
from tallyframe.generations import queries
from tallyframe.idempotency.keys import Key
from tallyframe.ledger import history

router = APIRouter(prefix="/v1/admin/users", tags=["admin"], dependencies=[Depends(administrator)])


@router.get("")
async def list_users(serving: SystemServices, asked: Annotated[AskedUsers, Query()]) -> AdminUsers:
    """Return users, newest first. With a query, a page may be short, or empty, and not the last."""
    before = cursors.decode(asked.cursor, UUID)
    window = Window(before[0] if before else None, asked.limit)
    page = await users.listed(serving.system, asked.query, window)
    data = [AdminUser.model_validate(dict(row)) for row in page.rows]
    return AdminUsers(data=data, next_cursor=cursors.encode(str(page.last)) if page.last else None)


@router.get("/{user_id}")
async def get_user(user_id: UUID, serving: SystemServices) -> AdminUserDetail:
    """Return a user, deleted or not, with the figures of their account."""
    row = await _found(serving, user_id)
    figures, reserved = history.Figures(0, 0, 0), 0
    if row["account_id"]:
        async with serving.system.reading() as reader:
            figures = await history.figures(reader, row["account_id"])
        reserved = await queries.reserved(serving.system, row["account_id"])
    return AdminUserDetail.model_validate({**row, **asdict(figures), "reserved": reserved})


@router.post("/{user_id}/credits", status_code=201)
async def adjust_credits(user_id: UUID, wanted: NewAdjustment, once: IdempotentRequest) -> Entry:
    """Give a user credits, or take some. The reason shows in their ledger."""
    decision = Decision(once.user.id, wanted.reason)
    system = once.serving.system

    async def place(key: Key | None) -> UUID:
        entry = await adjust(system, Adjustment(user_id, wanted.amount, decision), key)
        if entry is None:
            await _found(once.serving, user_id)
            raise UserDeleted
        return entry.id

    async def show(entry_id: UUID) -> Entry:
        async with system.reading() as reader:
            return Entry(**asdict(await history.entry(reader, entry_id)))

    return await once.answer(Entry, canonical_body(wanted), place, show)


async def _found(serving: Services, user_id: UUID) -> Row:
    row = await users.one(serving.system, user_id)
    if row is None:
        raise NotFound
    return row
