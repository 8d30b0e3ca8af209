"""Published projects, for everybody."""

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
    rows = await queries.explore(serving.system, before=before, limit=limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    next_cursor = cursors.encode(last["published_at"].isoformat(), str(last["id"])) if last else None
    return schemas.Explore(
        data=[views.published(row, serving.storages) for row in rows[:limit]], next_cursor=next_cursor
    )
