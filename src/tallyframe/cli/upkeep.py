"""Commands that look after an installation: `migrate`, `doctor` and `openapi`."""

import json

import typer

from tallyframe.cli.context import DataDir, run_async, settings_for
from tallyframe.settings import load_settings


def migrate(data_dir: DataDir = None) -> None:
    """Bring the database to the newest revision."""
    from tallyframe.migrate import migrate as run_migrations, newest_revision

    run_migrations(settings_for(data_dir, "database_url").server.database_url.get_secret_value())
    print(f"The database is at revision {newest_revision()}.")


def doctor(data_dir: DataDir = None) -> None:
    """Check the configuration, reach everything it names with a free call, and say what to fix; exit 1 if anything."""
    from tallyframe.doctor import Finding, examine

    settings = settings_for(data_dir, "database_url", "redis_url")

    async def find() -> list[Finding]:
        return [finding async for finding in examine(settings)]

    findings = run_async(find())
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{'ok    ' if finding.is_well else 'WRONG '} {finding.name:{width}}  {finding.words}")
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


def openapi() -> None:
    """Print the OpenAPI 3.1 document."""
    from tallyframe.main import create_app

    print(json.dumps(create_app(load_settings()).openapi(), indent=2))
