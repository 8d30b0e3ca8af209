"""Runs captured statements with pgbench: same SQL, same number of connections, prepared as asyncpg prepares them.

Every bound value stays a parameter. Only ids change from one run to the next: users, accounts and projects are drawn
from arrays, and new ids are counted up, so that they are ordered by time as the API's are.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import count as counter
from urllib.parse import urlsplit
from uuid import UUID

from bench.capture import Captured, Statement
from bench.cast import Person
from bench.figures import Figures, percentile
from bench.orders import KEY
from bench.site import Site

CONNECTIONS = 16
_THREADS = 2
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ROLE = "tallyframe_app"  # may order for all users; the API's own role may do so for one user at a time

_runs = counter()
_EACH_RUN = 10_000_000  # ids, so that those of one run are not those of another

#: The lines before the statement: who orders, and the next id, which has 12 digits and ends with the client's number.
_BEFORE = """\\set i :i + 1
\\set who random(1, {people})
\\set id 100000000000 + :i * 100 + :client_id
"""


async def orders(site: Site, captured: Captured, people: Sequence[Person], seconds: float) -> Figures:
    """Run the statement that accepts, for the `people` at random.

    Raises RuntimeError if it hasn't accepted an order each time.
    """
    users, accounts = zip(*((person.user_id, person.account_id) for person in people), strict=True)
    drawn = {captured.person.user_id: users, captured.person.account_id: accounts}
    async with site.owner() as owner:
        before = await owner.fetchval("SELECT count(*) FROM generations")
        found = await run(site, captured.accept, drawn, seconds)
        accepted = await owner.fetchval("SELECT count(*) FROM generations") - before
    if accepted != found.count:
        raise RuntimeError(f"pgbench has run {found.count} times and placed {accepted} orders")
    return found


async def run(site: Site, statement: Statement, drawn: Mapping[UUID, Sequence[UUID]], seconds: float) -> Figures:
    """Run the statement for `seconds`, with each UUID in `drawn` replaced by one of its list (all of the same length).

    Any other UUID is replaced by a new id. Raises RuntimeError if pgbench prints no figures.
    """
    script, log = site.stack.file("script.sql"), site.stack.file("log")
    sql, variables = write_script(statement, drawn)
    script.write_text(sql)
    options = ["-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", str(_THREADS), "-T", str(max(round(seconds), 1))]
    defined = [f"--define={name}={value}" for name, value in {"i": str(next(_runs) * _EACH_RUN), **variables}.items()]
    logged = ["--log", f"--log-prefix={log}"]
    program = str(site.stack.servers.postgres.programs / "pgbench")
    printed = await site.stack.run([program, *options, *defined, *logged, "-f", str(script)], _environment(site))
    rate = re.search(r"tps = ([\d.]+)", printed)
    count = re.search(r"actually processed: (\d+)", printed)
    if rate is None or count is None:
        raise RuntimeError(printed)
    latencies = [
        int(line.split()[2]) / 1000 for file in log.parent.glob(f"{log.name}.*") for line in file.open() if line.strip()
    ]
    p50, p95, p99 = (percentile(latencies, percent) for percent in (50, 95, 99))
    return Figures(float(rate[1]), p50, p95, p99, count=int(count[1]))


def write_script(statement: Statement, drawn: Mapping[UUID, Sequence[UUID]]) -> tuple[str, dict[str, str]]:
    """Return pgbench's script for the statement, and the variables that it needs."""
    variables: dict[str, str] = {}
    new: dict[UUID, int] = {}

    def place(match: re.Match[str]) -> str:
        value = statement.values[int(match[1]) - 1]
        if isinstance(value, str) and _UUID.fullmatch(value):  # asyncpg gets some ids as text
            value = UUID(value)
        if isinstance(value, UUID) and value in drawn:
            return f"('{{{','.join(map(str, drawn[value]))}}}'::uuid[])[:who]"
        if isinstance(value, UUID):
            return f"('019a0000-0000-7000-8{new.setdefault(value, len(new)):03}-' || :id)"
        if value is None:
            return "NULL"
        if value == KEY:
            return "('key-' || :id)"
        if isinstance(value, bytes):
            return f"'\\x{value.hex()}'"
        if isinstance(value, list):
            value = f"{{{','.join(map(str, value))}}}"
        text = f"{value.total_seconds()} seconds" if isinstance(value, timedelta) else str(value)
        variables[f"p{match[1]}"] = text
        return f":p{match[1]}"

    sql = re.sub(r"\$(\d+)", place, statement.sql)
    people = len(next(iter(drawn.values())))
    return f"{_BEFORE.format(people=people)}{sql};\n", variables


def _environment(site: Site) -> dict[str, str]:
    url = urlsplit(site.database_url)
    names = {"HOST": url.hostname, "PORT": url.port, "USER": url.username, "PASSWORD": url.password}
    role = {"PGDATABASE": url.path.strip("/"), "PGOPTIONS": f"-c role={_ROLE}"}
    return {**{f"PG{name}": str(value) for name, value in names.items()}, **role}
