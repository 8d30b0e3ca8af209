"""Becomes another program, which then ends when its starter does. Run by path, so only the standard library is here.

    python -I -S child.py STARTER_PID DEATH_SIGNAL UID:GID|- PROGRAM [ARGUMENT ...]

DEATH_SIGNAL is the number of the signal that the kernel sends to the program once the starter is gone, however it went
(Linux only). UID:GID gives up root's rights, which Postgres insists on. The program's files and its working folder may
lie where that user cannot look, as under /root: only then it keeps the right to pass file permissions (Linux only).
"""

import ctypes
import os
import signal
import sys

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522


def _call(name: str, *arguments: object) -> None:
    """Call the C library; raises OSError with its reason."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _set_capabilities(mask: int) -> None:
    """Make `mask` the effective, permitted and inheritable capabilities."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0))


def _can_reach(program: str) -> bool:
    """Whether the user that we are now may read the program's installation and enter the working folder."""
    installation = os.path.dirname(os.path.dirname(program))  # noqa: PTH120 - pathlib would double the start-up time
    return all(os.access(path, os.R_OK | os.X_OK) for path in (program, installation, os.getcwd()))  # noqa: PTH109 - as above


def _become(uid: int, gid: int, program: str) -> None:
    """Give up root's rights, all but the one to reach the program's files where that is needed."""
    if _LINUX:
        _call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if not _LINUX:
        return
    if _can_reach(program):
        _set_capabilities(0)
        return
    _set_capabilities(1 << _CAP_DAC_OVERRIDE)
    _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def _end_with(starter: int, death_signal: int) -> None:
    """Ask the kernel for `death_signal` at the end of the starter, and leave now if that was before we could ask."""
    if _LINUX:  # after setuid, which would undo it
        _call("prctl", _PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != starter:
        sys.exit(0)


def main(starter: str, death_signal: str, user: str, *argv: str) -> None:
    """Become the program `argv`; says on stderr why not, and exits with 126."""
    problem = "It does not run as root, and cannot be run as a user who reaches its files"
    try:
        if user != "-":
            uid, gid = user.split(":")
            _become(int(uid), int(gid), argv[0])
        _end_with(int(starter), int(death_signal))
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the program would inherit that
        problem = "It cannot be run"
        os.execv(argv[0], argv)  # noqa: S606 - the very purpose; no shell is wanted
    except OSError as error:
        sys.stderr.write(f"FATAL: {os.path.basename(argv[0])}: {problem}: {error.strerror}\n")  # noqa: PTH119 - as above
        sys.exit(126)


if __name__ == "__main__":
    main(*sys.argv[1:])
