"""What a vendor has made goes into our storage, under the generation's name, before anybody hears of it.

The name says which attempt has ordered it: a worker that was frozen while it stored, and comes back when somebody else
has delivered, writes its own file and not over theirs.
"""

import asyncio
import hashlib
from typing import Literal

import sqlalchemy as sa
import structlog

from tallyframe.db import Database, retry_while_unavailable, with_writes
from tallyframe.errors import FailureCode, GenerationError
from tallyframe.generations.claim import Claim, bump_project, held
from tallyframe.generations.steps.rows import ClaimLost, Steps
from tallyframe.generations.tables import generations
from tallyframe.operations.base import Stored
from tallyframe.providers.base import Media
from tallyframe.storages.base import EXTENSIONS, Storage, StorageError

log = structlog.get_logger()

#: Generation, role, attempt, ending. Postgres' format() reads it as well.
KEY = "generations/%s/%s-%s.%s"

#: Seconds between tries to store a result whose bytes we already hold.
STORE_RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)


async def store(
    db: Database, claim: Claim, storage: Storage, role: Literal["image", "video"], attempt: int, media: Media
) -> Stored:
    """Store the bytes and finish the step. Raises ClaimLost, and GenerationError when the storage fails for long."""
    if not await retry_while_unavailable(lambda: _show_storing(db, claim)):
        raise ClaimLost
    stored = await asyncio.to_thread(_describe, claim, storage, role, attempt, media)  # hashing 100 MB takes a while
    await _put(storage, stored.key, media)
    steps = Steps(db, claim)
    try:
        await steps.finish(role, attempt, stored)
    except ClaimLost:
        await steps.orphan(role, attempt, stored)
        log.warning("orphaned_result", role=role, key=stored.key)
        raise
    return stored


def _describe(claim: Claim, storage: Storage, role: Literal["image", "video"], attempt: int, media: Media) -> Stored:
    return Stored(
        role=role,
        storage=storage.name,
        key=KEY % (claim.id, role, attempt, EXTENSIONS[media.content_type]),
        content_type=media.content_type,
        bytes=len(media.data),
        sha256=hashlib.sha256(media.data).hexdigest(),
        width=media.width,
        height=media.height,
        duration_seconds=media.duration_seconds,
    )


async def _put(storage: Storage, key: str, media: Media) -> None:
    for pause in (*STORE_RETRIES, None):
        try:
            return await storage.put(key, media.data, media.content_type)
        except StorageError as error:
            log.warning("store_failed", key=key, error=str(error), retry_in_seconds=pause)
            if pause is None:
                raise GenerationError(
                    FailureCode.STORAGE_UNAVAILABLE, retryable=True, operator_message=str(error)
                ) from None
            await asyncio.sleep(pause)
    return None


async def _show_storing(db: Database, claim: Claim) -> bool:
    """Let the user see that the result is being stored; False when the claim is no longer ours."""
    update = (
        sa.update(generations)
        .where(held(claim))
        .values(step="storing")
        .returning(generations.c.id, generations.c.project_id)
    )
    stepped = update.cte("stepped")
    return (await db.run(with_writes(sa.select(stepped.c.id), bump_project(stepped)))).one_or_none() is not None
