"""Do requests get a connection in turn, and does one that has left the queue leave nothing behind?"""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from tallyframe.db import ADMIN_ROLE, Database, pool
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


async def test_everybody_is_served_in_turn_whoever_they_are(narrow: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one connection, for with two of them the turns of one go on while the other is slow to answer."""
    monkeypatch.setattr(pool, "QUEUE_PATIENCE", 60)  # however busy the machine is
    asked, served = itertools.count(), list[int]()

    async def ask_again_and_again(mine: Database) -> None:
        for _ in range(20):
            number = next(asked)
            async with mine.reading() as connection:
                served.append(number)
                await connection.execute(ONE)

    await asyncio.gather(*(ask_again_and_again(narrow.as_user(new_id())) for _ in range(20)))
    assert served == list(range(400))


async def test_who_waits_too_long_is_told_so_and_leaves_the_queue(
    narrow: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "QUEUE_PATIENCE", 0.1)
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
