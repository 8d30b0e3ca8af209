"""A streaming replica of the Postgres that the tests stand on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tallyframe.embedded.files import server_user
from tallyframe.embedded.postgres import Postgres
from tallyframe.embedded.processes import Program, run_to_end
from tests.support.ramdisk import fast_folder


class Standby(Postgres):
    """A copy of `primary`, made at the first start, that replays all that the primary writes."""

    def __init__(self, folder: Path, primary: Postgres) -> None:
        super().__init__(folder, durable=False)
        self._primary = primary

    async def prepare(self) -> None:
        self.password = self._primary.password  # its users are those of the primary
        if self.has_data():
            return
        user = server_user(self.data)
        copy = [str(self.programs / "pg_basebackup"), "-d", self._primary.url, "-D", ".", "-R", "-c", "fast"]
        with self.log.open("ab") as log:
            program = Program(copy, {"LC_ALL": "C"}, user=user, folder=self.data, output=log.fileno())
            assert await run_to_end(program) == 0, self.log.read_text()


def on(standby: Postgres, url: str) -> str:
    """The URL of the same database on the replica."""
    return urlsplit(standby.url)._replace(path=urlsplit(url).path).geturl()


@asynccontextmanager
async def standby_of(primary: Postgres) -> AsyncIterator[Standby]:
    with fast_folder() as folder:
        standby = Standby(folder, primary)
        await standby.start()
        try:
            yield standby
        finally:
            await standby.stop()
