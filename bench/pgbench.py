"""Runs captured statements with pgbench: same SQL, same number of connections, prepared as asyncpg prepares them.

Every bound value stays a parameter. Only ids change from one run to the next: users, accounts and projects are drawn
from arrays, and new ids are counted up, so that they are ordered by time as the API's are.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

from bench.capture import Statement
from bench.figures import Figures, percentile
from bench.orders import KEY
from bench.stack import Stack

CONNECTIONS = 16
_THREADS = 2
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ROLE = "tallyframe_app"  # may order for all users; the API's own role may do so for one user at a time

#: The lines before the statement: who orders, and the next id, which has 12 digits and ends with the client's number.
_BEFORE = """\\set i :i + 1
\\set who random(1, {people})
\\set id 100000000000 + :i * 100 + :client_id
"""


async def run(stack: Stack, statement: Statement, drawn: Mapping[UUID, Sequence[UUID]], seconds: int) -> Figures:
    """Run the statement for `seconds`, with each UUID in `drawn` replaced by one of its list (all of the same length).

    Any other UUID is replaced by a new id. Raises RuntimeError if pgbench prints no figures.
    """
    script, log = stack.file("script.sql"), stack.file("log")
    sql, variables = write_script(statement, drawn)
    script.write_text(sql)
    options = ["-n", "-M", "prepared", "-c", str(CONNECTIONS), "-j", str(_THREADS), "-T", str(seconds)]
    defined = [f"--define={name}={value}" for name, value in {"i": "0", **variables}.items()]
    logged = ["--log", f"--log-prefix={log}"]
    program = str(stack.servers.postgres.programs / "pgbench")
    printed = await stack.run([program, *options, *defined, *logged, "-f", str(script)], _environment(stack))
    rate = re.search(r"tps = ([\d.]+)", printed)
    count = re.search(r"actually processed: (\d+)", printed)
    if rate is None or count is None:
        raise RuntimeError(printed)
    latencies = [
        int(line.split()[2]) / 1000 for file in log.parent.glob(f"{log.name}.*") for line in file.open() if line.strip()
    ]
    return Figures(float(rate[1]), percentile(latencies, 50), percentile(latencies, 99), count=int(count[1]))


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


def _environment(stack: Stack) -> dict[str, str]:
    url = urlsplit(stack.database_url)
    names = {"HOST": url.hostname, "PORT": url.port, "USER": url.username, "PASSWORD": url.password}
    role = {"PGDATABASE": url.path.strip("/"), "PGOPTIONS": f"-c role={_ROLE}"}
    return {**{f"PG{name}": str(value) for name, value in names.items()}, **role}
