"""The command line. Each command imports what it needs when it is called, so that all of them start fast."""

import sys

import typer

from tallyframe.cli import ledger, running, upkeep, users
from tallyframe.errors import Unavailable
from tallyframe.settings import SettingsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Tallyframe turns prompts and pictures into images and videos, and counts every credit.",
)
for command in (running.dev, running.api, running.worker, upkeep.migrate, upkeep.doctor, upkeep.openapi, running.demo):
    app.command()(command)
app.add_typer(users.app, name="user")
app.add_typer(ledger.app, name="ledger")


def main() -> None:
    """Run the command line. A problem that a person can solve is printed in plain lines, and the exit code is 1."""
    from tallyframe.embedded.errors import EmbeddedError

    try:
        app()
    except (SettingsError, EmbeddedError, Unavailable) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
