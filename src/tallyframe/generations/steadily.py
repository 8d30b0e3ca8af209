"""What must not be lost for a blip: a write that is tried again while the database is away."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

import structlog

from tallyframe.errors import Unavailable

log = structlog.get_logger()

T = TypeVar("T")

#: Seconds for which a write is tried again, and between two tries.
PATIENCE = 60.0
PAUSE = 0.5


async def steadily(write: Callable[[], Awaitable[T]]) -> T:
    """Do the write, again and again while the database is away. Raises Unavailable when it is so for long.

    For writes that know by a condition of their own whether they still count, so that twice does no harm.
    """
    until = monotonic() + PATIENCE
    while True:
        try:
            return await write()
        except Unavailable:
            if monotonic() > until:
                raise
            log.warning("write_interrupted")
            await asyncio.sleep(PAUSE)
