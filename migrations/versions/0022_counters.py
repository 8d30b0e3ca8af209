"""Count what ends as it ends, so that /metrics needn't read all generations, steps and refunds of all times.

Revision: 0022, after 0021.

Triggers count in the transaction of what they count, so a counter is neither ahead nor behind. A count takes any row of
its counter that nobody else holds, or adds one: so nobody waits for another's count.

What ended before is counted afterwards, while all work on: about a third of a second per million rows. A row and its
count become visible in the same instant, so what a snapshot has more of than its counters say is what ended before the
triggers were there, whenever one looks. Cut off in the middle, the next try looks again, and adds what is missing then.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from alembic import op

from tallyframe.migrating import begin_locking, outside_transaction

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

COUNT = """
    CREATE OR REPLACE FUNCTION count_up(counter text, its_labels text[], amount double precision) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE counters SET count = count + 1, total = total + amount
    WHERE id = (SELECT id FROM counters WHERE name = counter AND labels = its_labels LIMIT 1 FOR UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        INSERT INTO counters (name, labels, count, total) VALUES (counter, its_labels, 1, amount);
    END IF;
END $$"""
#: The function of each trigger: which counter it counts up, with which labels, by how much.
FUNCTIONS: Mapping[str, str] = {
    "count_ended": "'generations', ARRAY[NEW.operation, coalesce(NEW.provider, 'none'), NEW.status], 0",
    "count_step": "'steps', ARRAY[NEW.provider], extract(epoch FROM NEW.ended_at - NEW.created_at)",
    "count_refund": "'refunds', '{}', NEW.amount",
}
FUNCTION = """
    CREATE OR REPLACE FUNCTION {name}() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM count_up({counts});
    RETURN NULL;
END $$"""
#: Per table: its triggers, and the query for what they would have counted in all.
TABLES: Mapping[str, tuple[Sequence[tuple[str, str]], str]] = {
    "generations": (
        [
            (
                "count_ended",
                (
                    "AFTER UPDATE OF finished_at ON generations FOR EACH ROW"
                    " WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION count_ended()"
                ),
            )
        ],
        """
        SELECT 'generations' AS name, ARRAY[operation, coalesce(provider, 'none'), status] AS labels, count(*), 0 AS total
        FROM generations WHERE finished_at IS NOT NULL GROUP BY 2""",
    ),
    "generation_steps": (
        [
            (
                "count_step",
                (
                    "AFTER UPDATE OF ended_at ON generation_steps FOR EACH ROW"
                    " WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION count_step()"
                ),
            ),
            (
                "count_new_step",
                (
                    "AFTER INSERT ON generation_steps FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL)"
                    " EXECUTE FUNCTION count_step()"
                ),
            ),
        ],
        """
        SELECT 'steps' AS name, ARRAY[provider] AS labels, count(*),
               sum(extract(epoch FROM ended_at - created_at))::double precision AS total
        FROM generation_steps WHERE ended_at IS NOT NULL GROUP BY 2""",
    ),
    "ledger_entries": (
        [
            (
                "count_refund",
                "AFTER INSERT ON ledger_entries FOR EACH ROW WHEN (NEW.kind = 'refund') EXECUTE FUNCTION count_refund()",
            )
        ],
        """
        SELECT 'refunds' AS name, '{}'::text[] AS labels, count(*), sum(amount)::double precision AS total
        FROM ledger_entries WHERE kind = 'refund' HAVING count(*) > 0""",
    ),
}
ADD_MISSING = sa.text("""
    INSERT INTO counters (name, labels, count, total)
    SELECT :name, :labels, :count - coalesce(sum(count), 0), :total - coalesce(sum(total), 0)
    FROM counters WHERE name = :name AND labels = :labels HAVING coalesce(sum(count), 0) < :count""").bindparams(
    sa.bindparam("name", type_=sa.Text()),
    sa.bindparam("labels", type_=sa.ARRAY(sa.Text())),
    sa.bindparam("count", type_=sa.BigInteger()),
    sa.bindparam("total", type_=sa.Double()),
)


def upgrade() -> None:
    """Make the counters and the triggers, then add what ended before."""
    begin_locking(*TABLES)
    op.execute("""
        CREATE TABLE IF NOT EXISTS counters (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_counters PRIMARY KEY,
            name text NOT NULL, labels text[] NOT NULL, count bigint NOT NULL, total double precision NOT NULL
        ) WITH (fillfactor = 50)""")
    op.execute("CREATE INDEX IF NOT EXISTS ix_counters_name ON counters (name, labels)")
    for role in ("tallyframe_app", "tallyframe_admin"):
        op.execute(f"GRANT SELECT ON counters TO {role}")
    op.execute(COUNT)
    for name, counts in FUNCTIONS.items():
        op.execute(FUNCTION.format(name=name, counts=counts))
    for function in ("count_up(text, text[], double precision)", *(f"{name}()" for name in FUNCTIONS)):
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    for table, (triggers, _) in TABLES.items():
        for name, definition in triggers:
            op.execute(f"CREATE OR REPLACE TRIGGER {name} {definition}")
            op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    with outside_transaction() as connection:
        for _, in_all in TABLES.values():
            _add_missing(connection, in_all)


def _add_missing(connection: sa.Connection, in_all: str) -> None:
    """Add what one table has more of than its counters say, both in one snapshot."""
    connection.execute(sa.text("BEGIN ISOLATION LEVEL REPEATABLE READ"))
    connection.execute(sa.text("SET LOCAL ROLE tallyframe_worker"))  # whom row-level security shows everybody's rows
    rows = connection.execute(sa.text(in_all)).mappings().all()
    connection.execute(sa.text("RESET ROLE"))
    for row in rows:
        connection.execute(ADD_MISSING, dict(row))
    connection.execute(sa.text("COMMIT"))


def downgrade() -> None:
    """Stop counting, and forget the counters."""
    for table, (triggers, _) in TABLES.items():
        for name, _ in triggers:
            op.execute(f"DROP TRIGGER {name} ON {table}")
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}()")
    op.execute("DROP FUNCTION count_up(text, text[], double precision)")
    op.execute("DROP TABLE counters")
