"""A real PgBouncer in front of Postgres, with the logins and the lines of docs/poolers.md."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from tallyframe.db import ADMIN_ROLE, API_ROLE, WEBHOOKS_ROLE, WORKER_ROLE
from tests.support.processes import free_port

PAGE = Path(__file__).parents[2] / "docs" / "poolers.md"
ROLES = (API_ROLE, ADMIN_ROLE, WORKER_ROLE, WEBHOOKS_ROLE)
#: The first version that keeps prepared statements.
OLDEST = (1, 21)


def on_the_page(kind: str) -> str:
    """The first lines of that kind on the page: `sql` or `ini`."""
    found: list[str] = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return found[0]


def pgbouncer() -> str | None:
    """The path of a PgBouncer that keeps prepared statements; None if there is none."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"(\d+)\.(\d+)", said)
    return found if version and tuple(map(int, version.groups())) >= OLDEST else None


async def make_logins(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Make the four logins, unless they are there."""
    if not await owner.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", f"{API_ROLE}_pooled"):
        await owner.execute(on_the_page("sql"))


def pooled(url: str, port: int | None = None) -> str:
    """The URL for that database as a pooler has it; by default Postgres' own port: nothing stands in between."""
    parts = urlsplit(url)
    return f"postgresql://{{role}}_pooled:password@127.0.0.1:{port or parts.port}{parts.path}"


@asynccontextmanager
async def running(url: str, **changes: str) -> AsyncIterator[int]:
    """Run a PgBouncer for that Postgres, for all databases; yield its port. `changes` are lines of its settings."""
    program, port = pgbouncer(), free_port()
    assert program
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    settings = {"listen_port": str(port), "auth_file": str(folder / "users"), "unix_socket_dir": "", **changes}
    lines = re.sub(
        r"^tallyframe = .*$", f"* = host=127.0.0.1 port={urlsplit(url).port}", on_the_page("ini"), flags=re.MULTILINE
    )
    for name, value in settings.items():
        lines = re.sub(rf"^{name} = .*\n", "", lines, flags=re.MULTILINE) + f"{name} = {value}\n"
    (folder / "users").write_text("".join(f'"{role}_pooled" "password"\n' for role in ROLES))
    (folder / "pgbouncer.ini").write_text(lines)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
    with (folder / "log").open("wb") as log:
        user = "nobody" if os.getuid() == 0 else None  # it refuses to run as root
        process = subprocess.Popen([program, str(folder / "pgbouncer.ini")], stdout=log, stderr=log, user=user)
    try:
        while b"process up" not in (folder / "log").read_bytes():
            assert process.poll() is None, (folder / "log").read_text()
            await asyncio.sleep(0.02)
        yield port
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: SIGTERM waits for its clients to leave
        await asyncio.to_thread(process.wait, 10)
        shutil.rmtree(folder)
