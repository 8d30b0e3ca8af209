"""Servers that outlived an earlier run: found by name and folder, and ended before a new one touches their data."""

import asyncio
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tallyframe.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    import psutil  # comes with the extra `embedded`, and the rest of the command line must run without it

_PATIENCE = 15.0  # seconds for a shutdown


async def clear(pid_file: Path, name: str, gentle: signal.Signals) -> None:
    """Remove a `pid_file` of an earlier run, after ending all processes called `name` that work in its folder.

    The process in the file gets the signal `gentle`; what is left after 15 seconds is killed. Another program that has
    that process id by now is left alone. All processes of the folder count, not only that one: a server's children may
    outlive it and go on writing. Raises EmbeddedError if one cannot be ended.
    """
    folder = pid_file.parent
    try:
        main = int(pid_file.read_text().split()[0])  # noqa: ASYNC240 - a few bytes on this machine
    except FileNotFoundError:
        return
    except (ValueError, IndexError):  # cut short by a full disk
        main = 0
    _send(gentle, (process for process in _working_in(folder, name) if process.pid == main))
    if not await _all_gone(folder, name):
        _send(signal.SIGKILL, _working_in(folder, name))
        if not await _all_gone(folder, name):
            raise EmbeddedError(f"A {name} from an earlier run is still using {folder}, and cannot be ended.")
    pid_file.unlink(missing_ok=True)  # noqa: ASYNC240 - as above. A server that ended in good order has removed it


def _send(number: signal.Signals, processes: "Iterable[psutil.Process]") -> None:
    """Send the signal to those processes that still exist."""
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


async def _all_gone(folder: Path, name: str) -> bool:
    """Wait until they have ended, up to the limit; return whether they have."""
    deadline = time.monotonic() + _PATIENCE
    while any(_working_in(folder, name)):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def _working_in(folder: Path, name: str) -> "Iterator[psutil.Process]":
    """Yield the live processes called `name` whose working folder is `folder`."""
    import psutil

    real = str(folder.resolve())
    for process in psutil.process_iter():
        try:
            if process.name() == name and process.cwd() == real:
                yield process
        except psutil.Error:  # gone meanwhile, a zombie, or somebody else's
            continue
