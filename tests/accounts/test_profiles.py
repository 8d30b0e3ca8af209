"""What an issuer tells of its users later on, where two tell at the same time."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tallyframe.accounts import keys, profiles, users
from tallyframe.accounts.identity import Identity
from tallyframe.db import Database

ADA = Identity("https://issuer.example", "user_1", "ada@example.org", "Ada")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def sign_up(db: Database) -> users.User:
    async with db.transaction() as transaction:
        return await users.sign_up(transaction, ADA, 20)


async def bury(db: Database) -> object:
    async with db.transaction() as transaction:
        return await profiles.delete_user(transaction, ADA.issuer, ADA.subject)


async def test_a_profile_that_comes_while_the_user_is_deleted_changes_nothing(db: Database, owner: Any) -> None:
    await sign_up(db)
    async with db.transaction() as transaction:
        user = await users.sign_up(transaction, ADA, 20)  # still there
        assert await bury(db) == user.id
        with pytest.raises(users.Deleted):
            await profiles.update(transaction, user.id, ADA, NOON)
    row = await owner.fetchrow("SELECT * FROM users")
    assert (row["email"], row["display_name"], row["profile_updated_at"]) == (None, users.neutral_name(user.id), None)


async def test_the_deleted_are_not_found_and_not_signed_up_again(db: Database) -> None:
    await sign_up(db)
    await bury(db)
    assert await bury(db) is None
    async with db.reading() as reader:
        assert await users.find(reader, ADA) is None
    for attempt in (sign_up(db), users.find_or_sign_up(db, ADA, 20)):
        with pytest.raises(users.Deleted):
            await attempt


async def test_a_key_of_the_deleted_opens_nothing(db: Database, owner: Any) -> None:
    user = await sign_up(db)
    await bury(db)
    async with db.transaction() as transaction:
        await keys.make(transaction, user.id, "made too late")
    assert await keys.owner(db, bytes(await owner.fetchval("SELECT secret_hash FROM api_keys"))) is None


async def test_all_keys_of_one_user_are_revoked(db: Database) -> None:
    user = await sign_up(db)
    async with db.transaction() as transaction:
        other = await users.sign_up(transaction, Identity(ADA.issuer, "user_2", None, None), 0)
        made = [await keys.make(transaction, each.id, "key") for each in (user, user, other)]
    await keys.revoke(db, user.id, made[0][0].id)
    async with db.transaction() as transaction:
        assert len(await keys.revoke_all(transaction, user.id)) == 1
        assert await keys.revoke_all(transaction, user.id) == []
    assert await keys.listed(db, user.id, before=None, limit=9) == []
    assert len(await keys.listed(db, other.id, before=None, limit=9)) == 1
