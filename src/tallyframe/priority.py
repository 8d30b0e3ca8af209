"""How far a process stands back behind others for a processor."""

import os
from contextlib import suppress
from pathlib import Path

#: 0 is like any other, 19 is the farthest.
BACK = 10


def stand_back() -> None:
    """Let other processes have the processor first.

    Linux may share the processors among sessions before it heeds how nice a process is (sched(7), "The autogroup
    feature"). So the session stands back, too; call it where the process has a session of its own.
    """
    os.nice(BACK)
    with suppress(OSError):  # there are no such groups
        Path("/proc/self/autogroup").write_text(str(BACK))
