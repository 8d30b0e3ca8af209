"""Times that processes of the benchmark write down, a line each: what, which, and seconds since the epoch."""

import os
from collections.abc import Mapping
from pathlib import Path
from time import time

#: The variable that names the file.
NOTES = "BENCH_NOTES"


def note(what: str, which: str) -> None:
    """Write down that this happens now. Many processes may write to one file, since each line is one write."""
    if path := os.environ.get(NOTES):
        line = f"{what} {which} {time():.6f}\n".encode()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)
        os.close(descriptor)


def read(path: Path, what: str) -> Mapping[str, float]:
    """Return the first time of each that was noted as `what`."""
    found: dict[str, float] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        kind, which, when = line.split()
        if kind == what:
            found.setdefault(which, float(when))
    return found
