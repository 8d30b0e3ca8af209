"""The guards: the triggers, functions, policies and constraints that keep the books, compared with what they must be.

The owner of the tables can disable, drop and replace them; Postgres' catalog then shows it. A migration that changes a
guard changes it here too.
"""

from collections.abc import AsyncIterator
from hashlib import sha256

from tallyframe.db import Reader
from tallyframe.ledger.catalog import FACTS
from tallyframe.ledger.issue import Issue

_SYSTEM = "tallyframe_admin, tallyframe_app, tallyframe_worker"
_OWN_USER = "(user_id = ( SELECT acting_user() AS acting_user))"
_OWN_ACCOUNT = "(account_id = ( SELECT acting_account() AS acting_account))"
_REFUSED = "EXECUTE FUNCTION ledger_refuse()"

#: Tables whose rows belong to users.
_OWNED = (
    "users",
    "api_keys",
    "accounts",
    "ledger_entries",
    "projects",
    "project_images",
    "project_media",
    "generations",
    "generation_steps",
    "assets",
    "erased_files",
    "idempotency_keys",
    "ai_operations",
    "admin_log",
)

#: Each guard and its definition in the words of Postgres; for a function, the hash of its source.
GUARDS: dict[str, str] = {
    "trigger ledger_post on ledger_entries": "BEFORE INSERT FOR EACH ROW EXECUTE FUNCTION ledger_post()",
    "trigger ledger_apply on ledger_entries": "AFTER INSERT FOR EACH ROW EXECUTE FUNCTION ledger_apply()",
    "trigger ledger_append_only on ledger_entries": f"BEFORE DELETE OR UPDATE FOR EACH ROW {_REFUSED}",
    "trigger ledger_no_truncate on ledger_entries": f"BEFORE TRUNCATE FOR EACH STATEMENT {_REFUSED}",
    "trigger ledger_refund_is_due on ledger_entries": (
        "AFTER INSERT FOR EACH ROW WHEN ((new.kind = 'refund'::text)) EXECUTE FUNCTION refund_is_due()"
    ),
    "trigger generation_stays on generations": (
        "BEFORE UPDATE FOR EACH ROW WHEN ((((((((((old.id IS DISTINCT FROM new.id)"
        " OR (old.project_id IS DISTINCT FROM new.project_id)) OR (old.slot IS DISTINCT FROM new.slot))"
        " OR (old.user_id IS DISTINCT FROM new.user_id))"
        " OR (old.account_id IS DISTINCT FROM new.account_id)) OR (old.operation IS DISTINCT FROM new.operation))"
        " OR (old.credits IS DISTINCT FROM new.credits)) OR (old.replaces_id IS DISTINCT FROM new.replaces_id))"
        " OR ((old.finished_at IS NOT NULL) AND (old.status IS DISTINCT FROM new.status))))"
        " EXECUTE FUNCTION generation_stays()"
    ),
    "trigger success_has_result on generations": (
        "AFTER UPDATE OF status FOR EACH ROW WHEN (((new.status = 'succeeded'::text)"
        " AND (old.status <> 'succeeded'::text) AND (new.output IS NULL))) EXECUTE FUNCTION success_has_result()"
    ),
    "trigger generation_of_own_project on generations": (
        "AFTER INSERT FOR EACH ROW EXECUTE FUNCTION generation_of_own_project()"
    ),
    "trigger count_ended on generations": (
        "AFTER UPDATE OF finished_at FOR EACH ROW"
        " WHEN (((old.finished_at IS NULL) AND (new.finished_at IS NOT NULL))) EXECUTE FUNCTION count_ended()"
    ),
    "trigger count_refund on ledger_entries": (
        "AFTER INSERT FOR EACH ROW WHEN ((new.kind = 'refund'::text)) EXECUTE FUNCTION count_refund()"
    ),
    "trigger admin_log_append_only on admin_log": f"BEFORE DELETE OR UPDATE FOR EACH ROW {_REFUSED}",
    "trigger admin_log_no_truncate on admin_log": f"BEFORE TRUNCATE FOR EACH STATEMENT {_REFUSED}",
    "trigger account_guard on accounts": "BEFORE INSERT OR UPDATE FOR EACH ROW EXECUTE FUNCTION account_guard()",
    "trigger account_no_delete on accounts": f"BEFORE DELETE FOR EACH ROW {_REFUSED}",
    "trigger account_no_truncate on accounts": f"BEFORE TRUNCATE FOR EACH STATEMENT {_REFUSED}",
    "column generation_id of ledger_entries": "may be empty",
    "column reverses_entry_id of ledger_entries": "may be empty",
    "column reason of ledger_entries": "may be empty",
    **{f"row-level security of {table}": "enabled, forced" for table in _OWNED},
    "policy bookkeeping on accounts": "* its owner sees true writes true",
    "policy bookkeeping on ledger_entries": "* its owner sees true writes true",
    "policy everybodys on accounts": f"* {_SYSTEM} sees true writes true",
    "policy everybodys on ledger_entries": f"r {_SYSTEM} sees true writes",
    "policy own on accounts": f"* tallyframe_api sees {_OWN_USER} writes {_OWN_USER}",
    "policy own on ledger_entries": f"r tallyframe_api sees {_OWN_ACCOUNT} writes",
    "policy bookkeeping on generations": "r its owner sees true writes",
    "policy everybodys on generations": f"* {_SYSTEM} sees true writes true",
    "policy everybodys on admin_log": f"* {_SYSTEM} sees true writes true",
    "policy own on generations": f"* tallyframe_api sees {_OWN_USER} writes ({_OWN_USER} AND {_OWN_ACCOUNT})",
    "policy may_buy on ledger_entries": (
        f"a tallyframe_api sees writes ({_OWN_ACCOUNT} AND (kind = ANY (ARRAY['debit'::text, 'refund'::text]))"
        " AND (reference = ('generation:'::text || (generation_id)::text)))"
    ),
    "policy may_post on ledger_entries": "a tallyframe_admin, tallyframe_app sees writes true",
    "policy may_refund on ledger_entries": "a tallyframe_worker sees writes (kind = 'refund'::text)",
    "policy of_webhooks on accounts": "* tallyframe_webhooks sees true writes true",
    "policy may_sign_up on ledger_entries": (
        "a tallyframe_webhooks sees writes ((kind = 'grant'::text) AND (reference = ('sign-up:'::text"
        " || (( SELECT accounts.user_id FROM accounts WHERE (accounts.id = ledger_entries.account_id)))::text)))"
    ),
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
    "function ledger_apply()": "317b8ac8a236071007b5592d974ceb5c",
    "function ledger_refuse()": "cbf6aaf201fbd4f834fe896d7b0a5e21",
    "function refund_is_due()": "512ca9cc592816f7a359f9dd1767f2d1",
    "function account_guard()": "bd2b26f25680824ca236c4bc93fee09f",
    "function generation_stays()": "a1e2a2e2497ce3804493c9a8f611de1e",
    "function generation_of_own_project()": "2bd9eabfc0996ca5652fe8c41f94c6a8",
    "function acting_user()": "e3cff7384835c3d66b0159affb123331",
    "function acting_account()": "c118b24774b7cc2261e133ca9ef52dcf",
}


async def changed_guards(reader: Reader) -> AsyncIterator[Issue]:
    """Yield each guard that is missing or changed, and everything beside them that gets around one."""
    missing = dict(GUARDS)
    for name, definition in (await reader.execute(FACTS)).all():
        is_function = name.startswith("function ")  # its source is long: its hash stands for it
        found = sha256(definition.encode()).hexdigest()[:32] if is_function else " ".join(definition.split())
        expected = missing.pop(name, None)
        if expected is None:
            yield None, f"{name} does not belong there: {found}"
        elif expected != found:
            yield None, f"{name} was changed: {found}"
    for name in missing:
        yield None, f"{name} is missing"
