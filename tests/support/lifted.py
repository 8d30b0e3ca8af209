"""Ways to lift, replace or go around the guards of the books, as statements, and what must name each."""

from tests.support import thieves
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
