"""Everybody's generations: find them, look into one, cancel, retry, resolve its doubt."""

from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from tallyframe.accounts.users import User
from tallyframe.admin import doubts, generations, work
from tallyframe.admin.log import Decision
from tallyframe.api import cursors, views
from tallyframe.api.admin.schemas import (
    AdminGeneration,
    AdminGenerationDetail,
    AdminGenerations,
    AdminOutput,
    AdminStep,
    AskedGenerations,
    Because,
    Owner,
    Resolution,
    Retry,
)
from tallyframe.api.dependencies import Administrator, IdempotentRequest, Services, SystemServices, administrator
from tallyframe.api.routes import SignedInFirst
from tallyframe.api.schemas import Charge
from tallyframe.credits import Credits
from tallyframe.errors import (
    Generating,
    NoOpenDoubt,
    NotCancelable,
    NotFound,
    NotRetryable,
    TooManyActiveGenerations,
    UserDeleted,
    ValidationFailed,
)
from tallyframe.generations import queries
from tallyframe.generations.states import LIVE, Status
from tallyframe.idempotency.keys import Key
from tallyframe.operations.base import MAIN
from tallyframe.outbox.relay import wake
from tallyframe.pages import Row

router = APIRouter(
    prefix="/v1/admin/generations", tags=["admin"], dependencies=[Depends(administrator)], route_class=SignedInFirst
)


@router.get("")
async def list_generations(serving: SystemServices, asked: Annotated[AskedGenerations, Query()]) -> AdminGenerations:
    """Return generations, newest first. With filters, a page may be short, or empty, and not the last."""
    if asked.since and asked.until and asked.since >= asked.until:
        raise ValidationFailed("'from' must be before 'to'.", pointer="/from")
    wanted = generations.Filter(**asked.model_dump(exclude={"cursor", "limit"}))
    window = cursors.window(asked.cursor, asked.limit)
    page = await serving.listed.read(lambda db: generations.listed(db, wanted, window))
    data = [AdminGeneration.model_validate(_fields(row)) for row in page.rows]
    return AdminGenerations(data=data, next_cursor=cursors.after(page))


@router.get("/{generation_id}")
async def get_generation(generation_id: UUID, serving: SystemServices) -> AdminGenerationDetail:
    """Return a generation with its input, prompt included, and its steps. No pictures, and no tickets."""
    return await _detail(serving, generation_id)


@router.post("/{generation_id}/cancel")
async def cancel(
    generation_id: UUID, because: Because, admin: Administrator, serving: SystemServices
) -> AdminGenerationDetail:
    """Stop a generation; the user's credits come back."""
    if not await work.cancel(serving.office, Decision(admin.id, because.reason), generation_id):
        await _found(serving, generation_id)
        raise NotCancelable
    return await _detail(serving, generation_id)


@router.post("/{generation_id}/retry", status_code=202)
async def retry(generation_id: UUID, wanted: Retry, once: IdempotentRequest) -> AdminGenerationDetail:
    """Wake one that waits, or place the order of one that failed again; return what is to run now, as it is now.

    The new one is paid by the user like the first, whose credits came back. What was canceled is ordered again only
    with `even_if_canceled`.
    """
    serving = once.serving

    async def place(key: Key | None) -> UUID:
        to_run = await _retried(serving, once.user, generation_id, wanted, key)
        await wake(serving.queue)
        return to_run

    async def show(to_run: UUID) -> AdminGenerationDetail:
        return await _detail(serving, to_run)

    # A kept answer would be a copy of the user's prompt and address that outlives their deletion.
    answer = await once.answer(AdminGenerationDetail, wanted, place, show, is_kept=False)
    once.response.headers["Location"] = f"/v1/admin/generations/{answer.id}"
    return answer


@router.post("/{generation_id}/resolve")
async def resolve(
    generation_id: UUID, resolution: Resolution, admin: Administrator, serving: SystemServices
) -> AdminGenerationDetail:
    """Say what became of the orders of a generation that were in doubt."""
    row = await _found(serving, generation_id)
    decision, fence = Decision(admin.id, resolution.reason), row["fence"]
    if not await doubts.resolve(serving.office, decision, generation_id, resolution.outcome, fence=fence):
        now = await _found(serving, generation_id)
        if now["in_doubt"] and now["generation_status"] in LIVE:
            raise Generating("It goes on; wait for it to end, or cancel it first.")
        raise NoOpenDoubt
    return await _detail(serving, generation_id)


async def _retried(serving: Services, admin: User, generation_id: UUID, wanted: Retry, key: Key | None) -> UUID:
    """Return the id of what is to run now: the generation, or the new one in its place."""
    row = await _found(serving, generation_id)
    decision = Decision(admin.id, wanted.reason)
    if row["generation_status"] in LIVE:
        if not await work.wake(serving.office, decision, generation_id, key):
            raise NotRetryable("It doesn't wait: a worker runs it right now, or it has just ended.")
        return generation_id
    _refuse_what_cannot_be(row)
    if row["generation_status"] == Status.CANCELED and not wanted.even_if_canceled:
        raise NotRetryable('This was canceled. Say "even_if_canceled": true to have it ordered, and paid, again.')
    return await _order_again(serving, decision, row, key)


async def _order_again(serving: Services, decision: Decision, row: Row, key: Key | None) -> UUID:
    terms = serving.terms
    operation = terms.operation(row["generation_operation"], pointer="")
    order = terms.order(_Owner(row["owner_id"], row["account_id"]), operation, row["input"], again=True)
    # For the price of the first time: the user agreed to that one, and isn't asked now.
    order = replace(order, credits=Credits(row["generation_credits"]), metadata=row["generation_metadata"])
    ended_id, project_id = row["generation_id"], row["generation_project_id"]
    accepted = await work.order_again(serving.office, decision, ended_id, order, project_id, key)
    if accepted is None:
        now = await _found(serving, ended_id)
        _refuse_what_cannot_be(now)
        full = await queries.active(serving.office, order.user_id) >= terms.max_active
        raise TooManyActiveGenerations if full else Generating
    return accepted.generation_id


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who pays again."""

    id: UUID
    account_id: UUID


def _refuse_what_cannot_be(row: Row) -> None:
    if row["generation_status"] == Status.SUCCEEDED:
        raise NotRetryable("This has succeeded.")
    if row["owner_deleted_at"]:
        raise UserDeleted
    if row["project_deleted_at"] or row["deleted_at"]:
        raise NotRetryable("The project has been deleted.")
    shows_in_project = row["generation_project_id"] is not None and row["slot"] == MAIN
    if shows_in_project and row["project_status"] in LIVE:
        raise Generating
    if row["replaced_by"]:
        raise NotRetryable("This has been ordered again already.")
    if shows_in_project and row["latest_id"] != row["generation_id"]:
        raise NotRetryable("Something else has been ordered for this project since; look at its latest generation.")


async def _found(serving: Services, generation_id: UUID) -> Row:
    row = await generations.one(serving.office, generation_id)
    if row is None:
        raise NotFound
    return row


async def _detail(serving: Services, generation_id: UUID) -> AdminGenerationDetail:
    row = await _found(serving, generation_id)
    steps = [AdminStep.model_validate(dict(step)) for step in await generations.steps(serving.office, generation_id)]
    words = {name: row[f"generation_{name}"] for name in ("output", "metadata")} | {"input": row["input"]}
    return AdminGenerationDetail.model_validate({**_fields(row), **words, "steps": steps})


def _fields(row: Row) -> dict[str, object]:
    fields: dict[str, object] = {
        name: row[name if name in row else f"generation_{name}"]
        for name in AdminGeneration.model_fields
        if name in row or f"generation_{name}" in row
    }
    charge = {name: int(row[f"generation_{name}"]) for name in ("charged", "refunded")}
    return {
        **fields,
        "owner": Owner.model_validate({name: row[f"owner_{name}"] for name in Owner.model_fields}),
        "credits": Charge(quoted=row["generation_credits"], **charge),
        "error": views.error(row["generation_error_code"], row["generation_error_message"]),
        "outputs": [AdminOutput.model_validate(output) for output in row["generation_outputs"] or []],
    }
