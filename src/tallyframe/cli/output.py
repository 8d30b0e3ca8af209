"""What is printed, and what happens when nobody reads it: `ledger verify | head -1` ends as other tools do."""

import errno
import io
import os
import signal
import sys
from typing import NoReturn


class OutputEnded(Exception):
    """Nothing can be written to stdout any more. No OSError, which is what a lost connection to a server is."""

    def __init__(self, error: OSError) -> None:
        self.number = error.errno
        super().__init__(f"stdout can't be written to: {error.strerror}.")


class _Stdout(io.FileIO):
    """The file below `sys.stdout`."""

    def write(self, data: object, /) -> int:
        """Write, and raise OutputEnded if that fails. That is no interruption of a command, but its end."""
        try:
            return super().write(data)  # type: ignore[arg-type]  # what io's buffer hands on
        except OSError as error:
            raise OutputEnded(error) from None


def watch_stdout() -> None:
    """Have everything that is printed from now on raise OutputEnded when it can't be written.

    Where stdin, stdout or stderr was closed before the start, /dev/null takes its number: uvloop would abort over a
    connection that gets it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    old = sys.stdout
    if isinstance(old, io.TextIOWrapper) and old is sys.__stdout__:  # and not what somebody has put in its place
        buffer = io.BufferedWriter(_Stdout(old.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(buffer, old.encoding, old.errors, line_buffering=old.line_buffering)


def end_like_other_tools(ended: OutputEnded) -> NoReturn:
    """End this process: by SIGPIPE (a shell shows 141) where the reader has gone; else with 1 and the reason."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # so that what is still in buffers goes nowhere when Python ends
    if ended.number == errno.EPIPE and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    sys.stderr.write(f"{ended}\n")
    sys.exit(1)
