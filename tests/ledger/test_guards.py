"""Whoever lifts, replaces or goes around the guards is named, for as long as they are not as they were."""

from pathlib import Path

import asyncpg
import pytest

from tallyframe.ledger.guards import GUARDS as ALL_GUARDS
from tests.conftest import owner_of
from tests.ledger.conftest import Books
from tests.support import thieves
from tests.support.audited import audited
from tests.support.checks import BALANCE, GUARDS
from tests.support.lifted import DEEPER, FROM_WITHIN, LIFTED

GRANTED_TO_ITSELF = "the processes may change accounts"  # Postgres only warns that nothing was granted


@pytest.mark.parametrize("what", [what for what in LIFTED if what != GRANTED_TO_ITSELF])
async def test_it_is_refused_to_the_processes(books: Books, what: str) -> None:
    await books.connection.execute(thieves.MAKE_OTHER)
    for role in thieves.APP_ROLES:
        async with thieves.app(books.database_url, role) as thief:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await books.falsify(thief, LIFTED[what][0])
    assert await books.wrong() == {}


async def test_the_processes_grant_themselves_nothing(books: Books) -> None:
    for role in thieves.APP_ROLES:
        async with thieves.app(books.database_url, role) as thief:
            await books.falsify(thief, LIFTED[GRANTED_TO_ITSELF][0])
    assert await books.wrong() == {}


@pytest.mark.parametrize("what", LIFTED)
@pytest.mark.parametrize("who", ["owner", "superuser"])
async def test_it_is_named(books: Books, who: str, what: str) -> None:
    statements, checks, words = LIFTED[what]
    async with getattr(thieves, who)(books.database_url) as thief:
        await books.falsify(thief, statements)
    found = await books.wrong()
    assert set(found) == checks, found
    assert any(books.filled(words) in line for lines in found.values() for line in lines), found


@pytest.mark.parametrize(
    ("given", "taken", "words"),
    [
        ("ALTER ROLE {role} BYPASSRLS", "ALTER ROLE {role} NOBYPASSRLS", "it is above row-level security"),
        ("GRANT {admin} TO {role}", "REVOKE {admin} FROM {role}", "it may act as {admin}"),
        (
            f"GRANT {thieves.OTHER} TO {{role}}",
            f"REVOKE {thieves.OTHER} FROM {{role}}",
            f"it may act as {thieves.OTHER}",
        ),
    ],
)
async def test_a_role_that_was_raised_is_named(books: Books, given: str, taken: str, words: str) -> None:
    names = {"role": thieves.APP_ROLES[0], "admin": thieves.APP_ROLES[2]}
    await books.connection.execute(thieves.MAKE_OTHER)
    await books.connection.execute(given.format(**names))
    try:  # roles belong to the whole server, on which other tests run as well
        found = await books.wrong()
    finally:
        await books.connection.execute(taken.format(**names))
    assert found == {GUARDS: [f"role {names['role']} does not belong there: {words.format(**names)}"]}


@pytest.mark.parametrize("who", ["owner", "superuser"])
async def test_an_account_changes_hands_not_even_from_within_a_trigger(books: Books, who: str) -> None:
    deeper = DEEPER.replace("balance = balance + 1000", "user_id = '{thief}'")
    async with getattr(thieves, who)(books.database_url) as thief:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="accounts change only"):
            await books.falsify(thief, (deeper, *FROM_WITHIN))
    assert await books.wrong() == {}


async def test_other_books_on_the_search_path_are_not_read(books: Books) -> None:
    """Whoever may make schemas could show the audit clean books."""
    name = await books.connection.fetchval("SELECT current_database()")
    await books.connection.execute("CREATE SCHEMA clean")
    await books.connection.execute("CREATE TABLE clean.accounts AS SELECT * FROM public.accounts")
    await books.connection.execute("CREATE TABLE clean.ledger_entries AS SELECT * FROM public.ledger_entries")
    await books.connection.execute(
        "GRANT USAGE ON SCHEMA clean TO public; GRANT SELECT ON ALL TABLES IN SCHEMA clean TO public"
    )
    await books.connection.execute(f"ALTER DATABASE {name} SET search_path = clean, public")
    async with owner_of(books.database_url) as thief:
        assert await thief.fetchval("SELECT 'accounts'::regclass::text") == "accounts"
        await thief.execute("ALTER TABLE public.accounts DISABLE TRIGGER ALL")
        await thief.execute("UPDATE public.accounts SET balance = balance + 1")
    await books.db.close()  # the next connection is a new one, with the path that was set
    assert set(await books.wrong()) == {BALANCE, GUARDS}


async def test_every_guard_is_missed(books: Books) -> None:
    """A database without any of it is not called guarded: each is named."""
    await books.connection.execute("ALTER TABLE ledger_entries RENAME TO kept")
    await books.connection.execute("ALTER TABLE accounts RENAME TO kept_too")
    await books.connection.execute("CREATE TABLE accounts AS SELECT * FROM kept_too")
    await books.connection.execute("CREATE TABLE ledger_entries AS SELECT * FROM kept")
    for role in thieves.APP_ROLES:
        await books.connection.execute(f"GRANT SELECT ON accounts, ledger_entries TO {role}")
    found = (await audited(books.db, Path(books.digest)))[GUARDS]
    missing = {line.removesuffix(" is missing") for line in found if line.endswith(" is missing")}
    theirs = {name for name in ALL_GUARDS if name.endswith((" on accounts", " on ledger_entries"))}
    assert missing == theirs | {
        "function ledger_entry_hash(ledger_entries,bytea)"  # it takes the rows of the table that was renamed
    }
