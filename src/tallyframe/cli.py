"""The command line. Each command imports what it needs, so that all start fast."""

import asyncio
import json
import re
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from tallyframe.errors import Unavailable
from tallyframe.settings import Settings, SettingsError, environment, export, load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
user_app = typer.Typer(no_args_is_help=True, help="Users.")
ledger_app = typer.Typer(no_args_is_help=True, help="The books.")
app.add_typer(user_app, name="user")
app.add_typer(ledger_app, name="ledger")

DataDir = Annotated[
    Path | None, typer.Option(help="The data folder of a running `tallyframe dev`, whose servers are then used.")
]
DEFAULT_DATA_DIR = Path(".tallyframe")
MAX_EMAIL = 320  # characters, RFC 3696


def main() -> None:
    """Run the command line; a problem is said in plain lines and ends with exit code 1."""
    from tallyframe.embedded.errors import EmbeddedError

    try:
        app()
    except (SettingsError, EmbeddedError, Unavailable) as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _settings(data_dir: Path | None, *needs: str) -> Settings:
    """Return the settings, with the servers of the stack in `data_dir` if one is given."""
    if data_dir:
        from tallyframe.embedded.stack import read_stack

        stack = read_stack(data_dir)
        names = {"database_url": "database_url", "redis_url": "redis_url", "public_url": "url"}
        export({name: stack[key] for name, key in names.items()} | {"data_dir": str(data_dir.resolve())})
    return load_settings(needs=needs)


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  # whatever the coroutine returns
    import uvloop

    return uvloop.run(coroutine)


@app.command()
def dev(port: Annotated[int, typer.Option(min=1, max=65535)] = 8000, data_dir: Path = DEFAULT_DATA_DIR) -> None:
    """Run everything: Postgres, Valkey, migrations, API and worker, until Ctrl-C. The data stays in the folder."""
    from tallyframe.embedded.stack import Plan, run
    from tallyframe.logs import configure_logs

    load_settings()  # so that a mistake in them is told before anything starts
    configure_logs("console", "info", "dev")
    command = [sys.executable, "-m", "tallyframe"]
    plan = Plan(
        data_dir=data_dir.absolute(),
        port=port,
        api=[*command, "api", "--port", str(port)],
        worker=[*command, "worker"],
        env={"TALLYFRAME_LOG_FORMAT": "console", **environment()},
        prepare=lambda url: _prepare(url, data_dir.absolute()),
        on_ready=_announce,
        worker_ready=_worker_ready,
    )
    asyncio.run(run(plan))


async def _prepare(database_url: str, data_dir: Path) -> Mapping[str, str]:
    from tallyframe.commands.users import database, dev_keys
    from tallyframe.migrate import migrate

    await asyncio.to_thread(migrate, database_url)
    async with database(database_url) as db:
        return await dev_keys(db, data_dir)


async def _worker_ready(database_url: str) -> bool:
    from tallyframe.commands.users import database
    from tallyframe.workers.heartbeat import present

    try:
        async with database(database_url) as db:
            return bool(await present(db))
    except Unavailable:
        return False


def _announce(stack: Mapping[str, str]) -> None:
    print(
        f"\n  Tallyframe is ready at  {stack['url']}\n"
        f"  API docs                {stack['url']}/docs\n"
        f"  API key                 {stack['api_key']}\n"
        f"  Admin API key           {stack['admin_api_key']}\n"
        "  Stop with               Ctrl-C\n",
        flush=True,
    )


@app.command()
def api(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    data_dir: DataDir = None,
) -> None:
    """Run the HTTP API."""
    import uvicorn

    from tallyframe.logs import configure_logs
    from tallyframe.main import check

    settings = _settings(data_dir, "database_url", "redis_url")
    check(settings)  # so that a mistake is told in a line, and not by each process
    configure_logs(settings.log_format, settings.log_level, "api")
    uvicorn.run(
        "tallyframe.main:serve",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=15,  # seconds for requests that are under way
    )


@app.command()
def worker(data_dir: DataDir = None) -> None:
    """Run one worker process. Run as many as you like, on as many machines as you like."""
    from tallyframe.logs import configure_logs
    from tallyframe.worker import run_worker

    settings = _settings(data_dir, "database_url", "redis_url")
    configure_logs(settings.log_format, settings.log_level, "worker")
    _run(run_worker(settings))


@app.command()
def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to the newest revision."""
    from tallyframe.migrate import migrate as run_migrations, newest_revision

    run_migrations(_settings(data_dir, "database_url").database_url.get_secret_value())
    print(f"The database is at revision {newest_revision()}.")


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Check the configuration, reach everything it names with a free call, and say what to fix; exit 1 if anything."""
    if not _run(_examine(_settings(data_dir, "database_url", "redis_url"))):
        raise typer.Exit(1)


async def _examine(settings: Settings) -> bool:
    from tallyframe.doctor import examine

    findings = [finding async for finding in examine(settings)]
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{'ok    ' if finding.is_well else 'WRONG '} {finding.name:{width}}  {finding.words}")
    return all(finding.is_well for finding in findings)


@app.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document."""
    from tallyframe.main import create_app

    print(json.dumps(create_app(load_settings()).openapi(), indent=2))


@app.command()
def demo(data_dir: Path = DEFAULT_DATA_DIR / "demo") -> None:
    """Make one image from two sample photos and one video from it, and print the ledger."""
    from tallyframe.demo.run import run_demo

    asyncio.run(run_demo(data_dir))


@user_app.command("add")
def user_add(
    email: str,
    *,
    admin: Annotated[bool, typer.Option("--admin", help="May see and change everything.")] = False,
    member: Annotated[bool, typer.Option("--member", help="Opens members-only prompts.")] = False,
    credits_given: Annotated[int | None, typer.Option("--credits", min=0, max=1_000_000_000)] = None,
    data_dir: DataDir = None,
) -> None:
    """Make or update a user, grant credits (a new user's default: the sign-up credits), print a new API key as JSON."""
    if "@" not in email or len(email) > MAX_EMAIL or any(not character.isprintable() for character in email):
        raise SettingsError(f"{email!r} is not an e-mail address.")
    settings = _settings(data_dir, "database_url")
    print(_run(_add_user(settings, email, admin, member, credits_given)))


async def _add_user(settings: Settings, email: str, admin: bool, member: bool, given: int | None) -> str:  # noqa: FBT001
    from tallyframe.commands.users import add_user, database

    async with database(settings.database_url.get_secret_value()) as db:
        user, secret = await add_user(
            db, email, admin=admin, member=member, credits_given=given, signup_credits=settings.signup_credits
        )
    return json.dumps({"user_id": str(user.id), "email": user.email, "api_key": secret})


@ledger_app.command("verify")
def ledger_verify(
    data_dir: DataDir = None,
    digest: Annotated[
        list[Path] | None,
        typer.Option(help="A digest, or a folder of them, that the books must hold. May be repeated."),
    ] = None,
    root: Annotated[str | None, typer.Option(help="What the root of the one digest must be, from the log.")] = None,
) -> None:
    """Audit the books: exit 0 and a summary, or exit 1 and every account that does not add up."""
    digests = digest or []
    if root is not None:
        root = _root(root, digests)
    settings = _settings(data_dir, "database_url")
    if not _run(_verify(settings.database_url.get_secret_value(), digests, root)):
        raise typer.Exit(1)


def _root(given: str, digests: list[Path]) -> str:
    if len(digests) != 1 or digests[0].is_dir():
        raise SettingsError("--root is of one file: give that with --digest, and no other.")
    if not re.fullmatch("[0-9a-fA-F]{64}", given):
        raise SettingsError(f"{given!r} is not a root: that is 64 hexadecimal digits.")
    return given.lower()


async def _verify(database_url: str, digests: list[Path], root: str | None) -> bool:
    from tallyframe.commands.ledger import Audit
    from tallyframe.commands.users import database

    audit = Audit()
    async with database(database_url) as db:
        async for line in audit.lines(db, digests, root):
            print(line)
    return audit.is_well


@ledger_app.command("digest")
def ledger_digest(
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="A new file, or a folder; without it, to stdout.")] = None,
) -> None:
    """Write the heads of all accounts, for a place outside of the database; `verify --digest` holds the books to it."""
    settings = _settings(data_dir, "database_url")
    print(_run(_digest(settings.database_url.get_secret_value(), out)), end="")


async def _digest(database_url: str, out: Path | None) -> str:
    from tallyframe.commands.ledger import digest
    from tallyframe.commands.users import database

    async with database(database_url) as db:
        return await digest(db, out)
