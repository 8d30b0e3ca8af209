"""Errors that asyncio reports because nobody has asked for them."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unheard() -> Iterator[list[str]]:
    """Collect asyncio's reports about errors that nobody heard during the block; read them after it."""
    reports: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    try:
        yield reports
        gc.collect()  # a task reports its error when it is thrown away
    finally:
        loop.set_exception_handler(None)
