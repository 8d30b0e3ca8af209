"""Audits of the books on the command line: all checks, comparison with digests, and new digests."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from tallyframe.db import Database, Reader
from tallyframe.ledger.digest.compare import compare
from tallyframe.ledger.digest.files import NotWritten, digests_in, write_file, write_into
from tallyframe.ledger.digest.writer import write_digest
from tallyframe.ledger.issue import Issue
from tallyframe.ledger.snapshot import snapshot
from tallyframe.ledger.verify import summary, verify

MOST_ACCOUNTS = 10_000  # with errors that are counted; beyond it, the summary says "or more"


class Audit:
    """One audit of the books. `lines` yields its report as it goes, and `is_well` says how it ended."""

    def __init__(self) -> None:
        self._wrong = 0
        self._accounts: set[UUID] = set()

    @property
    def is_well(self) -> bool:
        """Whether no error has been found so far."""
        return not self._wrong

    async def lines(self, db: Database, digests: Sequence[Path], root: str | None = None) -> AsyncIterator[str]:
        """Yield the report: every check, then the comparison with each digest.

        `digests` are files, or folders with `.jsonl` files. `root` is the root that the digest must have, if known.
        """
        async with _snapshot(db) as reader:
            total = await summary(reader)
            yield f"{total.accounts} accounts, {total.entries} entries, {total.balance} credits in all."
            async for name, finds in verify(reader):
                async for line in self._reported(name, finds):
                    yield line
            for path in digests:
                async for line in self._compared(reader, path, root):
                    yield line
        if self.is_well:
            yield "The books balance."
        elif self._accounts:
            many = " or more" if len(self._accounts) == MOST_ACCOUNTS else ""
            yield f"{len(self._accounts)}{many} accounts do not add up."
        else:
            yield "This needs a look."

    async def _compared(self, reader: Reader, path: Path, root: str | None) -> AsyncIterator[str]:
        """Compare with the digest at `path`, or with each one in that folder. A folder without any is an error."""
        files = digests_in(path)
        if not files:
            self._note(None)
            yield f"WRONG  there is no digest in {path}"
        for file in files:
            async for line in self._reported(f"the books hold what {file} says", compare(reader, file, root)):
                yield line

    async def _reported(self, name: str, finds: AsyncIterator[Issue]) -> AsyncIterator[str]:
        """Yield a line with the check's result and name, and a line for each error that it finds."""
        before = self._wrong
        async for account_id, detail in finds:
            if self._wrong == before:
                yield f"WRONG  {name}"
            self._note(account_id)
            yield f"       account {account_id}: {detail}" if account_id else f"       {detail}"
        if self._wrong == before:
            yield f"ok     {name}"

    def _note(self, account_id: UUID | None) -> None:
        self._wrong += 1
        if account_id and len(self._accounts) < MOST_ACCOUNTS:
            self._accounts.add(account_id)


async def digest(db: Database, out: Path | None) -> str:
    """Write a digest to the file `out`, or to a new file in the folder `out`, and return a line about it.

    Without `out` it goes to stdout, and "" is returned. Raises NotWritten.
    """
    if out is None and sys.stdout is None:
        raise NotWritten("The digest can't be written: stdout is closed. Name a file or a folder with --out.")
    async with _snapshot(db) as reader:
        if out is None:
            await write_digest(reader, sys.stdout.buffer)
            return ""
        into_folder = out.is_dir()  # noqa: ASYNC240 - one look at a local path, and nothing else runs
        written, path = await (write_into if into_folder else write_file)(reader, out)
    return f"{path}: {written.accounts} accounts, {written.entries} entries, root {written.root}\n"


@asynccontextmanager
async def _snapshot(db: Database) -> AsyncIterator[Reader]:
    """Read the books in one snapshot."""
    async with db.transaction() as transaction:
        yield await snapshot(transaction)
