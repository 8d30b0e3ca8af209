"""The users of the benchmark."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from bench.site import Site
from tallyframe.commands.users import add_user
from tallyframe.db import ADMIN_ROLE, Database

CREDITS = 1_000_000  # per user
_AT_ONCE = 8  # connections


@dataclass(frozen=True)
class Person:
    """A user with an API key."""

    user_id: UUID
    account_id: UUID
    key: str

    @property
    def auth(self) -> dict[str, str]:
        """The header that says who asks."""
        return {"Authorization": f"Bearer {self.key}"}


async def cast(site: Site, users: int) -> Sequence[Person]:
    """Make users; the first one is an administrator, too."""
    db = Database(site.database_url, role=ADMIN_ROLE, pool_size=_AT_ONCE, statement_timeout=60)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def make(number: int) -> Person:
        email = f"user{number}@example.com"
        async with turns:
            user, key = await add_user(
                db, email, admin=number == 0, member=False, credits_given=CREDITS, signup_credits=0
            )
        return Person(user.id, user.account_id, key)

    try:
        return list(await asyncio.gather(*(make(number) for number in range(users))))
    finally:
        await db.close()
