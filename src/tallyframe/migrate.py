"""Migrates a database to the newest revision, as the login role, which owns the tables; tells at which it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

_HERE = Path(__file__).parent


def alembic_config(database_url: str = "") -> Config:
    """Return alembic's configuration for that database. Migrations come with the package, or from the checkout."""
    installed = _HERE / "_migrations"
    config = Config()
    folder = installed if installed.exists() else _HERE.parents[1] / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["url"] = database_url
    return config


def migrate(database_url: str, revision: str = "head") -> None:
    """Upgrade the database. Uses its own event loop, so call it from a thread when one is running."""
    command.upgrade(alembic_config(database_url), revision)


@cache
def newest_revision() -> str | None:
    """Return the newest revision, which this code needs."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head()


@dataclass(frozen=True, slots=True)
class Revision:
    """At which revision a database is, and which one this code needs."""

    found: str | None
    needed: str | None

    @property
    def is_current(self) -> bool:
        """Whether these are the same. In an upgrade, the version before runs for a while where they are not."""
        return self.found == self.needed


async def read_revision(run: Callable[[sa.Executable], Awaitable["sa.CursorResult[Any]"]]) -> Revision:
    """Return the revision of a database, given what runs a statement there. Raises what that raises."""
    found = (await run(sa.text("SELECT version_num FROM public.alembic_version"))).scalar_one_or_none()
    return Revision(found, newest_revision())
