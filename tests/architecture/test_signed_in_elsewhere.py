"""Taking migration 0002 back leaves users whom the version before can serve."""

import asyncio
from typing import Any

from alembic import command

from tallyframe.accounts import profiles, users
from tallyframe.accounts.identity import Identity
from tallyframe.db import Database
from tallyframe.migrate import alembic_config

WITHOUT_ACCOUNT = "SELECT count(*) FROM users WHERE id NOT IN (SELECT user_id FROM accounts)"


async def test_the_deleted_who_never_had_an_account_go_with_it(db: Database, database_url: str, owner: Any) -> None:
    async with db.transaction() as transaction:
        for subject in ("kept", "deleted"):
            await users.sign_up(transaction, Identity("https://issuer.example", subject, None, None), 20)
        for subject in ("deleted", "never here"):
            await profiles.delete_user(transaction, "https://issuer.example", subject)
    assert await owner.fetchval(WITHOUT_ACCOUNT) == 1
    config = alembic_config(database_url)
    await asyncio.to_thread(command.downgrade, config, "0001")
    assert await owner.fetchval(WITHOUT_ACCOUNT) == 0
    assert await owner.fetchval("SELECT count(*) FROM users") == 2
    await asyncio.to_thread(command.upgrade, config, "head")
    assert await owner.fetchval("SELECT count(*) FROM users WHERE deleted_at IS NULL") == 2
