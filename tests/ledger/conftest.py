"""Accounts to post to, and books to falsify."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.ids import new_id
from tests.support.audited import audited, digest_into
from tests.support.cast import Member
from tests.support.postings import Postings


@pytest.fixture
def hers(owner: Any, alice: Member) -> Postings:
    """Alice's account, with 20 credits, written to as the login role."""
    return Postings(owner, alice.user.account_id, alice.user.id)


@pytest.fixture
def his(owner: Any, bob: Member) -> Postings:
    """Bob's account, with 20 credits, written to as the login role."""
    return Postings(owner, bob.user.account_id, bob.user.id)


class ChangedNothing(AssertionError):
    """There was nothing that the statement could see."""


@dataclass(frozen=True)
class Books:
    """Her account with seven entries, his with one, a user without any; ids by name, and a digest of it all."""

    connection: Any
    database_url: str
    db: Database
    ids: dict[str, UUID]
    digest: Path

    def filled(self, statement: str) -> str:
        """Put the ids in their places."""
        return statement.format(mine=f"account_id = '{self.ids['hers']}'", **self.ids)

    async def falsify(self, connection: Any, statements: tuple[str, ...]) -> None:
        """Run the statements in one transaction; each must change something, or it is raised what refused it."""
        async with connection.transaction():
            for statement in statements:
                status = await connection.execute(self.filled(statement))
                if status.endswith(" 0"):
                    raise ChangedNothing(statement)

    async def act_for(self, connection: Any, name: str) -> None:
        """Let the connection act for that user, as the API does."""
        await connection.execute("SELECT set_config('tallyframe.user_id', $1, false)", str(self.ids[name]))

    async def wrong(self) -> dict[str, list[str]]:
        """Audit, with the digest: check, or "a digest" → what is wrong."""
        found = await audited(self.db, self.digest)
        return {"a digest" if name.startswith("the books hold") else name: lines for name, lines in found.items()}


@pytest.fixture
async def books(owner: Any, database_url: str, tmp_path: Path) -> Any:
    hers, his = await _account(owner, "hers", 20), await _account(owner, "his", 20)
    succeeded, _ = await hers.bought()
    await hers.post("grant", 3)
    failed, debit = await hers.bought(5, "failed")
    await hers.post("grant", 4)
    await hers.refund(failed, debit)
    await hers.post("grant", 6)
    ids = {"hers": hers.account, "his": his.account, "her": hers.user, "succeeded": succeeded, "failed": failed}
    db = Database(database_url, role=ADMIN_ROLE, pool_size=2, statement_timeout=15)
    digest = await digest_into(db, tmp_path / "digest.jsonl")
    yield Books(owner, database_url, db, ids | {"thief": await _user(owner, "thief")}, digest)
    await db.close()


async def _user(connection: Any, name: str) -> UUID:
    user = new_id()
    insert = "INSERT INTO users (id, issuer, subject, display_name) VALUES ($1, 'local', $2, $2)"
    await connection.execute(insert, user, name)
    return user


async def _account(connection: Any, name: str, given: int) -> Postings:
    user, account = await _user(connection, name), new_id()
    await connection.execute("INSERT INTO accounts (id, user_id) VALUES ($1, $2)", account, user)
    postings = Postings(connection, account, user)
    await postings.post("grant", given)
    return postings
