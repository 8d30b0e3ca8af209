"""The users of the benchmark, and the end of what they have ordered."""

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

# Ended in bulk and not by the story's own means, which would take longer than the measurements.
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
    try:
        return list(await asyncio.gather(*(_person(db, turns, number) for number in range(USERS))))
    finally:
        await db.close()


async def _person(db: Database, turns: asyncio.Semaphore, number: int) -> Person:
    async with turns:
        email = f"user{number}@example.com"
        user, key = await add_user(db, email, admin=False, member=False, credits_given=CREDITS, signup_credits=0)
    return Person(user.id, user.account_id, key)


async def clear(stack: Stack) -> None:
    """End all that is under way, so that the next measurement starts from an idle, vacuumed, checkpointed database."""
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
    """Return how many generations there are, ended ones included."""
    owner = await asyncpg.connect(stack.database_url)
    try:
        return int(await owner.fetchval("SELECT count(*) FROM generations"))
    finally:
        await owner.close()
