"""The command line. Each command imports what it needs when it is called, so that all of them start fast."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from tallyframe.cli import ledger, running, upkeep, users
from tallyframe.cli.output import OutputEnded, end_like_other_tools, watch_stdout
from tallyframe.errors import Unavailable
from tallyframe.settings import SettingsError, unknown_variables

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (running.dev, running.api, running.worker, upkeep.migrate, upkeep.doctor, upkeep.openapi, running.demo):
    app.command()(command)
app.add_typer(users.app, name="user")
app.add_typer(ledger.app, name="ledger")


def show_version(wanted: bool) -> None:  # noqa: FBT001  # as typer calls it
    """Print the version and end, if that is what was asked for."""
    if wanted:
        print(f"tallyframe {version('tallyframe')}")
        raise typer.Exit


@app.callback(help="Tallyframe turns prompts and pictures into images and videos, and counts every credit.")
def before_each(
    *,
    show: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Say which variables nobody reads, before any command."""
    del show  # its callback has done it
    for line in unknown_variables():
        print(f"Warning: {line}", file=sys.stderr)


def main() -> None:
    """Run the command line. A problem that a person can solve is printed in plain lines, and the exit code is 1."""
    from tallyframe.embedded.errors import EmbeddedError

    watch_stdout()
    try:
        try:
            app()
        finally:
            if sys.stdout:  # there is none where it was closed before the start
                sys.stdout.flush()
    except OutputEnded as error:
        end_like_other_tools(error)
    except Unavailable as error:
        from tallyframe.lost import DatabaseAway

        print(error.words if isinstance(error, DatabaseAway) else error, file=sys.stderr)
        sys.exit(1)
    except (SettingsError, EmbeddedError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
