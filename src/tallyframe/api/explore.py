"""Published projects, for everybody."""

from functools import partial
from uuid import UUID

from fastapi import APIRouter

from tallyframe.api import cursors, schemas, views
from tallyframe.api.dependencies import SystemServices
from tallyframe.generations import queries

router = APIRouter(prefix="/v1/explore", tags=["explore"])


@router.get("")
async def explore(serving: SystemServices, cursor: cursors.Cursor = None, limit: cursors.Limit = 20) -> schemas.Explore:
    """Return published projects, latest first. No sign-in is needed."""
    before = cursors.decode(cursor, cursors.moment, UUID)
    rows = await serving.shown.read(partial(queries.explore, before=before, limit=limit + 1))
    page, next_cursor = cursors.cut(rows, limit, lambda row: row["published_at"].isoformat(), cursors.by_id)
    return schemas.Explore(data=[views.published(row, serving.storages) for row in page], next_cursor=next_cursor)
