"""Everybody's accounts: find users, look at their figures, give or take credits."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BaseModel, Field

from tallyframe.admin import users
from tallyframe.admin.credits import Adjustment, adjust
from tallyframe.admin.log import Decision
from tallyframe.api import cursors
from tallyframe.api.admin.schemas import Because, Cursor, Limit
from tallyframe.api.dependencies import Administrator, IdempotentRequest, Services, SystemServices, administrator
from tallyframe.api.incoming import example
from tallyframe.api.routes import SignedInFirst
from tallyframe.api.schemas import Entry
from tallyframe.credits import MAX_CREDITS
from tallyframe.errors import Forbidden, NotFound, UserDeleted
from tallyframe.generations import queries
from tallyframe.idempotency.keys import Key
from tallyframe.ledger import history
from tallyframe.operations.fields import Fields, Text
from tallyframe.pages import Row

router = APIRouter(
    prefix="/v1/admin/users", tags=["admin"], dependencies=[Depends(administrator)], route_class=SignedInFirst
)


def _not_zero(amount: int) -> int:
    if amount == 0:
        raise ValueError("must not be 0")
    return amount


class NewAdjustment(Because):
    """Credits to give, or to take where `amount` is negative. The user sees the reason with the entry."""

    model_config = example(amount=5, reason="A present")

    amount: Annotated[
        int,
        Field(strict=True, ge=-MAX_CREDITS, le=MAX_CREDITS, json_schema_extra={"not": {"const": 0}}),
        AfterValidator(_not_zero),
    ]


class AskedUsers(Fields):
    """Which users to show."""

    query: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description="In the address or the name, whatever its case; or exactly a subject or an id."
    )
    cursor: Cursor = None
    limit: Limit = 20


class AdminUser(BaseModel):
    """A user. `available` is the balance in credits."""

    id: UUID
    issuer: str
    subject: str
    email: str | None
    display_name: str
    role: Literal["user", "admin"]
    is_member: bool
    created_at: datetime
    deleted_at: datetime | None
    available: int
    active_generations: int


class AdminUsers(BaseModel):
    """One page of users, newest first."""

    data: list[AdminUser]
    next_cursor: str | None


class AdminUserDetail(AdminUser):
    """A user with the figures of their account, in credits, as the user sees them."""

    reserved: int
    lifetime_granted: int
    lifetime_spent: int


@router.get("")
async def list_users(serving: SystemServices, asked: Annotated[AskedUsers, Query()]) -> AdminUsers:
    """Return users, newest first. With a query, a page may be short, or empty, and not the last."""
    window = cursors.window(asked.cursor, asked.limit)
    page = await serving.listed.read(lambda db: users.listed(db, asked.query, window))
    data = [AdminUser.model_validate(dict(row)) for row in page.rows]
    return AdminUsers(data=data, next_cursor=cursors.after(page))


@router.get("/{user_id}")
async def get_user(user_id: UUID, serving: SystemServices) -> AdminUserDetail:
    """Return a user, deleted or not, with the figures of their account."""
    row = await _found(serving, user_id)
    figures, reserved = history.Figures(0, 0, 0), 0
    if row["account_id"]:
        async with serving.office.reading() as reader:
            figures = await history.figures(reader, row["account_id"])
        reserved = await queries.reserved(serving.office, row["id"])
    return AdminUserDetail.model_validate({**row, **asdict(figures), "reserved": reserved})


@router.post("/{user_id}/credits", status_code=201)
async def adjust_credits(user_id: UUID, wanted: NewAdjustment, once: IdempotentRequest) -> Entry:
    """Give a user credits, or take some. The reason shows in their ledger."""
    decision = Decision(once.user.id, wanted.reason)
    system = once.serving.office

    async def place(key: Key | None) -> UUID:
        entry = await adjust(system, Adjustment(user_id, wanted.amount, decision), key)
        if entry is None:
            await _found(once.serving, user_id)
            raise UserDeleted
        return entry.id

    async def show(entry_id: UUID) -> Entry:
        async with system.reading() as reader:
            return Entry(**asdict(await history.entry(reader, entry_id)))

    return await once.answer(Entry, wanted, place, show)


@router.post("/{user_id}/delete")
async def delete_user(user_id: UUID, because: Because, admin: Administrator, serving: SystemServices) -> AdminUser:
    """Delete a user for good: keys and tokens stop, and workers erase media, uploads and prompts soon after.

    What is live is canceled, with a refund. The ledger and the receipts stay.
    """
    if user_id == admin.id:
        raise Forbidden("Administrators can't delete themselves; another one can.")
    stopped = await users.delete(serving.office, Decision(admin.id, because.reason), user_id)
    row = await _found(serving, user_id)
    if stopped is None:
        raise UserDeleted
    for credential in stopped:
        serving.callers.forget(credential)
    return AdminUser.model_validate(dict(row))


async def _found(serving: Services, user_id: UUID) -> Row:
    row = await users.one(serving.office, user_id)
    if row is None:
        raise NotFound
    return row
