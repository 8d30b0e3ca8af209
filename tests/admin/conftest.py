"""An administrator, somebody to whom things are done, and what has been written about it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tallyframe.db import Database
from tests.conftest import ClientFor
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.shared import newcomer

WHY = "the customer wrote to us"
LINES = """
    SELECT action, admin_id, user_id, generation_id, reason, details::text FROM admin_log
    WHERE user_id = $1 OR generation_id IN (SELECT id FROM generations WHERE user_id = $1) ORDER BY id"""


@dataclass(frozen=True)
class Acts:
    """Does things as an administrator, and reads what is in the log about somebody."""

    admin: Member
    owner: Any

    async def do(self, path: str, **more: Any) -> httpx.Response:
        return await self.admin.http.post(f"/v1/admin/{path}", json={"reason": WHY, **more})

    async def look(self, path: str, **query: Any) -> dict[str, Any]:
        answer = await self.admin.http.get(f"/v1/admin/{path}", params=query)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def lines(self, member: Member) -> list[Any]:
        return list(await self.owner.fetch(LINES, member.user.id))

    async def actions(self, member: Member) -> list[str]:
        return [line["action"] for line in await self.lines(member)]


@pytest.fixture
async def alice(db: Database, client_for: ClientFor, owner: Any) -> AsyncIterator[Member]:
    """A new user; the books must balance when the test has ended."""
    yield await newcomer(db, client_for, owner)
    await assert_books_balance(db, owner)


@pytest.fixture
async def admin(alice: Member, db: Database, client_for: ClientFor, owner: Any) -> Member:
    return await newcomer(db, client_for, owner, admin=True)


@pytest.fixture
def acts(admin: Member, owner: Any) -> Acts:
    return Acts(admin, owner)
