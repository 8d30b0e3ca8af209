"""Whoever lifts, replaces or goes around the guards is named, for as long as they are not as they were."""

from pathlib import Path

import asyncpg
import pytest

from tallyframe.ledger.guards import GUARDS as ALL_GUARDS
from tests.conftest import owner_of
from tests.ledger.conftest import Books
from tests.support import thieves
from tests.support.audited import audited
from tests.support.checks import BALANCE, DEBIT, DIGEST, GUARDS, HASH, HEAD, REFUNDED

REPLACED = "CREATE OR REPLACE FUNCTION {0}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
WEAK_HASH = """
    CREATE OR REPLACE FUNCTION ledger_entry_hash(entry ledger_entries, previous bytea) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp
    RETURN sha256(previous || convert_to(entry.id::text, 'UTF8'))"""
GRANTED = (
    "INSERT INTO {0} (id, account_id, kind, amount, reference) VALUES (gen_random_uuid(), '{{hers}}', 'grant', 1, 'a')"
)
ELSEWHERE = """
    INSERT INTO elsewhere (id, account_id, version, kind, amount, balance_after, reference, created_at, hash)
    SELECT gen_random_uuid(), '{hers}', 8, 'grant', 1000, 1028, 'forged', now(), sha256('forged')"""
DEEPER = """
    CREATE FUNCTION deeper() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN UPDATE accounts SET balance = balance + 1000 WHERE id = '{hers}'; RETURN NEW; END $$"""
FROM_WITHIN = (
    "CREATE TABLE mine (id int)",
    "CREATE TRIGGER mine BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION deeper()",
    "ALTER TABLE mine ENABLE ALWAYS TRIGGER mine",
    "INSERT INTO mine VALUES (1)",
)

TENFOLD = """
    CREATE FUNCTION a_tenfold() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.amount := NEW.amount * 10; RETURN NEW; END $$"""

#: What is done → what names it, and in which words.
LIFTED: dict[str, tuple[tuple[str, ...], set[str], str]] = {
    "a trigger is disabled": (
        ("ALTER TABLE ledger_entries DISABLE TRIGGER ledger_append_only",),
        {GUARDS},
        "trigger ledger_append_only on ledger_entries was changed",
    ),
    "a trigger no longer holds for replicas": (
        ("ALTER TABLE accounts ENABLE TRIGGER account_guard",),
        {GUARDS},
        "trigger account_guard on accounts was changed",
    ),
    "a trigger is dropped": (
        ("DROP TRIGGER ledger_no_truncate ON ledger_entries",),
        {GUARDS},
        "trigger ledger_no_truncate on ledger_entries is missing",
    ),
    "what refuses is replaced": (
        (REPLACED.format("ledger_refuse"),),
        {GUARDS},
        "function ledger_refuse() was changed",
    ),
    "what posts is replaced, and a grant with a hash of its own": (
        (
            REPLACED.format("account_guard"),
            REPLACED.format("ledger_post"),
            ELSEWHERE.replace("elsewhere", "ledger_entries"),
        ),
        {GUARDS, HASH},
        "function ledger_post() was changed",
    ),
    "what hashes is replaced, and an honest grant": (
        (WEAK_HASH, GRANTED.format("ledger_entries")),
        {GUARDS, HASH},
        "function ledger_entry_hash(ledger_entries,bytea) was changed",
    ),
    "a trigger of theirs changes what is posted": (
        (
            TENFOLD,
            "CREATE TRIGGER a_tenfold BEFORE INSERT ON ledger_entries FOR EACH ROW EXECUTE FUNCTION a_tenfold()",
        ),
        {GUARDS},
        "trigger a_tenfold on ledger_entries does not belong there",
    ),
    "entries are rewritten away": (
        ("CREATE RULE nothing AS ON INSERT TO ledger_entries DO INSTEAD NOTHING",),
        {GUARDS},
        "rule nothing on ledger_entries does not belong there",
    ),
    "a table of theirs shows among the entries": (
        ("CREATE TABLE elsewhere () INHERITS (ledger_entries)", ELSEWHERE),
        {GUARDS, BALANCE, HEAD, HASH},
        "table elsewhere does not belong there",
    ),
    "accounts are changed from within a trigger of theirs": (
        (DEEPER, *FROM_WITHIN),
        {BALANCE},
        "balance 1028, entries sum to 28",
    ),
    "a constraint is dropped": (
        ("ALTER TABLE ledger_entries DROP CONSTRAINT uq_ledger_entries_kind_reference",),
        {GUARDS},
        "constraint uq_ledger_entries_kind_reference on ledger_entries is missing",
    ),
    "a constraint is weakened": (
        (
            "ALTER TABLE ledger_entries DROP CONSTRAINT ck_ledger_entries_sign",
            "ALTER TABLE ledger_entries ADD CONSTRAINT ck_ledger_entries_sign CHECK (true)",
        ),
        {GUARDS},
        "constraint ck_ledger_entries_sign on ledger_entries was changed",
    ),
    "a second refund is made possible": (
        ("DROP INDEX uq_ledger_entries_one_refund_per_generation",),
        {GUARDS},
        "index uq_ledger_entries_one_refund_per_generation on ledger_entries is missing",
    ),
    "hashes may be empty": (
        ("ALTER TABLE ledger_entries ALTER hash DROP NOT NULL",),
        {GUARDS},
        "column hash of ledger_entries does not belong there: may be empty",
    ),
    "the processes may change accounts": (
        (f"GRANT UPDATE (balance) ON accounts TO {thieves.APP_ROLES[0]}",),
        {GUARDS},
        f"UPDATE of accounts does not belong there: granted to {thieves.APP_ROLES[0]}",
    ),
    "row-level security is switched off": (
        ("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY",),
        {GUARDS},
        "row-level security of accounts was changed: forced",
    ),
    "an account is hidden from the audit": (
        (
            "ALTER POLICY everybodys ON accounts USING (id <> '{hers}')",
            "ALTER POLICY everybodys ON ledger_entries USING (account_id <> '{hers}')",
        ),
        {GUARDS, DEBIT, REFUNDED, DIGEST},
        "account {hers}: the account is gone, with 7 entries and 28 credits",
    ),
    "whose rows somebody sees is replaced": (
        ("CREATE OR REPLACE FUNCTION acting_account() RETURNS uuid LANGUAGE sql RETURN '{hers}'::uuid",),
        {GUARDS},
        "function acting_account() was changed",
    ),
    "everybody may call what writes balances": (
        ("GRANT EXECUTE ON FUNCTION ledger_apply() TO PUBLIC",),
        {GUARDS},
        "right to call ledger_apply() does not belong there",
    ),
    "what posts belongs to somebody else": (
        (f"ALTER FUNCTION ledger_post() OWNER TO {thieves.OTHER}",),
        {GUARDS},
        "function ledger_post() was changed",
    ),
    "an end is no longer final": (
        ("ALTER TABLE generations DISABLE TRIGGER generation_stays",),
        {GUARDS},
        "trigger generation_stays on generations was changed",
    ),
    "generations are everybody's": (
        ("ALTER POLICY own ON generations USING (true)",),
        {GUARDS},
        "policy own on generations was changed",
    ),
    "projects are everybody's": (
        ("ALTER TABLE projects DISABLE ROW LEVEL SECURITY",),
        {GUARDS},
        "row-level security of projects was changed: forced",
    ),
    "the log may be changed": (
        ("DROP TRIGGER admin_log_append_only ON admin_log",),
        {GUARDS},
        "trigger admin_log_append_only on admin_log is missing",
    ),
    "a crash would empty the books": (
        ("ALTER TABLE ledger_entries SET UNLOGGED",),
        {GUARDS},
        "storage of ledger_entries does not belong there",
    ),
    "entries show in a table of theirs": (
        ("CREATE TABLE parent (LIKE ledger_entries)", "ALTER TABLE ledger_entries INHERIT parent"),
        {GUARDS},
        "table ledger_entries does not belong there: its rows show in parent",
    ),
    "a comparison of theirs finds no balance wrong": (
        (
            "CREATE FUNCTION never(bigint, numeric) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN false",
            "CREATE OPERATOR public.<> (LEFTARG = bigint, RIGHTARG = numeric, FUNCTION = never)",
            "CREATE OPERATOR public.<> (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = numeric_ne)",
            "ALTER TABLE accounts DISABLE TRIGGER account_guard",
            "UPDATE accounts SET balance = balance + 1000 WHERE id = '{hers}'",
            "ALTER TABLE accounts ENABLE ALWAYS TRIGGER account_guard",
        ),
        {BALANCE},
        "balance 1028, entries sum to 28",
    ),
    "a product of theirs finds no time wrong": (
        (
            "CREATE FUNCTION always(numeric, integer) RETURNS numeric LANGUAGE sql IMMUTABLE RETURN 0",
            "CREATE OPERATOR public.* (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = always)",
            "ALTER TABLE ledger_entries DISABLE TRIGGER ledger_append_only",
            "UPDATE ledger_entries SET created_at = 'yesterday' WHERE account_id = '{hers}' AND version = 3",
            "ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_append_only",
        ),
        {HASH},
        "entry 3: its hash does not match its content",
    ),
    "entries are swapped for a view": (
        (
            "ALTER TABLE ledger_entries RENAME TO kept",
            "CREATE VIEW ledger_entries AS SELECT * FROM kept",
            *(f"GRANT SELECT ON ledger_entries TO {role}" for role in thieves.APP_ROLES),
        ),
        {GUARDS},
        "trigger ledger_post on ledger_entries is missing",
    ),
}


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
