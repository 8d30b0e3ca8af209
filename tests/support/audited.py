"""What `tallyframe ledger verify` says, as data."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tallyframe.commands.ledger import Audit
from tallyframe.db import Database, Reader
from tallyframe.ledger.digest.files import write_file, write_into
from tallyframe.ledger.snapshot import snapshot


@asynccontextmanager
async def moment(db: Database) -> AsyncIterator[Reader]:
    """Read the books as of one moment."""
    async with db.transaction() as transaction:
        yield await snapshot(transaction)


async def digest_into(db: Database, out: Path) -> Path:
    """Write a digest to the file, or into the folder, and return its path."""
    async with moment(db) as reader:
        return (await (write_into if out.is_dir() else write_file)(reader, out))[1]


async def audited(db: Database, *digests: Path) -> dict[str, list[str]]:
    """Audit the books as the command does: check or digest → the lines about what is wrong with it."""
    audit, found, current = Audit(), dict[str, list[str]](), list[str]()
    async for line in audit.lines(db, digests):
        if name := re.match(r"WRONG +(.+)", line):
            current = found.setdefault(name[1], [])
        elif line.startswith("       "):
            current.append(line.strip())
    assert audit.is_well == (not found)
    return found
