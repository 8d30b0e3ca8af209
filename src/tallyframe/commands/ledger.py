"""What operators do with the books: audit them, hold them against digests, and write digests."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from tallyframe.db import Database, Reader
from tallyframe.ledger.digest.compare import compare
from tallyframe.ledger.digest.files import digests_in, write_file, write_into
from tallyframe.ledger.digest.writer import write_digest
from tallyframe.ledger.issue import Issue
from tallyframe.ledger.snapshot import snapshot
from tallyframe.ledger.verify import summary, verify

MOST_ACCOUNTS = 10_000  # that are told apart when they are counted


class Audit:
    """One audit of the books, told line by line as it goes. `is_well` says how it ended."""

    def __init__(self) -> None:
        self._wrong = 0
        self._accounts: set[UUID] = set()

    @property
    def is_well(self) -> bool:
        """Whether nothing wrong has been found so far."""
        return not self._wrong

    async def lines(self, db: Database, digests: Sequence[Path], root: str | None = None) -> AsyncIterator[str]:
        """Run every check and hold the books against the digests, in the files or in all `.jsonl` files of folders.

        `root` is what theirs must be, if that is known.
        """
        async with _moment(db) as reader:
            total = await summary(reader)
            yield f"{total.accounts} accounts, {total.entries} entries, {total.balance} credits in all."
            async for name, finds in verify(reader):
                async for line in self._told(name, finds):
                    yield line
            for path in digests:
                async for line in self._held(reader, path, root):
                    yield line
        yield self._verdict()

    async def _held(self, reader: Reader, path: Path, root: str | None) -> AsyncIterator[str]:
        """Yield what comes out of the file, or of each file in the folder; a folder without any proves nothing."""
        files = digests_in(path)
        if not files:
            self._note(None)
            yield f"WRONG  there is no digest in {path}"
        for file in files:
            async for line in self._told(f"the books hold what {file} says", compare(reader, file, root)):
                yield line

    async def _told(self, name: str, finds: AsyncIterator[Issue]) -> AsyncIterator[str]:
        """Yield a check's name with its result, and a line for each thing that it finds."""
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

    def _verdict(self) -> str:
        if self.is_well:
            return "The books balance."
        many = " or more" if len(self._accounts) == MOST_ACCOUNTS else ""
        return f"{len(self._accounts)}{many} accounts do not add up." if self._accounts else "This needs a look."


async def digest(db: Database, out: Path | None) -> str:
    """Write a digest to the file or into the folder `out` and return a line about it.

    Without `out` it goes to stdout, and no line is returned. Raises NotWritten.
    """
    async with _moment(db) as reader:
        if out is None:
            await write_digest(reader, sys.stdout.buffer)
            return ""
        written, path = await (write_into if _is_folder(out) else write_file)(reader, out)
    return f"{path}: {written.accounts} accounts, {written.entries} entries, root {written.root}\n"


def _is_folder(out: Path) -> bool:
    return out.is_dir()


@asynccontextmanager
async def _moment(db: Database) -> AsyncIterator[Reader]:
    """Read the books as of one moment."""
    async with db.transaction() as transaction:
        yield await snapshot(transaction)
