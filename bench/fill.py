"""Fills a database as years of use would: users, projects, generations, entries with valid hashes, calls, and a queue.

Rows are made by Postgres itself, without triggers and foreign keys, so that a million takes a minute. What the triggers
would have written is written all the same: versions, balances, hashes, roles.
"""

from dataclasses import asdict, dataclass
from uuid import UUID

import asyncpg

#: The user who has a hundredth or, from a million on, a tenth of all projects.
HOARDER = UUID("00000000-0000-7000-8000-000000000001")


@dataclass(frozen=True)
class Scale:
    """How many rows. The latest `live` generations have not ended; the others ended over the last `days`."""

    generations: int
    entries: int
    live: int
    hoard: int  # projects of one user
    users: int = 1000
    calls: int = 0  # of vendors, over all generations
    days: int = 86


#: What is compared: the same service, small and after years.
SMALL = Scale(generations=10_000, entries=50_000, live=1_000, hoard=100, calls=30_000)
MIDDLE = Scale(generations=100_000, entries=500_000, live=10_000, hoard=10_000, calls=300_000)
LARGE = Scale(generations=1_000_000, entries=5_000_000, live=100_000, hoard=100_000, calls=3_000_000)

_TABLES = (
    "projects",
    "generations",
    "generation_steps",
    "assets",
    "project_media",
    "outbox",
    "ai_operations",
    "ledger_entries",
)

_HELPERS = """
    SET synchronous_commit = off;
    SET maintenance_work_mem = '256MB';
    SET work_mem = '256MB';
    -- Triggers rest, and indexes are made at the end, at once: row by row, both take many times as long.
    CREATE TEMP TABLE taken_off AS
    SELECT CASE contype WHEN 'f' THEN 1 ELSE 2 END AS place,
           format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) AS dropped_by,
           format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
               AS made_by
    FROM pg_constraint
    WHERE contype IN ('p', 'u') AND conrelid = ANY ({tables})
       OR contype = 'f' AND (conrelid = ANY ({tables}) OR confrelid = ANY ({tables}))
    UNION ALL
    SELECT 0, format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname),
           format('ALTER TABLE %s ENABLE %s TRIGGER %I', tgrelid::regclass,
                  CASE tgenabled WHEN 'A' THEN 'ALWAYS' ELSE '' END, tgname)
    FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = ANY ('accounts'::regclass || {tables})
    UNION ALL
    SELECT 3, format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
    FROM pg_index WHERE indrelid = ANY ({tables})
                    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'));
    DO $$
    DECLARE
        each record;
    BEGIN
        FOR each IN SELECT * FROM taken_off ORDER BY place LOOP
            EXECUTE each.dropped_by;
        END LOOP;
    END $$;
    -- An id as the product makes it: a time, then what tells rows of the same time apart.
    CREATE FUNCTION pg_temp.id(at timestamptz, kind int, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN
        (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(kind), 3, '0') || '8'
         || lpad(to_hex(number), 15, '0'))::uuid;
    CREATE FUNCTION pg_temp.somebody(number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE RETURN
        ('00000000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid;
    CREATE TEMP TABLE made AS
    SELECT i, now() - {days} * interval '1 day' * ({generations} - i) / {generations} AS at,
           CASE WHEN i % {every} = 0 THEN 1 ELSE 2 + i % ({users} - 1) END AS who,
           CASE WHEN i > {generations} - {live} THEN CASE WHEN i % 5 = 0 THEN 'processing' ELSE 'pending' END
                WHEN i % 20 = 7 THEN 'failed' WHEN i % 50 = 9 THEN 'canceled' ELSE 'succeeded' END AS status
    FROM generate_series(1, {generations}::bigint) AS i;
    ALTER TABLE made ADD project uuid, ADD generation uuid;
    UPDATE made SET project = pg_temp.id(at, 1, i), generation = pg_temp.id(at, 2, i);
"""

_PEOPLE = """
    INSERT INTO users (id, issuer, subject, email, display_name)
    SELECT pg_temp.somebody(n), 'local', 'filled' || n, 'filled' || n || '@example.com', 'Filled ' || n
    FROM generate_series(1, {users}) AS n;
    INSERT INTO accounts (id, user_id)
    SELECT pg_temp.somebody(1000000 + n), pg_temp.somebody(n) FROM generate_series(1, {users}) AS n;
"""

_WORK = """
    INSERT INTO projects (id, user_id, kind, status, status_sequence, is_published, prompt, aspect_ratio, generation_id,
                          created_at, updated_at, published_at)
    SELECT project, pg_temp.somebody(who), CASE WHEN i % 10 = 3 THEN 'video' ELSE 'image' END,
           CASE status WHEN 'succeeded' THEN 'draft' ELSE status END, 3, status = 'succeeded' AND i % 100 = 0,
           'a cup on a table, number ' || i, '1:1', generation, at, at + interval '9 s',
           CASE WHEN status = 'succeeded' AND i % 100 = 0 THEN at + interval '1 min' END
    FROM made;
    INSERT INTO generations (id, project_id, user_id, account_id, operation, input, credits, status, step, attempt,
                             fence, turn, worker, lease_until, wake_at, expires_at, provider, model, error_code,
                             error_message, created_at, started_at, finished_at)
    SELECT generation, project, pg_temp.somebody(who), pg_temp.somebody(1000000 + who),
           CASE WHEN i % 10 = 3 THEN 'video' ELSE 'image' END, '{{"prompt": "a cup on a table"}}', 5, status,
           CASE status WHEN 'pending' THEN 'queued' WHEN 'processing' THEN 'generating' ELSE 'completed' END,
           (status <> 'pending')::int, (status <> 'pending')::int, i, NULL, NULL,
           CASE WHEN status = 'processing' THEN now() + interval '1 h' END, now() + interval '1 day',
           CASE WHEN status <> 'pending' THEN 'offline' END, CASE WHEN status <> 'pending' THEN 'offline' END,
           CASE WHEN status IN ('failed', 'canceled') THEN 'canceled' END,
           CASE WHEN status IN ('failed', 'canceled') THEN 'Filled in.' END,
           at, CASE WHEN status <> 'pending' THEN at + interval '1 s' * (i % 17) END,
           CASE WHEN status IN ('succeeded', 'failed', 'canceled') THEN at + interval '1 s' * (i % 17 + i % 41) END
    FROM made;
    INSERT INTO generation_steps (generation_id, name, attempt, state, provider, model, ticket, result, poll_at,
                                  created_at, ended_at)
    SELECT generation, 'image', 1,
           CASE status WHEN 'succeeded' THEN 'done' WHEN 'processing' THEN 'ticket' ELSE 'failed' END, 'offline',
           'offline', CASE WHEN status = 'processing' THEN 'ticket-' || i END,
           CASE WHEN status = 'succeeded' THEN '{{}}'::jsonb END,
           CASE WHEN status = 'processing' THEN now() + interval '1 h' END, at,
           CASE WHEN status <> 'processing' THEN at + interval '1 s' * (i % 41) END
    FROM made WHERE status <> 'pending';
    INSERT INTO assets (id, user_id, project_id, generation_id, storage, key, content_type, bytes, sha256, width,
                        height, role, position)
    SELECT pg_temp.id(at, 3, i), pg_temp.somebody(who), project, generation, 'local', 'generations/' || generation
           || '/image-1.png', 'image/png', 1000, sha256(i::text::bytea), 1024, 1024, 'image', 0
    FROM made WHERE status = 'succeeded';
    INSERT INTO project_media (project_id, role, position, version, asset_id, generation_id)
    SELECT project, 'image', 0, 1, pg_temp.id(at, 3, i), generation FROM made WHERE status = 'succeeded';
    INSERT INTO outbox (kind, ref, due_at)
    SELECT 'run_generation', generation, CASE status WHEN 'pending' THEN at ELSE now() + interval '1 h' END
    FROM made WHERE status IN ('pending', 'processing');
    INSERT INTO ai_operations (id, generation_id, operation, step, kind, attempt, provider, model, status, duration_ms,
                               created_at)
    SELECT pg_temp.id(at, 4, i * 8 + n), generation, 'image', 'image', 'order', n, 'offline', 'offline', 'succeeded',
           900, at + interval '1 s' * n
    FROM made, generate_series(1, {calls_each}) AS n WHERE status IN ('succeeded', 'failed', 'canceled');
"""

_CHARGES = "SELECT count(*) + count(*) FILTER (WHERE status IN ('failed', 'canceled')) FROM made"

#: Grants make up the number; each account's first one pays for all that it orders.
_ENTRIES = """
    CREATE TEMP TABLE posted AS
    SELECT pg_temp.somebody(1000000 + who) AS account_id, number, i, kind, amount, at, generation
    FROM (SELECT n AS who, 0 AS number, -n AS i, 'grant' AS kind, 1000000000 AS amount,
                 now() - interval '1 day' * ({days} + 1) AS at, NULL::uuid AS generation
          FROM generate_series(1, {users}) AS n
          UNION ALL SELECT who, 1, i, 'debit', -5, at, generation FROM made
          UNION ALL SELECT who, 2, i, 'refund', 5, at + interval '1 min', generation
                    FROM made WHERE status IN ('failed', 'canceled')
          UNION ALL SELECT 1 + n % {users}, 3, n, 'grant', 7,
                           now() - {days} * interval '1 day' * n / {entries}, NULL
                    FROM generate_series(1, {entries} - {users} - {charges}) AS n) AS each;
    CREATE FUNCTION pg_temp.chained() RETURNS SETOF ledger_entries LANGUAGE plpgsql AS $$
    DECLARE
        found record;
        entry ledger_entries;
    BEGIN
        entry.account_id := NULL;
        FOR found IN SELECT * FROM posted ORDER BY account_id, at, number, i LOOP
            IF entry.account_id IS DISTINCT FROM found.account_id THEN
                entry.account_id := found.account_id; entry.version := 0; entry.balance_after := 0; entry.hash := '';
            END IF;
            entry.version := entry.version + 1;
            entry.balance_after := entry.balance_after + found.amount;
            entry.id := pg_temp.id(found.at, 16 + found.number, abs(found.i));
            entry.kind := found.kind;
            entry.amount := found.amount;
            entry.generation_id := found.generation;
            entry.reverses_entry_id := CASE WHEN found.kind = 'refund'
                                            THEN pg_temp.id(found.at - interval '1 min', 17, found.i) END;
            entry.reference := CASE WHEN found.kind = 'grant' THEN 'filled:' || found.number || ':' || found.i
                                    ELSE 'generation:' || found.generation END;
            entry.reason := CASE WHEN found.kind = 'refund' THEN 'Filled in.' END;
            entry.created_at := found.at;
            entry.hash := ledger_entry_hash(entry, entry.hash);
            RETURN NEXT entry;
        END LOOP;
    END $$;
    INSERT INTO ledger_entries SELECT * FROM pg_temp.chained();
    UPDATE accounts SET balance = last.balance_after, version = last.version, head = last.hash
    FROM (SELECT DISTINCT ON (account_id) * FROM ledger_entries ORDER BY account_id, version DESC) AS last
    WHERE accounts.id = last.account_id AND accounts.version = 0;
    UPDATE accounts SET spent = paid.amount
    FROM (SELECT account_id, -sum(amount) AS amount FROM ledger_entries WHERE kind IN ('debit', 'refund')
          GROUP BY account_id) AS paid
    WHERE accounts.id = paid.account_id;
"""

#: What triggers count of what has ended.
_COUNTERS = """
    INSERT INTO counters (name, labels, count, total)
    SELECT 'generations', ARRAY[operation, coalesce(provider, 'none'), status], count(*), 0
    FROM generations WHERE finished_at IS NOT NULL GROUP BY 2
    UNION ALL
    SELECT 'steps', ARRAY[provider], count(*), sum(extract(epoch FROM ended_at - created_at))
    FROM generation_steps WHERE ended_at IS NOT NULL GROUP BY 2
    UNION ALL
    SELECT 'refunds', '{{}}', count(*), sum(amount) FROM ledger_entries WHERE kind = 'refund' HAVING count(*) > 0;
"""

_AFTER = """
    DO $$
    DECLARE
        each record;
    BEGIN
        FOR each IN SELECT * FROM taken_off ORDER BY place DESC LOOP
            EXECUTE each.made_by;
        END LOOP;
    END $$;
    SELECT setval('turn_served', greatest((SELECT min(turn) FROM generations WHERE status = 'pending'), 1));
    DROP TABLE made, posted, taken_off;
"""


async def fill(database_url: str, scale: Scale) -> None:
    """Fill an empty, migrated database. The login must be a superuser, since triggers are turned off for it."""
    every = max(scale.generations // max(scale.hoard, 1), 2)
    calls_each = round(scale.calls / (scale.generations - scale.live))
    values: dict[str, object] = {**asdict(scale), "every": every, "calls_each": calls_each}
    values["tables"] = f"'{{{', '.join(_TABLES)}}}'::regclass[]"
    owner = await asyncpg.connect(database_url)
    try:
        for part in (_HELPERS, _PEOPLE, _WORK):
            await owner.execute(part.format(**values))
        values["charges"] = await owner.fetchval(_CHARGES)
        for part in (_ENTRIES, _COUNTERS, _AFTER):
            await owner.execute(part.format(**values))
        await owner.execute("VACUUM ANALYZE")
        await owner.execute("CHECKPOINT")
    finally:
        await owner.close()
