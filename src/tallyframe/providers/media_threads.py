"""Threads for decoding what vendors send, and for reducing what they get.

A worker's other threads write and read files, and renew sign-ins: they must not wait until ten large pictures are
decoded. What decodes here is a vendor's, or an input picture that the API has written anew, so a thread is enough.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Made = TypeVar("Made")


class MediaThreads:
    """So many threads, which start when they are needed. Work of any event loop waits for them in its order."""

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="media")

    def resize(self, count: int) -> None:
        """Have another number of threads for the work that comes from now on."""
        before, self._threads = self._threads, ThreadPoolExecutor(count, thread_name_prefix="media")
        before.shutdown(wait=False)  # what it has begun, it ends

    async def run(self, work: Callable[Given, Made], *given: Given.args, **named: Given.kwargs) -> Made:
        """Return what `work` does, or raise what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*given, **named))


#: Those of this process. `build_providers` gives them the number of the settings.
MEDIA_THREADS = MediaThreads(2)
