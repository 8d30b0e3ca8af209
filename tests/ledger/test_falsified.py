"""Ways to falsify the books by SQL: while the guards are there all are refused, or named by the next audit."""

from collections.abc import Callable
from functools import partial
from typing import Any

import asyncpg
import pytest

from tests.ledger.conftest import Books, ChangedNothing
from tests.support import thieves
from tests.support.falsified import FALSIFICATIONS, FORGED_GRANT, UNDUE_REFUNDS
from tests.support.postings import GUARDED, put_guards_back

MADE_UP = "a grant is made up"
OTHERS = [name for name in FALSIFICATIONS if name != MADE_UP]
OWNERS: dict[str, Callable[[str], Any]] = {"owner": thieves.owner, "superuser": thieves.superuser}
ALL: dict[str, Callable[[str], Any]] = {
    **{role: partial(thieves.app, role=role) for role in thieves.APP_ROLES},
    **OWNERS,
}

REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.CheckViolationError, ChangedNothing)
LIFTED = {"owner": "DISABLE TRIGGER USER", "superuser": "DISABLE TRIGGER ALL"}


@pytest.mark.parametrize("what", OTHERS)
async def test_it_is_refused_to_everybody(books: Books, what: str) -> None:
    await assert_refused_to_everybody(books, FALSIFICATIONS[what].statements)


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


@pytest.mark.parametrize("what", UNDUE_REFUNDS)
async def test_a_refund_that_is_not_due_is_refused_to_everybody(books: Books, what: str) -> None:
    await assert_refused_to_everybody(books, UNDUE_REFUNDS[what])


@pytest.mark.parametrize("what", FALSIFICATIONS)
@pytest.mark.parametrize("who", OWNERS)
async def test_it_is_named_when_the_guards_were_lifted_meanwhile(books: Books, who: str, what: str) -> None:
    falsification = FALSIFICATIONS[what]
    async with OWNERS[who](books.database_url) as thief:
        await lift(thief, who)
        await books.falsify(thief, falsification.statements)
    await put_guards_back(books.connection)
    await assert_named(books, falsification.named_by, falsification.words)


async def assert_refused_to_everybody(books: Books, statements: tuple[str, ...]) -> None:
    for who, connect in ALL.items():
        async with connect(books.database_url) as thief:
            await books.act_for(thief, "her")
            with pytest.raises(REFUSED):
                await books.falsify(thief, statements)
            assert await books.wrong() == {}, who


async def lift(thief: Any, who: str) -> None:
    for table in GUARDED:
        await thief.execute(f"ALTER TABLE {table} {LIFTED[who]}")
    await thief.execute("ALTER TABLE generations NO FORCE ROW LEVEL SECURITY")  # else its owner changes none


async def assert_named(books: Books, checks: frozenset[str], words: str) -> None:
    """These checks name it and no others, and one line says what was touched, and on whose account."""
    found = await books.wrong()
    assert set(found) == checks, found
    lines = [line for some in found.values() for line in some]
    assert all(line.startswith("account ") for line in lines), lines
    assert any(books.filled(words) in line for line in lines), lines
