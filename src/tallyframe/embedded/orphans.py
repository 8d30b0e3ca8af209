"""Servers that outlived their supervisor: found by name and folder, and ended before anything touches their data."""

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

_PATIENCE = 15.0  # seconds to shut down in


async def clear(pid_file: Path, name: str, gentle: signal.Signals) -> None:
    """Remove a left-over `pid_file`, once no process called `name` works in its folder.

    The one in the file is told `gentle` to end; what is there after 15 seconds is killed. Whatever else has got that
    process id meanwhile is left alone. We look at all processes, not just at that one, because a server's children may
    outlive it, and would go on writing. Raises EmbeddedError if one cannot be ended.
    """
    folder, main = pid_file.parent, _main_process(pid_file)
    if main is None:
        return
    _send(gentle, (process for process in _working_in(folder, name) if process.pid == main))
    if not await _all_gone(folder, name):
        _send(signal.SIGKILL, _working_in(folder, name))
        if not await _all_gone(folder, name):
            raise EmbeddedError(f"A {name} from an earlier run is still using {folder}, and cannot be ended.")
    _remove(pid_file)


def _main_process(pid_file: Path) -> int | None:
    """Read the process id; 0 if the file has none, None if there is no file."""
    try:
        return int(pid_file.read_text().split()[0])
    except FileNotFoundError:
        return None
    except (ValueError, IndexError):  # cut short by a full disk
        return 0


def _remove(pid_file: Path) -> None:
    pid_file.unlink(missing_ok=True)  # a server that ended in good order did so itself


def _send(number: signal.Signals, processes: "Iterable[psutil.Process]") -> None:
    """Send the signal to those that are still there."""
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


async def _all_gone(folder: Path, name: str) -> bool:
    """Wait for their end, up to the limit; whether it came."""
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
