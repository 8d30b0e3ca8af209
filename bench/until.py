"""Waits until something is so."""

import asyncio
from collections.abc import Awaitable, Callable

_LOOK = 0.02  # seconds


async def until(is_so: Callable[[], Awaitable[object]], *, within: float = 30.0) -> None:
    """Look until it is so. Raises TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not await is_so():  # noqa: ASYNC110  # of another process, which sets no event
            await asyncio.sleep(_LOOK)
