"""The guards: triggers, functions, policies and constraints that keep the books, held against what they must be.

Who owns the tables can disable, drop and replace them; the catalog then shows it. A migration that changes a guard
changes it here too.
"""

from collections.abc import AsyncIterator
from hashlib import sha256

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.found import Found

_SYSTEM = "tallyframe_admin, tallyframe_app, tallyframe_worker"
_OWN_USER = "(user_id = ( SELECT acting_user() AS acting_user))"
_OWN_ACCOUNT = "(account_id = ( SELECT acting_account() AS acting_account))"
_REFUSED = "EXECUTE FUNCTION ledger_refuse()"

#: Each guard and its definition, as Postgres tells it; for a function, its fingerprint.
GUARDS: dict[str, str] = {
    "trigger ledger_post on ledger_entries": "BEFORE INSERT FOR EACH ROW EXECUTE FUNCTION ledger_post()",
    "trigger ledger_apply on ledger_entries": "AFTER INSERT FOR EACH ROW EXECUTE FUNCTION ledger_apply()",
    "trigger ledger_append_only on ledger_entries": f"BEFORE DELETE OR UPDATE FOR EACH ROW {_REFUSED}",
    "trigger ledger_no_truncate on ledger_entries": f"BEFORE TRUNCATE FOR EACH STATEMENT {_REFUSED}",
    "trigger account_guard on accounts": "BEFORE INSERT OR UPDATE FOR EACH ROW EXECUTE FUNCTION account_guard()",
    "trigger account_no_delete on accounts": f"BEFORE DELETE FOR EACH ROW {_REFUSED}",
    "trigger account_no_truncate on accounts": f"BEFORE TRUNCATE FOR EACH STATEMENT {_REFUSED}",
    "column generation_id of ledger_entries": "may be empty",
    "column reverses_entry_id of ledger_entries": "may be empty",
    "column reason of ledger_entries": "may be empty",
    "row-level security of accounts": "enabled, forced",
    "row-level security of ledger_entries": "enabled, forced",
    "policy bookkeeping on accounts": "* its owner sees true writes true",
    "policy bookkeeping on ledger_entries": "* its owner sees true writes true",
    "policy everybodys on accounts": f"* {_SYSTEM} sees true writes true",
    "policy everybodys on ledger_entries": f"r {_SYSTEM} sees true writes",
    "policy own on accounts": f"* tallyframe_api sees {_OWN_USER} writes {_OWN_USER}",
    "policy own on ledger_entries": f"r tallyframe_api sees {_OWN_ACCOUNT} writes",
    "policy may_buy on ledger_entries": (
        f"a tallyframe_api sees writes ({_OWN_ACCOUNT} AND (kind = ANY (ARRAY['debit'::text, 'refund'::text]))"
        " AND (reference = ('generation:'::text || (generation_id)::text)))"
    ),
    "policy may_post on ledger_entries": "a tallyframe_admin, tallyframe_app sees writes true",
    "policy may_refund on ledger_entries": "a tallyframe_worker sees writes (kind = 'refund'::text)",
    "constraint pk_accounts on accounts": "PRIMARY KEY (id)",
    "constraint uq_accounts_user_id on accounts": "UNIQUE (user_id)",
    "constraint fk_accounts_user_id on accounts": "FOREIGN KEY (user_id) REFERENCES users(id)",
    "constraint pk_ledger_entries on ledger_entries": "PRIMARY KEY (id)",
    "constraint uq_ledger_entries_account_id_version on ledger_entries": "UNIQUE (account_id, version)",
    "constraint uq_ledger_entries_kind_reference on ledger_entries": "UNIQUE (kind, reference)",
    "constraint uq_ledger_entries_reverses_entry_id on ledger_entries": "UNIQUE (reverses_entry_id)",
    "constraint fk_ledger_entries_account_id on ledger_entries": ("FOREIGN KEY (account_id) REFERENCES accounts(id)"),
    "constraint fk_ledger_entries_generation_id on ledger_entries": (
        "FOREIGN KEY (generation_id) REFERENCES generations(id)"
    ),
    "constraint fk_ledger_entries_reverses_entry_id on ledger_entries": (
        "FOREIGN KEY (reverses_entry_id) REFERENCES ledger_entries(id)"
    ),
    "constraint ck_ledger_entries_kind on ledger_entries": (
        "CHECK ((kind = ANY (ARRAY['grant'::text, 'purchase'::text, 'debit'::text, 'refund'::text,"
        " 'adjustment'::text, 'clawback'::text])))"
    ),
    "constraint ck_ledger_entries_sign on ledger_entries": (
        "CHECK ( CASE WHEN (kind = ANY (ARRAY['debit'::text, 'clawback'::text])) THEN (amount < 0)"
        " WHEN (kind = 'adjustment'::text) THEN (amount <> 0) ELSE (amount > 0) END)"
    ),
    "constraint ck_ledger_entries_refund_reverses on ledger_entries": (
        "CHECK (((kind = 'refund'::text) = (reverses_entry_id IS NOT NULL)))"
    ),
    "constraint ck_ledger_entries_generation on ledger_entries": (
        "CHECK (((kind <> ALL (ARRAY['debit'::text, 'refund'::text])) OR (generation_id IS NOT NULL)))"
    ),
    "constraint ck_ledger_entries_adjustment_has_reason on ledger_entries": (
        "CHECK (((kind <> 'adjustment'::text) OR (reason IS NOT NULL)))"
    ),
    "index uq_ledger_entries_one_debit_per_generation on ledger_entries": (
        "USING btree (generation_id) WHERE (kind = 'debit'::text)"
    ),
    "index uq_ledger_entries_one_refund_per_generation on ledger_entries": (
        "USING btree (generation_id) WHERE (kind = 'refund'::text)"
    ),
    "function ledger_entry_hash(ledger_entries,bytea)": "e846b3d8ffcfaad4a6a6630593785542",
    "function ledger_post()": "23752a30cce1664d1b159da7fdedec55",
    "function ledger_apply()": "35f695a3c48a6eee47670d2ae0ba46e4",
    "function ledger_refuse()": "cbf6aaf201fbd4f834fe896d7b0a5e21",
    "function account_guard()": "c0accce9090c9e77980af7cf37149e7c",
}

_FACTS = sa.text(r"""
    WITH books AS (
        SELECT oid, relname, relowner, relacl, relrowsecurity, relforcerowsecurity FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname IN ('accounts', 'ledger_entries')),
    facts AS (
        SELECT format('trigger %s on %s', tgname, relname) AS name,
               regexp_replace(pg_get_triggerdef(t.oid), '^CREATE TRIGGER \S+ (.*) ON \S+ FOR', '\1 FOR')
               || CASE tgenabled WHEN 'A' THEN '' WHEN 'D' THEN ', disabled' ELSE ', not always' END
               || CASE p.pronamespace WHEN 'public'::regnamespace THEN '' ELSE ', of another schema' END AS definition
        FROM books JOIN pg_trigger t ON tgrelid = books.oid JOIN pg_proc p ON p.oid = tgfoid WHERE NOT tgisinternal
        UNION ALL
        SELECT format('column %s of %s', attname, relname), 'may be empty'
        FROM books JOIN pg_attribute ON attrelid = books.oid WHERE attnum > 0 AND NOT attisdropped AND NOT attnotnull
        UNION ALL
        SELECT format('row-level security of %s', relname),
               concat_ws(', ', CASE WHEN relrowsecurity THEN 'enabled' END,
                         CASE WHEN relforcerowsecurity THEN 'forced' END)
        FROM books
        UNION ALL
        SELECT format('policy %s on %s', polname, relname),
               concat_ws(' ', polcmd, CASE WHEN NOT polpermissive THEN 'restrictive' END,
                         (SELECT string_agg(CASE role WHEN relowner THEN 'its owner' WHEN 0 THEN 'everybody'
                                            ELSE pg_get_userbyid(role) END, ', ' ORDER BY pg_get_userbyid(role))
                          FROM unnest(polroles) AS role),
                         'sees', pg_get_expr(polqual, polrelid), 'writes', pg_get_expr(polwithcheck, polrelid))
        FROM books JOIN pg_policy ON polrelid = books.oid
        UNION ALL
        SELECT format('constraint %s on %s', conname, relname), pg_get_constraintdef(c.oid)
        FROM books JOIN pg_constraint c ON conrelid = books.oid WHERE contype <> 'n'
        UNION ALL
        SELECT format('index %s on %s', indexrelid::regclass, relname),
               regexp_replace(pg_get_indexdef(indexrelid), '^CREATE UNIQUE INDEX \S+ ON \S+ ', '')
               || CASE WHEN indisvalid AND indisready THEN '' ELSE ', not valid' END
        FROM books JOIN pg_index i ON indrelid = books.oid
        WHERE indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
        UNION ALL
        SELECT format('function %s', p.oid::regprocedure),
               concat_ws(' ', lanname, prosecdef, proconfig, prosrc, pg_get_function_sqlbody(p.oid))
        FROM pg_proc p JOIN pg_language l ON l.oid = prolang
        WHERE pronamespace = 'public'::regnamespace
          AND proname IN ('ledger_entry_hash', 'ledger_post', 'ledger_apply', 'ledger_refuse', 'account_guard')
        UNION ALL
        SELECT format('a disabled foreign key of %s', relname), pg_get_constraintdef(tgconstraint)
        FROM books JOIN pg_trigger ON tgrelid = books.oid WHERE tgisinternal AND tgenabled <> 'O'
        UNION ALL
        SELECT format('rule %s on %s', rulename, relname), 'it would rewrite statements'
        FROM books JOIN pg_rewrite ON ev_class = books.oid
        UNION ALL
        SELECT format('table %s', inhrelid::regclass), format('its rows show in %s', relname)
        FROM books JOIN pg_inherits ON inhparent = books.oid
        UNION ALL
        SELECT format('%s of %s', privilege_type, relname), format('granted to %s', grantee::regrole)
        FROM (SELECT oid, relname, relowner, relacl FROM books
              UNION ALL
              SELECT attrelid, relname, relowner, attacl FROM books JOIN pg_attribute ON attrelid = books.oid
             ) AS granted, aclexplode(relacl)
        WHERE grantee <> relowner AND privilege_type NOT IN ('SELECT', 'INSERT', 'REFERENCES'))
    SELECT replace(name, 'public.', ''), replace(definition, 'public.', '') FROM facts ORDER BY 1, 2""")


async def missing_guards(reader: Reader) -> AsyncIterator[Found]:
    """Yield a sentence for each guard that is away or not as it must be, and for what undermines them."""
    left = dict(GUARDS)
    for name, definition in (await reader.execute(_FACTS)).all():
        known, text = left.pop(name, None), _told(name, definition)
        if known is None:
            yield None, f"{name} does not belong there: {text}"
        elif known != text:
            yield None, f"{name} was changed: {text}"
    for name in left:
        yield None, f"{name} is missing"


def _told(name: str, definition: str) -> str:
    """Return the definition on one line, or for a function, whose source is long, its fingerprint."""
    return (
        sha256(definition.encode()).hexdigest()[:32] if name.startswith("function ") else " ".join(definition.split())
    )
