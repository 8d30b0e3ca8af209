"""Ways to falsify the books by SQL: while the guards are there all are refused, or named by the next audit."""

from collections.abc import Callable
from functools import partial
from typing import Any

import asyncpg
import pytest

from tallyframe.db import API_ROLE
from tests.ledger.conftest import Books
from tests.support import thieves
from tests.support.falsified import FALSIFICATIONS, FORGED_GRANT, OF_GENERATIONS
from tests.support.postings import GUARDED, put_guards_back

MADE_UP = "a grant is made up"
OTHERS = [name for name in FALSIFICATIONS if name != MADE_UP]
OWNERS: dict[str, Callable[[str], Any]] = {"owner": thieves.owner, "superuser": thieves.superuser}
ALL: dict[str, Callable[[str], Any]] = {
    **{role: partial(thieves.app, role=role) for role in thieves.APP_ROLES},
    **OWNERS,
}

LIFTED = {"owner": "DISABLE TRIGGER USER", "superuser": "DISABLE TRIGGER ALL"}


@pytest.mark.parametrize("what", OTHERS)
async def test_it_is_refused_to_everybody(books: Books, what: str) -> None:
    for who, connect in ALL.items():
        async with connect(books.database_url) as thief:
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.CheckViolationError)):
                await books.falsify(thief, FALSIFICATIONS[what].statements)
            assert await books.wrong() == {}, who


@pytest.mark.parametrize("who", thieves.APP_ROLES)
async def test_a_made_up_grant_is_refused(books: Books, who: str) -> None:
    async with thieves.app(books.database_url, who) as thief:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await books.falsify(thief, (FORGED_GRANT,))


@pytest.mark.parametrize("who", OWNERS)
async def test_what_a_made_up_grant_says_of_itself_is_overwritten(books: Books, who: str) -> None:
    """It is an entry like any other then, there for good, at the balance that comes out."""
    async with OWNERS[who](books.database_url) as thief:
        await books.falsify(thief, (FORGED_GRANT,))
        row = await thief.fetchrow(
            "SELECT version, balance_after, created_at <= clock_timestamp() AS honest, hash"
            " FROM ledger_entries WHERE reference = 'forged'"
        )
    assert (row["version"], row["balance_after"], row["honest"]) == (8, 1028, True)
    assert row["hash"] != b"forged"
    assert await books.wrong() == {}


@pytest.mark.parametrize("what", OF_GENERATIONS)
@pytest.mark.parametrize("who", ALL)
async def test_what_the_processes_may_do_is_named(books: Books, who: str, what: str) -> None:
    falsification = OF_GENERATIONS[what]
    async with ALL[who](books.database_url) as thief:
        await thief.execute("SELECT set_config('tallyframe.user_id', $1, false)", str(books.ids["her"]))
        if (who, what) == (API_ROLE, "a generation goes to somebody else"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await books.falsify(thief, falsification.statements)
            return
        await books.falsify(thief, falsification.statements)
    await assert_named(books, falsification.named_by, falsification.words)


@pytest.mark.parametrize("what", FALSIFICATIONS)
@pytest.mark.parametrize("who", OWNERS)
async def test_it_is_named_when_the_guards_were_lifted_meanwhile(books: Books, who: str, what: str) -> None:
    falsification = FALSIFICATIONS[what]
    async with OWNERS[who](books.database_url) as thief:
        await lift(thief, who)
        await books.falsify(thief, falsification.statements)
    await put_guards_back(books.connection)
    await assert_named(books, falsification.named_by, falsification.words)


async def lift(thief: Any, who: str) -> None:
    for table in GUARDED:
        await thief.execute(f"ALTER TABLE {table} {LIFTED[who]}")


async def assert_named(books: Books, checks: frozenset[str], words: str) -> None:
    """These checks name it and no others, and one line says what was touched, and on whose account."""
    found = await books.wrong()
    assert set(found) == checks, found
    lines = [line for some in found.values() for line in some]
    assert all(line.startswith("account ") for line in lines), lines
    assert any(books.filled(words) in line for line in lines), lines
