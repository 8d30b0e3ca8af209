"""Whether the process is alive, and whether it can do its work."""

import asyncio

import sqlalchemy as sa
from fastapi import APIRouter, Response

from tallyframe.api.dependencies import Services, SystemServices
from tallyframe.errors import Unavailable
from tallyframe.lost import NotMigrated
from tallyframe.migrate import read_revision
from tallyframe.outbox.relay import REDIS_AWAY
from tallyframe.servers.words import postgres_words, redis_words

NOT_CURRENT = "migrations are not current"
NO_WRITES = "takes no writes"

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Return 200 while the process answers at all."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(response: Response, serving: SystemServices) -> dict[str, str]:
    """Return 200 when Postgres and Redis work and the migrations are current, else 503 and what is not.

    A full disk doesn't show by a look. So Postgres counts as not ready for ten seconds after a write has failed by it.
    """
    postgres, redis = await look(serving)
    if (postgres, redis) != ("ok", "ok"):
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return {"postgres": postgres, "redis": redis}


async def look(serving: Services) -> tuple[str, str]:
    """Return what Postgres and Redis are: `ok`, or why they can't be used. What is found is logged."""
    return await asyncio.gather(_check_postgres(serving), _check_redis(serving))


async def _check_postgres(serving: Services) -> str:
    try:
        async with asyncio.timeout(2):
            revision = await read_revision(serving.db.run)
            is_read_only = (await serving.db.run(_IS_READ_ONLY)).scalar_one() == "on"
    except NotMigrated:
        return NOT_CURRENT
    except TimeoutError as error:  # ours, of which the pool has not heard
        serving.db.outage.note(postgres_words(error, serving.db.url))
        return "unreachable"
    except Unavailable:
        return "unreachable"
    if is_read_only or serving.db.outage.takes_no_writes:
        return NO_WRITES
    return "ok" if revision.is_current else NOT_CURRENT


#: Also "on" while Postgres is a standby.
_IS_READ_ONLY = sa.text("SHOW transaction_read_only")


async def _check_redis(serving: Services) -> str:
    try:
        async with asyncio.timeout(2):
            await serving.queue.ping()
    except REDIS_AWAY as error:
        if isinstance(error, TimeoutError):  # ours, of which the client has not heard
            serving.queue.outage.note(redis_words(error, serving.queue.address))
        return "unreachable"
    return "ok"
