"""Becomes another program, which the kernel then ends together with its starter.

    python -I -S child.py STARTER_PID DEATH_SIGNAL UID:GID|- PROGRAM [ARGUMENT ...]

DEATH_SIGNAL is the number of the signal that the kernel sends to the program once the starter is gone, for whatever
reason (Linux only). UID:GID is the user to become instead of root, as Postgres insists. If that user cannot reach the
program's files or the working folder, as below /root, it keeps the right to pass file permissions (Linux only).

It is run by path, so it can import the standard library only.
"""

import ctypes
import os
import signal
import sys

_LINUX = sys.platform == "linux"
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 8, 28, 47, 2
_CAP_DAC_OVERRIDE, _CAP_SETPCAP = 1, 8
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raises OSError if it fails."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _set_capabilities(mask: int) -> None:
    """Make `mask` the effective, permitted and inheritable capabilities."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0))


def _give_up_root(uid: int, gid: int, program: str) -> None:
    """Become that user and lose all capabilities, but the one to reach the program's files if it is needed."""
    if _LINUX:
        _call("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if not _LINUX:
        return
    installation = os.path.dirname(os.path.dirname(program))  # noqa: PTH120 - pathlib would double the start-up time
    folders = (program, installation, os.getcwd())  # noqa: PTH109 - as above
    if all(os.access(path, os.R_OK | os.X_OK) for path in folders):
        _set_capabilities(0)
        return
    # access(2), by which initdb looks for postgres, heeds the capability of a user who isn't root only with this bit.
    _set_capabilities(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_SETPCAP)
    _call("prctl", _PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    _set_capabilities(1 << _CAP_DAC_OVERRIDE)
    _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def main(starter: str, death_signal: str, user: str, *argv: str) -> None:
    """Become the program `argv`. If that fails, say why on stderr and exit with 126."""
    problem = (
        "It does not run as root, and no other user can enter the folders of its files."
        " Open these for others (chmod o+x), or start as another user"
    )
    try:
        if user != "-":
            uid, gid = user.split(":")
            _give_up_root(int(uid), int(gid), argv[0])
        if _LINUX:  # after setuid, which would undo it
            _call("prctl", _PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != int(starter):  # it ended before the kernel knew of our wish
            sys.exit(0)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the program would inherit that
        problem = "It cannot be run"
        os.execv(argv[0], argv)  # noqa: S606 - this is what we are here for, and no shell is involved
    except OSError as error:
        sys.stderr.write(f"FATAL: {os.path.basename(argv[0])}: {problem}: {error.strerror}\n")  # noqa: PTH119 - as above
        sys.exit(126)


if __name__ == "__main__":
    main(*sys.argv[1:])
