"""The same service as it is usually written: FastAPI, pydantic, an ORM session per request, arq after the commit.

tables.py    the tables, in a schema of their own beside Tallyframe's; an order writes as many rows of the same kinds
app.py       orders and polls
videos.py    a coroutine for each video that waits at its vendor

It is small, and fair: sessions and connections are pooled, statements are few, the tables have the indexes that they
need, nothing is slow on purpose. It promises less. A crash after the commit loses the job, and nothing finds it; a
balance has no history that proves it; anybody with the tables' login can change the books.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from bench.cast import CREDITS, Person
from bench.peers.usual.tables import Account, ApiKey, Base, User
from bench.site import Site
from bench.stack import Child, free_port
from tallyframe.accounts.keys import secret_hash
from tallyframe.ids import new_id


@asynccontextmanager
async def serving(site: Site, people: Sequence[Person]) -> AsyncIterator[Child]:
    """Run its API for the block. The users are the same, with the same keys."""
    await make_tables(site, people)
    port = free_port()
    argv = [sys.executable, "-m", "bench.peers.usual.app", str(port)]
    async with site.stack.serving(argv, environment(site), port) as child:
        yield child


def environment(site: Site) -> dict[str, str]:
    """Return the settings of its processes."""
    return {"USUAL_DATABASE_URL": driver_url(site), "USUAL_REDIS_URL": site.redis_url}


def driver_url(site: Site) -> str:
    """Return the database's URL for SQLAlchemy."""
    return site.database_url.replace("postgresql://", "postgresql+asyncpg://")


async def make_tables(site: Site, people: Sequence[Person]) -> None:
    """Make the tables and the users, unless they are there."""
    engine = create_async_engine(driver_url(site))
    async with engine.begin() as connection:
        await connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS usual")
        await connection.run_sync(Base.metadata.create_all)
    async with AsyncSession(engine) as session:
        if await session.get(User, people[0].user_id) is None:
            for person in people:
                user = User(id=person.user_id, email=f"{person.user_id}@example.com")
                session.add_all(
                    [
                        ApiKey(id=new_id(), user=user, secret_hash=secret_hash(person.key)),
                        Account(id=person.account_id, user=user, balance=CREDITS),
                    ]
                )
            await session.commit()
    await engine.dispose()
