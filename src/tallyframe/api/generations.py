"""Receipts."""

from uuid import UUID

from fastapi import APIRouter

from tallyframe.api import schemas, views
from tallyframe.api.services import CurrentUser, UserServices
from tallyframe.errors import NotFound
from tallyframe.generations import queries

router = APIRouter(prefix="/v1/generations", tags=["generations"])


@router.get("/{generation_id}")
async def get_generation(generation_id: UUID, user: CurrentUser, serving: UserServices) -> schemas.Generation:
    """Return what was ordered, what became of it and what it cost."""
    row = await queries.receipt(serving.db, user.id, generation_id)
    if row is None:
        raise NotFound
    return views.generation(row, serving.storages)
