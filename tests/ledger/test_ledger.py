"""The database does the arithmetic and refuses: whoever asks, and whatever the application would do."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tallyframe.db import Database
from tallyframe.ids import new_id
from tests.conftest import owner_of
from tests.support.postings import Postings, falsify, verdict

PAST = [
    "UPDATE ledger_entries SET amount = amount + 1",
    "UPDATE ledger_entries SET reason = 'other'",
    "DELETE FROM ledger_entries",
    "TRUNCATE ledger_entries CASCADE",
    "UPDATE accounts SET balance = balance + 1",
    "UPDATE accounts SET head = ''",
    "UPDATE accounts SET version = 0",
    "DELETE FROM accounts",
    "TRUNCATE accounts CASCADE",
]
FORGED = (
    "INSERT INTO ledger_entries (id, account_id, kind, amount, reference, {0}) VALUES ($1, $2, 'grant', 5, 'a', {1})"
)


@asynccontextmanager
async def refused(hers: Postings, *kinds: type[asyncpg.PostgresError]) -> Any:
    """Expect the block to be refused for one of these reasons, with nothing changed."""
    before = await hers.state(), await hers.connection.fetchval("SELECT count(*) FROM ledger_entries")
    with pytest.raises(kinds):
        yield
    assert (await hers.state(), await hers.connection.fetchval("SELECT count(*) FROM ledger_entries")) == before


@pytest.mark.parametrize("who", ["app", "owner", "replica"])
async def test_nobody_changes_the_past(hers: Postings, who: str) -> None:
    connection = hers.connection
    await hers.bought()
    assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if who == "app":
        await connection.execute("SET ROLE tallyframe_app")
    if who == "replica":
        await connection.execute("SET session_replication_role = replica")
    for statement in PAST:
        async with refused(hers, asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    await hers.post("grant", 1)  # while an honest entry is taken
    assert (await hers.state())[:2] == (16, 3)


async def test_the_app_cannot_make_money_or_lift_the_guards(hers: Postings) -> None:
    connection = hers.connection
    await connection.execute("SET ROLE tallyframe_app")
    statements = [
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
        "DROP TRIGGER ledger_post ON ledger_entries",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (id int)",
        "INSERT INTO accounts (id, user_id, balance) SELECT gen_random_uuid(), id, 100 FROM users",
        "DROP FUNCTION ledger_post() CASCADE",
        "DELETE FROM generations",
        "DELETE FROM projects",
        "DELETE FROM users",
    ]
    for statement in statements:
        async with refused(hers, asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    for column, value in (("balance_after", 1000), ("version", 9), ("hash", "'x'"), ("created_at", "now()")):
        async with refused(hers, asyncpg.InsufficientPrivilegeError):
            await connection.execute(FORGED.format(column, value), new_id(), hers.account)


async def test_the_trigger_fills_in_what_counts_whatever_is_sent(hers: Postings, db: Database) -> None:
    insert = """
        INSERT INTO ledger_entries (id, account_id, kind, amount, reference, balance_after, version, hash, created_at)
        VALUES ($1, $2, 'grant', 7, 'a', 1000000, 99, 'x', '2001-01-01+00')
        RETURNING balance_after, version, hash, created_at, clock_timestamp() - created_at AS age"""
    row = await hers.connection.fetchrow(insert, new_id(), hers.account)
    assert row is not None
    assert (row["balance_after"], row["version"]) == (27, 2)
    assert len(row["hash"]) == 32
    assert row["age"].total_seconds() < 60
    assert await hers.state() == (27, 2, row["hash"])

    user, account = new_id(), new_id()
    await hers.connection.execute(
        "INSERT INTO users (id, issuer, subject, display_name) VALUES ($1, 'local', 'c', 'C')", user
    )
    await hers.connection.execute(
        "INSERT INTO accounts (id, user_id, balance, version, head) VALUES ($1, $2, 500, 5, 'x')", account, user
    )
    assert await Postings(hers.connection, account, user).state() == (0, 0, b"")
    assert await verdict(db) == {}


async def test_amounts_that_are_no_entries(hers: Postings) -> None:
    generation, before = await hers.generation(21), await hers.state()
    with pytest.raises(asyncpg.PostgresError) as broke:
        await hers.post("debit", -21, generation_id=generation)
    assert (broke.value.sqlstate, broke.value.detail) == ("TF402", "20")
    assert await hers.state() == before
    for kind, amount in [("grant", -1), ("grant", 0), ("purchase", -1), ("debit", 1), ("debit", 0), ("clawback", 1)]:
        async with refused(hers, asyncpg.CheckViolationError):
            await hers.post(kind, amount, generation_id=generation)
    for kind in ("gift", "", "GRANT"):
        async with refused(hers, asyncpg.CheckViolationError):
            await hers.post(kind, 1)
    async with refused(hers, asyncpg.CheckViolationError):
        await hers.post("debit", -1)  # for nothing
    unexplained = """
        INSERT INTO ledger_entries (id, account_id, kind, amount, reference) VALUES ($1, $2, 'adjustment', 1, 'a')"""
    async with refused(hers, asyncpg.CheckViolationError):
        await hers.connection.execute(
            unexplained,
            new_id(),
            hers.account,
        )
    async with refused(hers, asyncpg.PostgresError):
        await hers.post("adjustment", -21)
    async with refused(hers, asyncpg.ForeignKeyViolationError):
        await hers.post("grant", 1, account_id=uuid4())
    async with refused(hers, asyncpg.PostgresError):
        await hers.post("grant", 2**63 - 1)  # more than a balance can hold


async def test_a_clawback_may_go_below_zero_and_then_nothing_can_be_bought(hers: Postings, db: Database) -> None:
    await hers.post("clawback", -50)
    assert (await hers.state())[0] == -30
    generation = await hers.generation(0)
    async with refused(hers, asyncpg.PostgresError):
        await hers.post("debit", -1, generation_id=generation)
    await hers.post("grant", 10)  # what raises it is taken, even if it stays below
    assert (await hers.state())[0] == -20
    assert await verdict(db) == {}


async def test_a_refund_gives_back_one_debit_once_and_not_more(hers: Postings, his: Postings, db: Database) -> None:
    generation, debit = await hers.bought(status="failed")
    other, other_debit = await hers.bought(status="failed")
    foreign, foreign_debit = await his.bought(status="failed")
    success, its_debit = await hers.bought()
    grant = await hers.post("grant", 100)
    before = await hers.state()
    wrong: list[dict[str, Any]] = [
        {"reverses_entry_id": None},
        {"reverses_entry_id": uuid4()},
        {"reverses_entry_id": grant},
        {"reverses_entry_id": other_debit},
        {"reverses_entry_id": foreign_debit},
        {"generation_id": foreign, "reverses_entry_id": foreign_debit},
        {"generation_id": other},
        {"generation_id": None},
        {"amount": 6},
        {"amount": -5},
        {"amount": 0},
    ]
    for columns in wrong:
        async with refused(hers, asyncpg.CheckViolationError):
            await hers.refund(generation, debit, **columns)
    async with refused(hers, asyncpg.CheckViolationError):  # not a refund, but it says that it reverses
        await hers.post("grant", 5, reverses_entry_id=debit)

    for ended, its, amount in ((success, its_debit, 5), (generation, debit, 4)):  # not due, and not all of it
        async with refused(hers, asyncpg.InsufficientPrivilegeError):
            await hers.refund(ended, its, amount)

    refund = await hers.refund(generation, debit)
    assert (await hers.state())[0] == before[0] + 5
    async with refused(hers, asyncpg.UniqueViolationError):
        await hers.refund(generation, debit)
    async with refused(hers, asyncpg.UniqueViolationError):
        await hers.refund(generation, debit, 1, reference="another")
    async with refused(hers, asyncpg.CheckViolationError):
        await hers.refund(generation, refund, 1, reference="another")
    await hers.refund(other, other_debit)
    await his.refund(foreign, foreign_debit)
    assert await verdict(db) == {}


@pytest.mark.parametrize("suffix", ["", "ON CONFLICT DO NOTHING"])
@pytest.mark.parametrize("twin", ["reference", "id", "debited generation", "refunded debit"])
async def test_nothing_is_posted_twice(hers: Postings, db: Database, twin: str, suffix: str) -> None:
    """Skipped by ON CONFLICT is fine as long as the balance is where it was."""
    generation, debit = await hers.bought(5, "failed")
    await hers.refund(generation, debit)
    entry = await hers.post("grant", 1, reference="once")
    before = await hers.state()

    async def again() -> None:
        if twin == "reference":
            await hers.post("grant", 1, reference="once", suffix=suffix)
        elif twin == "id":
            await hers.post("grant", 1, id=entry, suffix=suffix)
        elif twin == "debited generation":
            await hers.post("debit", -1, generation_id=generation, reference="other", suffix=suffix)
        else:
            await hers.refund(generation, debit, reference="other", suffix=suffix)

    try:
        await again()
    except asyncpg.UniqueViolationError:
        pass
    else:
        assert suffix, "a duplicate was accepted"
    assert await hers.state() == before
    assert await verdict(db) == {}


async def test_the_same_payment_on_two_accounts_at_once(
    hers: Postings, his: Postings, database_url: str, db: Database
) -> None:
    async with owner_of(database_url) as second:
        first = hers.connection.transaction()
        await first.start()
        await hers.post("purchase", 100, reference="payment-1")
        late = Postings(second, his.account, his.user)
        waiting = asyncio.create_task(
            late.post("purchase", 100, reference="payment-1", suffix="ON CONFLICT DO NOTHING")
        )
        await asyncio.sleep(0.2)
        await first.commit()
        await asyncio.gather(waiting, return_exceptions=True)
    assert (await hers.state())[0] == 120
    assert (await his.state())[0] == 20
    assert await verdict(db) == {}


async def test_fifty_debits_at_once_find_what_is_there_and_not_more(
    hers: Postings, database_url: str, db: Database
) -> None:
    await hers.post("grant", 30)  # 50 credits, for 10 of 5
    generations = [await hers.generation(5) for _ in range(50)]
    connections = [await asyncpg.connect(database_url) for _ in range(10)]

    async def buy(connection: Any, mine: list[Any]) -> list[str]:
        outcomes = []
        await connection.execute("SET ROLE tallyframe_app")
        for generation in mine:
            try:
                await Postings(connection, hers.account, hers.user).post("debit", -5, generation_id=generation)
                outcomes.append("bought")
            except asyncpg.PostgresError as error:
                outcomes.append(str(error.sqlstate))
        return outcomes

    try:
        per_connection = [buy(connection, generations[n::10]) for n, connection in enumerate(connections)]
        outcomes = [outcome for some in await asyncio.gather(*per_connection) for outcome in some]
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
    assert sorted(outcomes) == [*["TF402"] * 40, *["bought"] * 10]
    assert (await hers.state())[:2] == (0, 12)
    left = "SELECT count(*) FROM generations g WHERE NOT EXISTS (SELECT FROM ledger_entries WHERE generation_id = g.id)"
    assert await hers.connection.fetchval(left) == 40
    # The 40 were never accepted by anybody; without them the books are clean.
    await falsify(
        hers.connection,
        "DELETE FROM generations g WHERE NOT EXISTS (SELECT FROM ledger_entries WHERE generation_id = g.id)",
    )
    assert await verdict(db) == {}


async def test_several_entries_in_one_statement_follow_each_other(hers: Postings, his: Postings, db: Database) -> None:
    before, other = (await hers.state())[0], (await his.state())[0]
    await hers.connection.execute(
        """INSERT INTO ledger_entries (id, account_id, kind, amount, reference)
           SELECT gen_random_uuid(), CASE WHEN n % 3 = 0 THEN $2::uuid ELSE $1::uuid END, 'grant', n, 'many:' || n
           FROM generate_series(1, 9) AS n""",
        hers.account,
        his.account,
    )
    assert (await hers.state())[0] == before + 27
    assert (await his.state())[0] == other + 18
    assert await verdict(db) == {}
