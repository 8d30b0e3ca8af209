"""Do requests get a connection in the order in which they came, and is nobody left behind for good?"""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from tallyframe import db as rooms
from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.errors import Unavailable
from tallyframe.ids import new_id

ONE = sa.select(sa.literal(1))


@pytest.fixture
async def narrow(database_url: str) -> AsyncIterator[Database]:
    """A database with one connection, which is open."""
    database = Database(database_url, role=ADMIN_ROLE, pool_size=1, statement_timeout=15)
    await database.run(ONE)
    yield database
    await database.close()


async def test_who_comes_later_overtakes_nobody(database_url: str) -> None:
    """But for those who are served at the same time: as many as there are connections."""
    database = Database(database_url, role=ADMIN_ROLE, pool_size=2, statement_timeout=15)
    asked, served = itertools.count(), list[int]()

    async def ask_again_and_again() -> None:
        for _ in range(20):
            number = next(asked)
            async with database.reading() as connection:
                served.append(number)
                await connection.execute(ONE)

    await asyncio.gather(*(ask_again_and_again() for _ in range(20)))
    await database.close()
    overtaken = [sum(later > number for later in served[:place]) for place, number in enumerate(served)]
    assert len(served) == 400
    assert max(overtaken) <= 2


async def test_all_users_stand_in_one_queue(narrow: Database) -> None:
    async with narrow.of(new_id()).reading():
        waiting = asyncio.create_task(narrow.of(new_id()).run(ONE))
        await asyncio.sleep(0.05)
        assert not waiting.done()
    await waiting


async def test_who_waits_too_long_is_told_so_and_leaves_the_queue(
    narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "QUEUE_PATIENCE", 0.1)
    async with narrow.reading():
        with pytest.raises(Unavailable):
            await narrow.run(ONE)
    assert (await narrow.run(ONE)).scalar_one() == 1


async def test_who_hangs_up_leaves_the_queue(narrow: Database) -> None:
    async with narrow.reading():
        waiting = [asyncio.create_task(narrow.run(ONE)) for _ in range(3)]
        await asyncio.sleep(0.05)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert (await narrow.run(ONE)).scalar_one() == 1
