"""Captured statements by pgbench: same SQL, same number of connections, prepared as asyncpg prepares them.

Every bound value stays a parameter. Only ids vary from one run of the statement to the next: users, accounts and
projects are drawn from arrays, new ids are counted up, in time order as the API's are.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from bench.capture import Statement
from bench.figures import Figures, percentile
from bench.stack import Stack

CONNECTIONS = 16
_THREADS = 2
_ROLE = "tallyframe_app"  # places orders for everybody; the API's own role does so for one user at a time

#: The three lines before the statement: who, and the next id: 12 digits, the client's number last.
_BEFORE = """\\set i :i + 1
\\set who random(1, {people})
\\set id 100000000000 + :i * 100 + :client_id
"""


async def run(stack: Stack, statement: Statement, drawn: Mapping[UUID, Sequence[UUID]], seconds: int) -> Figures:
    """Run the statement for `seconds`, with each UUID among `drawn` replaced by any of its list (all of one length).

    UUIDs that aren't there are taken for new ids.
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
        value = _as_uuid(statement.values[int(match[1]) - 1])
        if isinstance(value, UUID):
            return _drawn(drawn[value]) if value in drawn else _counted(new.setdefault(value, len(new)))
        if value is None:
            return "NULL"
        variables[f"p{match[1]}"] = _text(value)
        return f":p{match[1]}"

    sql = re.sub(r"\$(\d+)", place, statement.sql)
    people = len(next(iter(drawn.values())))
    return f"{_BEFORE.format(people=people)}{sql};\n", variables


def _drawn(ids: Sequence[UUID]) -> str:
    return f"('{{{','.join(map(str, ids))}}}'::uuid[])[:who]"


def _counted(kind: int) -> str:
    return f"('019a0000-0000-7000-8{kind:03}-' || :id)"


def _as_uuid(value: Any) -> Any:  # noqa: ANN401  # whatever a statement may hold
    """Return a UUID for what reads like one: drivers get some of them as text."""
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value):
        return UUID(value)
    return value


def _text(value: Any) -> str:  # noqa: ANN401  # as above
    """Return the value as Postgres reads it."""
    return f"{value.total_seconds()} seconds" if isinstance(value, timedelta) else str(value)


def _environment(stack: Stack) -> dict[str, str]:
    url = urlsplit(stack.database_url)
    names = {"HOST": url.hostname, "PORT": url.port, "USER": url.username, "PASSWORD": url.password}
    role = {"PGDATABASE": url.path.strip("/"), "PGOPTIONS": f"-c role={_ROLE}"}
    return {**{f"PG{name}": str(value) for name, value in names.items()}, **role}
