"""What the commands share: the option --data-dir, the settings, and the event loop."""

from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from tallyframe.settings import Settings, export, load_settings

Result = TypeVar("Result")
DataDir = Annotated[
    Path | None, typer.Option(help="The data folder of a running `tallyframe dev`, whose servers are then used.")
]
DEFAULT_DATA_DIR = Path(".tallyframe")


def settings_for(data_dir: Path | None, *needs: str) -> Settings:
    """Return the settings, with the servers of the stack in `data_dir` if one is given. `needs` must be set.

    Raises SettingsError, and EmbeddedError if no stack runs there.
    """
    if data_dir:
        from tallyframe.embedded.stack import read_stack

        stack = read_stack(data_dir)
        names = {"database_url": "database_url", "redis_url": "redis_url", "public_url": "url"}
        export({name: stack[key] for name, key in names.items()} | {"data_dir": str(data_dir.resolve())})
    return load_settings(needs=needs)


def run_async(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run the coroutine to its end in an event loop of its own, and return its result."""
    import uvloop

    return uvloop.run(coroutine)
