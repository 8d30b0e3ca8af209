"""Ends a process of `tallyframe api --workers N` with the one that has started it, however that one has ended."""

import os
import signal
import threading
from multiprocessing import connection, parent_process
from multiprocessing.process import BaseProcess
from time import sleep

#: Seconds that requests under way may take to end, and some more. Then the process ends at once.
LONGEST_FAREWELL = 20.0


def end_with_parent() -> None:
    """Have this process stop once its parent is gone; do nothing in a process that Python has not started for another.

    The parent's end closes a pipe, so it is noticed at once, on every system, also after SIGKILL. Then the same happens
    as on SIGTERM: no new request is taken, and those under way may finish.
    """
    if parent := parent_process():
        threading.Thread(target=_wait, args=(parent,), daemon=True, name="parent").start()


def _wait(parent: BaseProcess) -> None:
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(LONGEST_FAREWELL)
    os._exit(1)
