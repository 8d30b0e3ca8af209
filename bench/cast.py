"""The users of the benchmark, and how their orders are ended."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from bench.stack import Stack
from tallyframe.commands.users import add_user
from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.outbox.relay import connect

USERS = 200
CREDITS = 1_000_000  # per user
_AT_ONCE = 8  # connections

# In bulk: the product's own way, one by one, would take longer than the measurements.
_END = """
    UPDATE generations SET status = 'canceled', step = 'completed', finished_at = clock_timestamp(),
           lease_until = NULL, error_code = 'canceled', error_message = 'The benchmark has moved on.'
    WHERE status IN ('pending', 'processing');
    UPDATE projects SET status = 'canceled' WHERE status IN ('pending', 'processing');
    DELETE FROM outbox;
"""


@dataclass(frozen=True)
class Person:
    """A user with an API key."""

    user_id: UUID
    account_id: UUID
    key: str


async def cast(database_url: str) -> list[Person]:
    """Make the users."""
    db = Database(database_url, role=ADMIN_ROLE, pool_size=_AT_ONCE, statement_timeout=60)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def make(number: int) -> Person:
        email = f"user{number}@example.com"
        async with turns:
            user, key = await add_user(db, email, admin=False, member=False, credits_given=CREDITS, signup_credits=0)
        return Person(user.id, user.account_id, key)

    try:
        return list(await asyncio.gather(*(make(number) for number in range(USERS))))
    finally:
        await db.close()


async def clear(stack: Stack) -> None:
    """End all generations, so that the next measurement starts with an idle, vacuumed, checkpointed database."""
    owner = await asyncpg.connect(stack.database_url)
    try:
        for statement in (*_END.split(";")[:-1], "VACUUM ANALYZE", "CHECKPOINT"):
            await owner.execute(statement)
    finally:
        await owner.close()
    redis = connect(stack.servers.redis_url)
    await redis.flushall()
    await redis.aclose(close_connection_pool=True)


async def generations(stack: Stack) -> int:
    """Count all generations, ended ones too."""
    owner = await asyncpg.connect(stack.database_url)
    try:
        return int(await owner.fetchval("SELECT count(*) FROM generations"))
    finally:
        await owner.close()
