"""Commands about the books: `ledger verify` and `ledger digest`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from tallyframe.cli.context import DataDir, run_async, settings_for
from tallyframe.settings import SettingsError

app = typer.Typer(no_args_is_help=True, help="The books.")


@app.command()
def verify(
    data_dir: DataDir = None,
    digest: Annotated[
        list[Path] | None,
        typer.Option(help="A digest, or a folder of them, that the books must hold. May be repeated."),
    ] = None,
    root: Annotated[str | None, typer.Option(help="What the root of the one digest must be, from the log.")] = None,
) -> None:
    """Audit the books: exit 0 and a summary, or exit 1 and every account that does not add up."""
    from tallyframe.commands.ledger import Audit
    from tallyframe.commands.users import database

    digests = digest or []
    if root is not None:
        if len(digests) != 1 or digests[0].is_dir():
            raise SettingsError("--root belongs to one file: give that file with --digest, and no other.")
        if not re.fullmatch("[0-9a-fA-F]{64}", root):
            raise SettingsError(f"{root!r} is not a root: that is 64 hexadecimal digits.")
        root = root.lower()
    settings = settings_for(data_dir, "database_url")

    async def audit() -> bool:
        checks = Audit()
        async with database(settings.server.database_url.get_secret_value()) as db:
            async for line in checks.lines(db, digests, root):
                print(line)
        return checks.is_well

    if not run_async(audit()):
        raise typer.Exit(1)


@app.command()
def digest(
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="A new file, or a folder; without it, to stdout.")] = None,
) -> None:
    """Write the last hash of each account to a file to keep elsewhere; `verify --digest` compares the books with it."""
    from tallyframe.commands.ledger import digest as make_digest
    from tallyframe.commands.users import database

    settings = settings_for(data_dir, "database_url")

    async def write() -> str:
        async with database(settings.server.database_url.get_secret_value()) as db:
            return await make_digest(db, out)

    print(run_async(write()), end="")
