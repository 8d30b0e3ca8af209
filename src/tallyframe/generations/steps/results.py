"""Keep what a vendor has made: files go into our storage, and data into the step's row, before the step is `done`.

A file's name has the fence of the claim that stores it. So two who collect the same ticket write two files, and a
worker that was frozen while it stored, and comes back when somebody else has delivered, overwrites nothing.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import structlog
from pydantic import BaseModel

from tallyframe.errors import FailureCode, GenerationError
from tallyframe.generations.claim import Claim, ClaimLost
from tallyframe.generations.steps.rows import StepRows
from tallyframe.operations.base import Stored
from tallyframe.providers.base import Data, Media, Task, TextTask, VisionTask, load
from tallyframe.storages.base import EXTENSIONS, Storage, StorageError

log = structlog.get_logger()

#: Generation, step, fence, ending. Postgres' format() reads it as well.
KEY = "generations/%s/%s-%s.%s"

#: Seconds between tries to store a result whose bytes we already hold.
STORE_RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)


async def keep_result(
    rows: StepRows, claim: Claim, storage: Storage, place: tuple[str, int], made: Media | Data
) -> Mapping[str, Any]:
    """Store what was made, finish the step and return what is kept of it. `place`: the step's name and its try.

    Raises ClaimLost, and GenerationError (storage_unavailable, retryable) when the storage fails for long.
    """
    name, attempt = place
    if isinstance(made, Data):
        result: Mapping[str, Any] = {"data": made.value}
    else:
        await rows.show_storing(name, attempt)
        key = KEY % (claim.id, name, claim.fence, EXTENSIONS[made.content_type])
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(made.data).hexdigest())  # 100 MB take a while
        size = (len(made.data), sha256, made.width, made.height, made.duration_seconds)
        stored = Stored(storage.name, key, made.content_type, *size)
        await _put(storage, key, made)
        result = {"role": name, **asdict(stored)}  # the role is for workers of the version before
    try:
        await rows.finish(name, attempt, result)
    except ClaimLost:
        await rows.orphan(name, attempt, result)
        log.warning("orphaned_result", step=name, key=result.get("key"))
        raise
    return result


def read_result(task: Task, result: Mapping[str, Any]) -> Stored | BaseModel:
    """Return the file, or the instance of the task's model, that `keep_result` has kept."""
    if "data" in result and isinstance(task, TextTask | VisionTask):
        answer: BaseModel = load(task.answer, result["data"])
        return answer
    return Stored(**{name: result[name] for name in Stored.__dataclass_fields__})


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
