"""Migrates a database to the newest revision, as the login role, which owns the tables; tells at which it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import sleep
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from tallyframe.errors import Unavailable
from tallyframe.lost import DatabaseAway, as_unavailable, sqlstate
from tallyframe.servers.postgres_url import parse_postgres_url

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
    """Upgrade the database. Uses its own event loop, so call it from a thread when one is running.

    One process at a time migrates a database; the others wait for it. Raises Unavailable when Postgres is away, and
    UnknownRevision when a newer version has migrated it. ValueError: a bad URL.
    """
    url = parse_postgres_url(database_url)
    for is_last in (*(False,) * (RACES - 1), True):
        try:
            command.upgrade(alembic_config(database_url), revision)
        except DBAPIError as error:
            if unavailable := as_unavailable(error, url):
                raise unavailable from error
            if is_last or not _is_race(error):
                raise
            sleep(PAUSE)
        except OSError as error:
            raise DatabaseAway(error, url) from error
        except CommandError as error:
            if not isinstance(error.__cause__, ResolutionError):
                raise
            raise UnknownRevision(str(error.__cause__.argument)) from error
        else:
            return


#: Roles belong to the whole server, and a lock only to one database. So migrations of two databases may still meet at a
#: role. One of them then fails as a whole, and is made again, this many times in all, so many seconds later.
RACES, PAUSE = 5, 0.3
_RACES = ("42710", "23505")  # the role is there already, by now
_OVERTAKEN = "tuple concurrently"  # updated or deleted: an error without a SQLSTATE of its own


def _is_race(error: DBAPIError) -> bool:
    """Tell whether another database's migration has just changed the roles that this one changes."""
    words = str(error.orig)
    return _OVERTAKEN in words or (sqlstate(error) in _RACES and ("pg_auth" in words or "role" in words))


class UnknownRevision(Unavailable):
    """The database is at a revision that this version doesn't know."""

    def __init__(self, revision: str) -> None:
        said = f"The database is at revision {revision}, which this version ({newest_revision()}) doesn't know"
        super().__init__(f"{said}: a newer one has migrated it. Run that version, or restore a copy from before.")


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
