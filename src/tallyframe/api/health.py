"""Whether the process is alive, and whether it can do its work."""

import asyncio

from fastapi import APIRouter, Response

from tallyframe.api.dependencies import Services, SystemServices
from tallyframe.errors import Unavailable
from tallyframe.lost import NotMigrated
from tallyframe.migrate import read_revision
from tallyframe.outbox.relay import REDIS_AWAY

NOT_CURRENT = "migrations are not current"

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Return 200 while the process answers at all."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(response: Response, serving: SystemServices) -> dict[str, str]:
    """Return 200 when Postgres and Redis are reachable and the migrations are current, else 503 and what is not."""
    postgres, redis = await asyncio.gather(_check_postgres(serving), _check_redis(serving))
    if (postgres, redis) != ("ok", "ok"):
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return {"postgres": postgres, "redis": redis}


async def _check_postgres(serving: Services) -> str:
    try:
        async with asyncio.timeout(2):
            revision = await read_revision(serving.db.run)
    except NotMigrated:
        return NOT_CURRENT
    except (Unavailable, TimeoutError):
        return "unreachable"
    return "ok" if revision.is_current else NOT_CURRENT


async def _check_redis(serving: Services) -> str:
    try:
        async with asyncio.timeout(2):
            await serving.queue.ping()
    except REDIS_AWAY:
        return "unreachable"
    return "ok"
