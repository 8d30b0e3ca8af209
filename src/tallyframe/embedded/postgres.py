"""PostgreSQL from a wheel."""

import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

from tallyframe.embedded import orphans
from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.files import make_server_folder, remove_folder, server_user, write_private
from tallyframe.embedded.ports import LOOPBACK
from tallyframe.embedded.processes import Program, Steps, run_to_end
from tallyframe.embedded.server import Server
from tallyframe.embedded.wheels import postgres_programs

_NAME = "tallyframe"  # of the user and of the database
_ENV = {"LC_ALL": "C", "TZ": "UTC"}  # and nothing else: PGOPTIONS or PGDATA of our environment must play no part
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # a socket's path is limited to 107 bytes, a data folder's is not
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "jit": "off",  # our queries are short
    "log_min_error_statement": "panic",  # statements carry prompts
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
_UNSAFE = {"fsync": "off"}  # only a power cut loses data: the kernel has what was committed, whoever kills the server
_LONGEST_PATH = 900  # bytes: Postgres has room for 1023, with the names inside the data folder
_FAST = signal.SIGINT  # ends transactions and disconnects; SIGTERM would wait for the clients to leave
_IMMEDIATE = signal.SIGQUIT  # as a crash, but of all processes at once


class Postgres(Server):
    """A PostgreSQL with one database and one user, both named tallyframe."""

    name: ClassVar[str] = "postgres"
    title: ClassVar[str] = "PostgreSQL"
    end_steps: ClassVar[Steps] = ((_FAST, 15.0), (_IMMEDIATE, 5.0))

    @property
    def url(self) -> str:
        """`postgresql://tallyframe:<password>@127.0.0.1:<port>/tallyframe`."""
        return self._url(_NAME)

    @property
    def programs(self) -> Path:
        """The folder with psql, pgbench and so on, of the version that the data has."""
        version = self.data / "PG_VERSION"
        return postgres_programs(version.read_text().strip() if version.exists() else None)

    @property
    def _here(self) -> str:
        """The name of the data folder for Postgres, whose working folder it is. "." would become an absolute path."""
        too_long = len(os.fsencode(self.data)) > _LONGEST_PATH
        return "/proc/self/cwd" if too_long and sys.platform == "linux" else "."

    async def start(self) -> None:
        """Start the server, wait until it is ready, and make the database if it is missing; raises EmbeddedError."""
        await super().start()
        try:
            await self._make_database()
        except BaseException:
            await self.stop()
            raise

    def has_data(self) -> bool:
        """Return whether there is a cluster."""
        return (self.data / "PG_VERSION").exists()

    async def prepare(self) -> None:
        """Make the cluster if there is none, and end a server that an earlier run has left behind."""
        if not self.has_data():
            await self._make_cluster()
        await orphans.clear(self.data / "postmaster.pid", "postgres", _FAST)

    async def _make_cluster(self) -> None:
        """Run initdb in `postgres.new` and rename that at the end: half a cluster must never look like a whole one."""
        new, password = self.folder / "postgres.new", self.folder / "postgres.password"
        initdb = [
            *(str(self.programs / "initdb"), f"--pgdata={self._here}", "--no-instructions"),
            *(f"--username={_NAME}", f"--pwfile=../{password.name}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *(() if self.durable else ("--no-sync",)),
        ]
        user = server_user(self.data)
        remove_folder(new)
        make_server_folder(new, user)
        try:
            password.unlink(missing_ok=True)
            write_private(password, self.password, user)
            with self.log.open("ab") as log:
                self.log.chmod(0o600)
                self._log_start = log.tell()
                if await run_to_end(Program(initdb, _ENV, user=user, folder=new, output=log.fileno())):
                    raise EmbeddedError(f"PostgreSQL's initdb failed: {self.last_error()} (see {self.log})")
            new.replace(self.data)
        finally:
            password.unlink(missing_ok=True)
            remove_folder(new)

    def program(self) -> Program:
        """Return the server with its settings as arguments, so that no file can differ from them."""
        settings = _SETTINGS | {"port": str(self.port)} | ({} if self.durable else _UNSAFE)
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        argv = [str(self.programs / "postgres"), "-D", self._here, *options]
        return Program(argv, _ENV, death_signal=_FAST, folder=self.data)

    async def is_ready(self) -> bool:
        """Return whether postmaster.pid says so: its last line is the server's state, which pg_ctl reads too."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return lines[:1] == [str(self.pid)] and lines[-1].strip() == "ready"

    async def _make_database(self) -> None:
        """Make the database `tallyframe`, unless we can connect to it."""
        import asyncpg

        try:
            await (await asyncpg.connect(self.url)).close()
        except asyncpg.InvalidCatalogNameError:
            connection = await asyncpg.connect(self._url("postgres"))
            await connection.execute(f"CREATE DATABASE {_NAME}")
            await connection.close()
        except (OSError, asyncpg.PostgresError) as error:
            raise EmbeddedError(f"PostgreSQL does not let us in: {error}") from error

    def _url(self, database: str) -> str:
        return f"postgresql://{_NAME}:{self.password}@{LOOPBACK}:{self.port}/{database}"
