"""Says again what the version before has said to Postgres: the lives of some orders, as often as wanted, with new ids.

What it has said, and how that was recorded, is in `statements.sql` and `lives.jsonl`.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from tallyframe.db import USER_SETTING
from tests.conftest import owner_of

HERE = Path(__file__).parent
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_HASH = re.compile(r"\\x([0-9a-f]{64})")
_PARAMETER = re.compile(r"\$(\d+)")


@dataclass(frozen=True)
class Said:
    """One statement, with its values in it. `role` is that of a process of the version before, or `owner`."""

    role: str
    sql: str


@cache
def recorded() -> tuple[str, list[Said]]:
    """Return the id of the user who orders, and all that was said."""
    _, *numbered = re.split(r"^--; \d+\n", (HERE / "statements.sql").read_text(), flags=re.MULTILINE)
    first, *lines = (json.loads(line) for line in (HERE / "lives.jsonl").read_text().splitlines())

    def said(role: str, number: int, values: list[str]) -> Said:
        return Said(role, _PARAMETER.sub(lambda found: values[int(found[1]) - 1], numbered[number - 1]))

    return first["user"], [said(*line) for line in lines]


@dataclass(frozen=True)
class Lives:
    """The recorded lives, with ids and hashes of their own: `number` tells them from those of others."""

    number: int

    @property
    def user(self) -> UUID:
        """Who has ordered."""
        return UUID(self._own(recorded()[0]))

    async def play(self, url: str) -> None:
        """Say all of it, each statement in a transaction of its own. Raises what Postgres answers to one."""
        async with owner_of(url) as connection:
            await connection.execute("SET statement_timeout = '15s'")  # as the processes have it
            for said in recorded()[1]:
                await self._say(connection, said)

    async def _say(self, connection: Any, said: Said) -> None:
        acts = "" if said.role == "owner" else f"SET LOCAL ROLE tallyframe_{said.role};"
        acts += f"SET LOCAL {USER_SETTING} = '{self.user}';" if said.role == "api" else ""
        await connection.execute(f"BEGIN; {acts} {self._own(said.sql)}; COMMIT")

    def _own(self, text: str) -> str:
        text = _ID.sub(lambda found: self._id(found[0]), text)
        return _HASH.sub(lambda found: "\\x" + sha256(f"{self.number}{found[1]}".encode()).hexdigest(), text)

    def _id(self, recorded_id: str) -> str:
        """Return another id of the same time, so that ids still sort by time."""
        return f"{recorded_id[:19]}{str(uuid5(NAMESPACE_OID, f'{self.number}{recorded_id}'))[19:]}"
