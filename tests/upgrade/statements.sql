-- What the version before, which needs revision 0010, says to Postgres: the statements that its API, its worker and its
-- command line execute, each once, by number. `lives.jsonl` is the order in which they were executed, and with what values,
-- as SQL literals; `replay.py` says them again, with other ids.
--
-- They were recorded with the code of that version, in a test of its own, against a real Postgres: whatever SQLAlchemy gives
-- to the driver (`before_cursor_execute` of every engine, with the role of its `Database` and the user for whom it acts),
-- while two users were made by the command line, and one of them ordered through the API and a worker ran the orders, with a
-- vendor that answers as it is told. Each order was given a prompt that says what becomes of it: see `ENDS` in
-- `test_upgrade.py`. Recording stopped where a worker was to die. What `owner` says is not that version's: time passes, and
-- a worker is lost.
--
-- They are never changed: they are what is out there. A version that comes after this one records its own.

--; 1
SELECT users.id, (SELECT accounts.id
FROM accounts
WHERE accounts.user_id = users.id) AS account_id, users.email, users.display_name, users.role, users.is_member, users.created_at
FROM users
WHERE users.deleted_at IS NULL AND users.issuer = $1::VARCHAR AND users.subject = $2::VARCHAR
--; 2
INSERT INTO users (id, issuer, subject, email, display_name) VALUES ($1::UUID, $2::VARCHAR, $3::VARCHAR, $4::VARCHAR, $5::VARCHAR) ON CONFLICT DO NOTHING RETURNING users.id
--; 3
INSERT INTO accounts (id, user_id) VALUES ($1::UUID, $2::UUID)
--; 4
INSERT INTO ledger_entries (id, account_id, kind, amount, reference, reason) VALUES ($1::UUID, $2::UUID, $3::VARCHAR, $4::BIGINT, $5::VARCHAR, $6::VARCHAR)
--; 5
INSERT INTO api_keys (id, user_id, name, secret_hash, last_four) VALUES ($1::UUID, $2::UUID, $3::VARCHAR, $4::BYTEA, $5::VARCHAR) RETURNING api_keys.id, api_keys.name, api_keys.last_four, api_keys.created_at
--; 6
UPDATE users SET role=$1::VARCHAR WHERE users.id = $2::UUID
--; 7
INSERT INTO workers (name, slots) VALUES ($1::VARCHAR, $2::INTEGER) ON CONFLICT (name) DO UPDATE SET slots = excluded.slots, started_at = excluded.started_at, seen_at = clock_timestamp() RETURNING workers.started_at
--; 8
DELETE FROM workers WHERE workers.name IN (SELECT workers.name
FROM workers
WHERE workers.seen_at <= now() - $1::INTERVAL AND workers.name != $2::VARCHAR FOR UPDATE SKIP LOCKED)
--; 9
SELECT users.id, (SELECT accounts.id
FROM accounts
WHERE accounts.user_id = users.id) AS account_id, users.email, users.display_name, users.role, users.is_member, users.created_at
FROM users JOIN api_keys ON api_keys.user_id = users.id
WHERE users.deleted_at IS NULL AND api_keys.secret_hash = $1::BYTEA AND api_keys.revoked_at IS NULL
--; 10
SELECT idempotency_keys.fingerprint, idempotency_keys.ref, idempotency_keys.answer
FROM idempotency_keys
WHERE idempotency_keys.user_id = $1::UUID AND idempotency_keys.key = $2::VARCHAR
--; 11
WITH project AS
(INSERT INTO projects (id, generation_id, status, user_id, kind, prompt, prompt_id, aspect_ratio, metadata) SELECT $11::UUID AS anon_11, $4::UUID AS anon_12, $12::VARCHAR AS anon_13, $1::UUID AS anon_14, $13::VARCHAR AS anon_15, $14::VARCHAR AS anon_16, $15::UUID AS anon_17, $16::VARCHAR AS anon_18, $17::JSONB AS anon_19
WHERE (SELECT count(*) AS count_1
FROM generations
WHERE generations.user_id = $1::UUID AND generations.status IN ('pending', 'processing')) < $18::BIGINT RETURNING projects.id),
generation AS
(INSERT INTO generations (id, project_id, turn, expires_at, user_id, account_id, operation, input, credits) SELECT $4::UUID AS anon_4, project.id AS id, greatest(turn_served_now(), (SELECT max(generations.turn) AS max_1
FROM generations
WHERE generations.user_id = $1::UUID AND generations.status IN ('pending', 'processing')) + $5::BIGINT) AS greatest_1, clock_timestamp() + $6::INTERVAL AS anon_5, $1::UUID AS anon_6, $7::UUID AS anon_7, $8::VARCHAR AS anon_8, $9::JSONB AS anon_9, $10::BIGINT AS anon_10
FROM project RETURNING generations.id, generations.account_id, generations.credits),
write_0 AS
(INSERT INTO idempotency_keys (user_id, key, fingerprint, ref) SELECT $1::UUID AS anon_1, $2::VARCHAR AS anon_2, $3::BYTEA AS anon_3, generation.id AS id
FROM generation),
write_1 AS
(INSERT INTO assets (id, storage, key, content_type, bytes, sha256, width, height, duration_seconds, user_id, project_id) SELECT $19::UUID AS anon_20, $20::VARCHAR AS anon_21, $21::VARCHAR AS anon_22, $22::VARCHAR AS anon_23, $23::BIGINT AS anon_24, $24::VARCHAR AS anon_25, $25::INTEGER AS anon_26, $26::INTEGER AS anon_27, $27::FLOAT AS anon_28, $28::UUID AS anon_29, project.id AS id
FROM project),
write_2 AS
(INSERT INTO project_images (position, asset_id, project_id) SELECT $29::SMALLINT AS anon_30, $30::UUID AS anon_31, project.id AS id
FROM project),
write_3 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reference) SELECT $31::UUID AS anon_32, generation.account_id AS account_id, $32::VARCHAR AS anon_33, -generation.credits AS anon_34, generation.id AS id, $33::VARCHAR || CAST(generation.id AS TEXT) AS anon_35
FROM generation
WHERE generation.credits > $34::BIGINT),
write_4 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $35::VARCHAR AS anon_36, generation.id AS id, clock_timestamp() + $36::INTERVAL AS anon_37
FROM generation ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $37::INTEGER)
 SELECT generation.id
FROM generation
--; 12
SELECT projects.id, projects.kind, projects.status, projects.status_sequence, projects.is_published, projects.prompt, projects.prompt_id, projects.aspect_ratio, projects.metadata, projects.created_at, projects.updated_at, (SELECT jsonb_agg(jsonb_build_object($1::VARCHAR, assets.id, $2::VARCHAR, assets.storage, $3::VARCHAR, assets.key, $4::VARCHAR, assets.content_type, $5::VARCHAR, assets.bytes, $6::VARCHAR, assets.sha256, $7::VARCHAR, assets.width, $8::VARCHAR, assets.height, $9::VARCHAR, assets.duration_seconds) ORDER BY project_images.position) AS jsonb_agg_1
FROM assets, project_images
WHERE project_images.project_id = projects.id AND project_images.asset_id = assets.id) AS images, image.storage AS image_storage, image.key AS image_key, video.storage AS video_storage, video.key AS video_key, generations.id AS generation_id, generations.project_id AS generation_project_id, generations.operation AS generation_operation, generations.status AS generation_status, generations.step AS generation_step, generations.attempt AS generation_attempt, generations.provider AS generation_provider, generations.model AS generation_model, generations.credits AS generation_credits, generations.error_code AS generation_error_code, generations.error_message AS generation_error_message, generations.created_at AS generation_created_at, generations.started_at AS generation_started_at, generations.finished_at AS generation_finished_at, charges.charged AS generation_charged, charges.refunded AS generation_refunded, (SELECT jsonb_agg(jsonb_build_object($10::VARCHAR, assets.id, $11::VARCHAR, assets.storage, $12::VARCHAR, assets.key, $13::VARCHAR, assets.content_type, $14::VARCHAR, assets.bytes, $15::VARCHAR, assets.sha256, $16::VARCHAR, assets.width, $17::VARCHAR, assets.height, $18::VARCHAR, assets.duration_seconds) ORDER BY assets.id) AS jsonb_agg_2
FROM assets
WHERE assets.generation_id = generations.id) AS generation_outputs
FROM projects JOIN generations ON generations.project_id = projects.id JOIN LATERAL (SELECT coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $19::VARCHAR), $20::INTEGER) AS charged, coalesce(sum(ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $21::VARCHAR), $22::INTEGER) AS refunded
FROM ledger_entries
WHERE ledger_entries.generation_id = generations.id) AS charges ON true LEFT OUTER JOIN assets AS image ON image.id = projects.image_asset_id LEFT OUTER JOIN assets AS video ON video.id = projects.video_asset_id
WHERE generations.id = $23::UUID AND projects.user_id = $24::UUID AND projects.deleted_at IS NULL
--; 13
UPDATE idempotency_keys SET answer=coalesce(idempotency_keys.answer, $1::JSONB) WHERE idempotency_keys.user_id = $2::UUID AND idempotency_keys.key = $3::VARCHAR RETURNING idempotency_keys.answer
--; 14
WITH chosen AS
(SELECT generations.id AS id
FROM generations
WHERE generations.id = $12::UUID AND (generations.status = $13::VARCHAR OR generations.status = $14::VARCHAR AND (generations.lease_until IS NOT NULL AND generations.lease_until < now() OR generations.lease_until IS NULL AND generations.wake_at <= now())) FOR NO KEY UPDATE),
claimed AS
(UPDATE generations SET status=$3::VARCHAR, step=CASE WHEN (generations.step = $4::VARCHAR) THEN $5::VARCHAR ELSE generations.step END, attempt=CASE WHEN (generations.status = $6::VARCHAR OR generations.lease_until IS NOT NULL AND generations.lease_until < now()) THEN generations.attempt + $7::INTEGER ELSE generations.attempt END, fence=(generations.fence + $8::INTEGER), worker=$9::VARCHAR, lease_until=(now() + $10::INTERVAL), wake_at=$11::TIMESTAMP WITH TIME ZONE, started_at=coalesce(generations.started_at, now()) FROM chosen WHERE generations.id = chosen.id RETURNING generations.id, generations.user_id, generations.operation, generations.input, generations.fence, generations.attempt, generations.retries, generations.project_id),
write_0 AS
(UPDATE projects SET status=$1::VARCHAR, status_sequence=(projects.status_sequence + $2::INTEGER), updated_at=clock_timestamp() WHERE projects.id = (SELECT claimed.project_id
FROM claimed) AND projects.generation_id = (SELECT claimed.id
FROM claimed) AND projects.status = $15::VARCHAR),
write_1 AS
(DELETE FROM outbox WHERE outbox.kind = $16::VARCHAR AND outbox.ref = (SELECT claimed.id
FROM claimed))
 SELECT claimed.id, claimed.user_id, claimed.operation, claimed.input, claimed.fence, claimed.attempt, claimed.retries
FROM claimed
--; 15
SELECT assets.id, assets.storage, assets.key, assets.content_type, assets.bytes, assets.sha256, assets.width, assets.height, assets.duration_seconds
FROM assets
WHERE assets.user_id = $1::UUID AND assets.id IN ($2::UUID)
--; 16
SELECT generation_steps.attempt, generation_steps.state, generation_steps.provider, generation_steps.ticket, generation_steps.result, generation_steps.error_code, generation_steps.is_final
FROM generation_steps
WHERE generation_steps.generation_id = $1::UUID AND generation_steps.name = $2::VARCHAR ORDER BY generation_steps.attempt
--; 17
INSERT INTO provider_slots (provider, number)
    SELECT $1::VARCHAR, number FROM generate_series(1, $2::INTEGER) AS numbers(number)
    ON CONFLICT DO NOTHING
--; 18
WITH circuit AS (
        SELECT open_until, probe_until, open_until <= now() AND (
            probe_until IS NULL OR probe_until <= now() OR NOT EXISTS (
                SELECT FROM ai_operations AS trying JOIN generations ON generations.id = trying.generation_id
                WHERE trying.status = 'running' AND trying.kind = 'order'
                  AND trying.provider = $1::VARCHAR AND trying.model = $2::VARCHAR
                  AND trying.created_at >= least(open_until, probe_until - $3::INTERVAL) AND generations.lease_until > now()
            )
        ) AS may_probe
        FROM provider_circuits
        WHERE $4::BOOLEAN AND provider = $1::VARCHAR AND model = $2::VARCHAR AND open_until IS NOT NULL
    ), same_user AS (
        SELECT count(*) AS slots FROM provider_slots
        JOIN ai_operations ON ai_operations.id = provider_slots.holder
        JOIN generations ON generations.id = ai_operations.generation_id
        WHERE provider_slots.provider = $1::VARCHAR AND provider_slots.held_until > now()
          AND generations.user_id = (SELECT user_id FROM generations WHERE id = $5::UUID)
    ), slot AS (
        SELECT number FROM provider_slots
        WHERE provider = $1::VARCHAR AND number <= $6::INTEGER AND held_until <= now()
          AND NOT EXISTS (SELECT FROM circuit WHERE NOT may_probe)
          AND (SELECT slots FROM same_user) < greatest($6::INTEGER * 4 / 5, 1)
        ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED
    ), probe AS (
        UPDATE provider_circuits AS now_is SET probe_until = now() + $3::INTERVAL FROM circuit
        WHERE now_is.provider = $1::VARCHAR AND now_is.model = $2::VARCHAR AND circuit.may_probe
          AND now_is.open_until = circuit.open_until AND now_is.probe_until IS NOT DISTINCT FROM circuit.probe_until
          AND ($6::INTEGER IS NULL OR EXISTS (SELECT FROM slot))
        RETURNING now_is.provider
    ), held AS (
        UPDATE provider_slots SET held_until = now() + $3::INTERVAL, holder = $7::UUID FROM slot
        WHERE provider_slots.provider = $1::VARCHAR AND provider_slots.number = slot.number
          AND (NOT EXISTS (SELECT FROM circuit) OR EXISTS (SELECT FROM probe))
        RETURNING provider_slots.number
    ), call AS (
        INSERT INTO ai_operations (id, generation_id, operation, kind, attempt, provider, model, created_at)
        SELECT $7::UUID, $5::UUID, $8::VARCHAR, $9::VARCHAR, $10::INTEGER, $1::VARCHAR, $2::VARCHAR, clock_timestamp()
        WHERE ($6::INTEGER IS NULL OR EXISTS (SELECT FROM held))
          AND (NOT EXISTS (SELECT FROM circuit) OR EXISTS (SELECT FROM probe))
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM call) AS entered, EXISTS (SELECT FROM probe) AS probes,
           (SELECT extract(epoch FROM open_until - now()) FROM circuit) AS open_for
--; 19
WITH shown AS
(UPDATE generations SET provider=$6::VARCHAR, model=$7::VARCHAR WHERE generations.id = $8::UUID AND generations.fence = $9::INTEGER AND generations.status = $10::VARCHAR AND generations.lease_until IS NOT NULL RETURNING generations.id, generations.project_id),
write_0 AS
(INSERT INTO generation_steps (name, attempt, state, provider, model, generation_id) SELECT $1::VARCHAR AS anon_1, $2::INTEGER AS anon_2, $3::VARCHAR AS anon_3, $4::VARCHAR AS anon_4, $5::VARCHAR AS anon_5, shown.id AS id
FROM shown),
write_1 AS
(UPDATE projects SET status_sequence=(projects.status_sequence + $11::INTEGER), updated_at=clock_timestamp() WHERE projects.id = (SELECT shown.project_id
FROM shown) AND projects.generation_id = (SELECT shown.id
FROM shown))
 SELECT shown.id
FROM shown
--; 20
UPDATE generations SET lease_until=(now() + $1::INTERVAL) WHERE generations.id = $2::UUID AND generations.fence = $3::INTEGER AND generations.status = $4::VARCHAR AND generations.lease_until IS NOT NULL RETURNING generations.id
--; 21
WITH ended AS (
        UPDATE ai_operations
        SET status = $1::VARCHAR, error_code = $2::VARCHAR, error = $3::VARCHAR, input_tokens = $4::BIGINT,
            output_tokens = $5::BIGINT, video_seconds = $6::FLOAT, cost_micros = $7::BIGINT,
            duration_ms = $8::INTEGER, vendor_request_id = $9::VARCHAR
        WHERE id = $10::UUID
    ), freed AS (
        UPDATE provider_slots SET held_until = now(), holder = NULL WHERE provider = $11::VARCHAR AND holder = $10::UUID
    ), sick AS (
        INSERT INTO provider_circuits AS circuit (provider, model, failures, failed_generation_id, open_until)
        SELECT $11::VARCHAR, $12::VARCHAR, 1, $13::UUID,
               now() + coalesce($14::INTERVAL, CASE WHEN $15::INTEGER <= 1 THEN $16::INTERVAL END)
        WHERE $17::BOOLEAN AND $18::BOOLEAN
        ON CONFLICT (provider, model) DO UPDATE
        SET failures = circuit.failures + (circuit.failed_generation_id IS DISTINCT FROM $13::UUID)::int,
            failed_generation_id = $13::UUID,
            probe_until = CASE WHEN NOT $19::BOOLEAN THEN circuit.probe_until END,
            open_until = CASE
                WHEN $14::INTERVAL IS NOT NULL THEN greatest(circuit.open_until, now() + $14::INTERVAL)
                WHEN circuit.failures + (circuit.failed_generation_id IS DISTINCT FROM $13::UUID)::int
                     >= $15::INTEGER OR $19::BOOLEAN THEN greatest(circuit.open_until, now() + $16::INTERVAL)
                ELSE circuit.open_until
            END
    ), recovered AS (
        UPDATE provider_circuits
        SET failures = CASE WHEN $20::BOOLEAN AND ($19::BOOLEAN OR open_until IS NULL) THEN 0 ELSE failures END,
            open_until = CASE WHEN NOT $20::BOOLEAN OR NOT $19::BOOLEAN THEN open_until END,
            probe_until = CASE WHEN NOT $19::BOOLEAN THEN probe_until END
        WHERE $17::BOOLEAN AND NOT $18::BOOLEAN AND provider = $11::VARCHAR AND model = $12::VARCHAR
          AND (failures > 0 OR open_until IS NOT NULL)
    )
    SELECT 1
--; 22
WITH stepped AS
(UPDATE generations SET step=$2::VARCHAR WHERE generations.id = $3::UUID AND generations.fence = $4::INTEGER AND generations.status = $5::VARCHAR AND generations.lease_until IS NOT NULL RETURNING generations.id, generations.project_id),
write_0 AS
(UPDATE projects SET status_sequence=(projects.status_sequence + $1::INTEGER), updated_at=clock_timestamp() WHERE projects.id = (SELECT stepped.project_id
FROM stepped) AND projects.generation_id = (SELECT stepped.id
FROM stepped))
 SELECT stepped.id
FROM stepped
--; 23
UPDATE generation_steps SET state=$1::VARCHAR, result=$2::JSONB, ended_at=now() WHERE generation_steps.generation_id = $3::UUID AND generation_steps.name = $4::VARCHAR AND generation_steps.attempt = $5::INTEGER AND (EXISTS (SELECT *
FROM generations
WHERE generations.id = $6::UUID AND generations.fence = $7::INTEGER AND generations.status = $8::VARCHAR AND generations.lease_until IS NOT NULL)) RETURNING generation_steps.generation_id
--; 24
WITH settled AS
(UPDATE generations SET status=$10::VARCHAR, step=$11::VARCHAR, lease_until=$12::TIMESTAMP WITH TIME ZONE, wake_at=$13::TIMESTAMP WITH TIME ZONE, finished_at=clock_timestamp() WHERE generations.id = $14::UUID AND generations.fence = $15::INTEGER AND generations.status = $16::VARCHAR AND generations.lease_until IS NOT NULL RETURNING generations.id, generations.user_id, generations.project_id),
write_0 AS
(INSERT INTO assets (id, storage, key, content_type, bytes, sha256, width, height, duration_seconds, user_id, project_id, generation_id) SELECT $1::UUID AS anon_1, $2::VARCHAR AS anon_2, $3::VARCHAR AS anon_3, $4::VARCHAR AS anon_4, $5::BIGINT AS anon_5, $6::VARCHAR AS anon_6, $7::INTEGER AS anon_7, $8::INTEGER AS anon_8, $9::FLOAT AS anon_9, settled.user_id AS user_id, settled.project_id AS project_id, settled.id AS id
FROM settled),
write_1 AS
(UPDATE projects SET status=$17::VARCHAR, status_sequence=(projects.status_sequence + $18::INTEGER), image_asset_id=$19::UUID, updated_at=clock_timestamp() WHERE projects.id = (SELECT settled.project_id
FROM settled)),
write_2 AS
(DELETE FROM outbox WHERE outbox.kind = $20::VARCHAR AND outbox.ref = (SELECT settled.id
FROM settled))
 SELECT settled.id
FROM settled
--; 25
SELECT projects.id, projects.kind, projects.status, projects.status_sequence, projects.is_published, projects.prompt, projects.prompt_id, projects.aspect_ratio, projects.metadata, projects.created_at, projects.updated_at, (SELECT jsonb_agg(jsonb_build_object($1::VARCHAR, assets.id, $2::VARCHAR, assets.storage, $3::VARCHAR, assets.key, $4::VARCHAR, assets.content_type, $5::VARCHAR, assets.bytes, $6::VARCHAR, assets.sha256, $7::VARCHAR, assets.width, $8::VARCHAR, assets.height, $9::VARCHAR, assets.duration_seconds) ORDER BY project_images.position) AS jsonb_agg_1
FROM assets, project_images
WHERE project_images.project_id = projects.id AND project_images.asset_id = assets.id) AS images, image.storage AS image_storage, image.key AS image_key, video.storage AS video_storage, video.key AS video_key, generations.id AS generation_id, generations.project_id AS generation_project_id, generations.operation AS generation_operation, generations.status AS generation_status, generations.step AS generation_step, generations.attempt AS generation_attempt, generations.provider AS generation_provider, generations.model AS generation_model, generations.credits AS generation_credits, generations.error_code AS generation_error_code, generations.error_message AS generation_error_message, generations.created_at AS generation_created_at, generations.started_at AS generation_started_at, generations.finished_at AS generation_finished_at, charges.charged AS generation_charged, charges.refunded AS generation_refunded, (SELECT jsonb_agg(jsonb_build_object($10::VARCHAR, assets.id, $11::VARCHAR, assets.storage, $12::VARCHAR, assets.key, $13::VARCHAR, assets.content_type, $14::VARCHAR, assets.bytes, $15::VARCHAR, assets.sha256, $16::VARCHAR, assets.width, $17::VARCHAR, assets.height, $18::VARCHAR, assets.duration_seconds) ORDER BY assets.id) AS jsonb_agg_2
FROM assets
WHERE assets.generation_id = generations.id) AS generation_outputs
FROM projects JOIN generations ON generations.id = projects.generation_id JOIN LATERAL (SELECT coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $19::VARCHAR), $20::INTEGER) AS charged, coalesce(sum(ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $21::VARCHAR), $22::INTEGER) AS refunded
FROM ledger_entries
WHERE ledger_entries.generation_id = generations.id) AS charges ON true LEFT OUTER JOIN assets AS image ON image.id = projects.image_asset_id LEFT OUTER JOIN assets AS video ON video.id = projects.video_asset_id
WHERE projects.id = $23::UUID AND projects.user_id = $24::UUID AND projects.deleted_at IS NULL
--; 26
UPDATE projects SET status_sequence=(projects.status_sequence + CASE WHEN NOT projects.is_published THEN $1::INTEGER ELSE $2::INTEGER END), is_published=$3::BOOLEAN, updated_at=now(), published_at=coalesce(projects.published_at, now()) WHERE projects.id = $4::UUID AND projects.user_id = $5::UUID AND projects.deleted_at IS NULL AND (projects.image_asset_id IS NOT NULL OR projects.video_asset_id IS NOT NULL) RETURNING projects.id
--; 27
SELECT generations.operation, generations.input, projects.prompt, projects.aspect_ratio, projects.image_asset_id
FROM projects JOIN generations ON generations.id = projects.generation_id
WHERE projects.user_id = $1::UUID AND projects.deleted_at IS NULL AND projects.id = $2::UUID
--; 28
WITH project AS
(
    UPDATE projects SET generation_id = $4::UUID, status = 'pending', status_sequence = status_sequence + 1,
                        updated_at = clock_timestamp()
    WHERE id = $11::UUID AND user_id = $1::UUID AND deleted_at IS NULL AND status NOT IN ('pending', 'processing')
      AND (SELECT count(*) FROM generations WHERE user_id = $1::UUID AND status IN ('pending', 'processing'))
          < $12::BIGINT
    RETURNING id),
generation AS
(INSERT INTO generations (id, project_id, turn, expires_at, user_id, account_id, operation, input, credits) SELECT $4::UUID AS anon_4, project.id AS id, greatest(turn_served_now(), (SELECT max(generations.turn) AS max_1
FROM generations
WHERE generations.user_id = $1::UUID AND generations.status IN ('pending', 'processing')) + $5::BIGINT) AS greatest_1, clock_timestamp() + $6::INTERVAL AS anon_5, $1::UUID AS anon_6, $7::UUID AS anon_7, $8::VARCHAR AS anon_8, $9::JSONB AS anon_9, $10::BIGINT AS anon_10
FROM project RETURNING generations.id, generations.account_id, generations.credits),
write_0 AS
(INSERT INTO idempotency_keys (user_id, key, fingerprint, ref) SELECT $1::UUID AS anon_1, $2::VARCHAR AS anon_2, $3::BYTEA AS anon_3, generation.id AS id
FROM generation),
write_1 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reference) SELECT $13::UUID AS anon_11, generation.account_id AS account_id, $14::VARCHAR AS anon_12, -generation.credits AS anon_13, generation.id AS id, $15::VARCHAR || CAST(generation.id AS TEXT) AS anon_14
FROM generation
WHERE generation.credits > $16::BIGINT),
write_2 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $17::VARCHAR AS anon_15, generation.id AS id, clock_timestamp() + $18::INTERVAL AS anon_16
FROM generation ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $19::INTEGER)
 SELECT generation.id
FROM generation
--; 29
UPDATE generation_steps SET state=$1::VARCHAR, ticket=$2::VARCHAR WHERE generation_steps.generation_id = $3::UUID AND generation_steps.name = $4::VARCHAR AND generation_steps.attempt = $5::INTEGER AND (EXISTS (SELECT *
FROM generations
WHERE generations.id = $6::UUID AND generations.fence = $7::INTEGER AND generations.status = $8::VARCHAR AND generations.lease_until IS NOT NULL)) RETURNING generation_steps.generation_id
--; 30
WITH waiting AS
(UPDATE generations SET turn=(SELECT max(others.turn) + $2::BIGINT AS anon_2
FROM generations AS others
WHERE others.user_id = generations.user_id AND others.status IN ('pending', 'processing')), lease_until=$3::TIMESTAMP WITH TIME ZONE, wake_at=(now() + $4::INTERVAL) WHERE generations.id = $5::UUID AND generations.fence = $6::INTEGER AND generations.status = $7::VARCHAR AND generations.lease_until IS NOT NULL RETURNING generations.id, generations.project_id, generations.wake_at),
write_0 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $1::VARCHAR AS anon_1, waiting.id AS id, waiting.wake_at AS wake_at
FROM waiting ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $8::INTEGER)
 SELECT waiting.id
FROM waiting
--; 31
UPDATE generations SET wake_at = now() WHERE wake_at > now() AND user_id = $1::UUID
--; 32
WITH settled AS
(UPDATE generations SET status=$10::VARCHAR, step=$11::VARCHAR, lease_until=$12::TIMESTAMP WITH TIME ZONE, wake_at=$13::TIMESTAMP WITH TIME ZONE, finished_at=clock_timestamp() WHERE generations.id = $14::UUID AND generations.fence = $15::INTEGER AND generations.status = $16::VARCHAR AND generations.lease_until IS NOT NULL RETURNING generations.id, generations.user_id, generations.project_id),
write_0 AS
(INSERT INTO assets (id, storage, key, content_type, bytes, sha256, width, height, duration_seconds, user_id, project_id, generation_id) SELECT $1::UUID AS anon_1, $2::VARCHAR AS anon_2, $3::VARCHAR AS anon_3, $4::VARCHAR AS anon_4, $5::BIGINT AS anon_5, $6::VARCHAR AS anon_6, $7::INTEGER AS anon_7, $8::INTEGER AS anon_8, $9::FLOAT AS anon_9, settled.user_id AS user_id, settled.project_id AS project_id, settled.id AS id
FROM settled),
write_1 AS
(UPDATE projects SET status=$17::VARCHAR, status_sequence=(projects.status_sequence + $18::INTEGER), video_asset_id=$19::UUID, updated_at=clock_timestamp() WHERE projects.id = (SELECT settled.project_id
FROM settled)),
write_2 AS
(DELETE FROM outbox WHERE outbox.kind = $20::VARCHAR AND outbox.ref = (SELECT settled.id
FROM settled))
 SELECT settled.id
FROM settled
--; 33
WITH project AS
(
    UPDATE projects SET generation_id = $4::UUID, status = 'pending', status_sequence = status_sequence + 1,
                        updated_at = clock_timestamp()
    WHERE id = $12::UUID AND user_id = $5::UUID AND deleted_at IS NULL AND status NOT IN ('pending', 'processing')
      AND (SELECT count(*) FROM generations WHERE user_id = $5::UUID AND status IN ('pending', 'processing'))
          < $13::BIGINT
    RETURNING id),
generation AS
(INSERT INTO generations (id, project_id, turn, expires_at, user_id, account_id, operation, input, credits) SELECT $4::UUID AS anon_5, project.id AS id, greatest(turn_served_now(), (SELECT max(generations.turn) AS max_1
FROM generations
WHERE generations.user_id = $5::UUID AND generations.status IN ('pending', 'processing')) + $6::BIGINT) AS greatest_1, clock_timestamp() + $7::INTERVAL AS anon_6, $5::UUID AS anon_7, $8::UUID AS anon_8, $9::VARCHAR AS anon_9, $10::JSONB AS anon_10, $11::BIGINT AS anon_11
FROM project RETURNING generations.id, generations.account_id, generations.credits),
write_0 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reference) SELECT $1::UUID AS anon_1, generation.account_id AS account_id, $2::VARCHAR AS anon_2, -generation.credits AS anon_3, generation.id AS id, $3::VARCHAR || CAST(generation.id AS TEXT) AS anon_4
FROM generation
WHERE generation.credits > $14::BIGINT),
write_1 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $15::VARCHAR AS anon_12, generation.id AS id, clock_timestamp() + $16::INTERVAL AS anon_13
FROM generation ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $17::INTEGER)
 SELECT generation.id
FROM generation
--; 34
UPDATE projects SET status_sequence=(projects.status_sequence + CASE WHEN projects.is_published THEN $1::INTEGER ELSE $2::INTEGER END), is_published=$3::BOOLEAN, updated_at=now(), published_at=$4::TIMESTAMP WITH TIME ZONE WHERE projects.id = $5::UUID AND projects.user_id = $6::UUID AND projects.deleted_at IS NULL RETURNING projects.id
--; 35
WITH project AS
(INSERT INTO projects (id, generation_id, status, user_id, kind, prompt, prompt_id, aspect_ratio, metadata) SELECT $12::UUID AS anon_12, $4::UUID AS anon_13, $13::VARCHAR AS anon_14, $5::UUID AS anon_15, $14::VARCHAR AS anon_16, $15::VARCHAR AS anon_17, $16::UUID AS anon_18, $17::VARCHAR AS anon_19, $18::JSONB AS anon_20
WHERE (SELECT count(*) AS count_1
FROM generations
WHERE generations.user_id = $5::UUID AND generations.status IN ('pending', 'processing')) < $19::BIGINT RETURNING projects.id),
generation AS
(INSERT INTO generations (id, project_id, turn, expires_at, user_id, account_id, operation, input, credits) SELECT $4::UUID AS anon_5, project.id AS id, greatest(turn_served_now(), (SELECT max(generations.turn) AS max_1
FROM generations
WHERE generations.user_id = $5::UUID AND generations.status IN ('pending', 'processing')) + $6::BIGINT) AS greatest_1, clock_timestamp() + $7::INTERVAL AS anon_6, $5::UUID AS anon_7, $8::UUID AS anon_8, $9::VARCHAR AS anon_9, $10::JSONB AS anon_10, $11::BIGINT AS anon_11
FROM project RETURNING generations.id, generations.account_id, generations.credits),
write_0 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reference) SELECT $1::UUID AS anon_1, generation.account_id AS account_id, $2::VARCHAR AS anon_2, -generation.credits AS anon_3, generation.id AS id, $3::VARCHAR || CAST(generation.id AS TEXT) AS anon_4
FROM generation
WHERE generation.credits > $20::BIGINT),
write_1 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $21::VARCHAR AS anon_21, generation.id AS id, clock_timestamp() + $22::INTERVAL AS anon_22
FROM generation ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $23::INTEGER)
 SELECT generation.id
FROM generation
--; 36
UPDATE generation_steps SET state=$1::VARCHAR, error_code=$2::VARCHAR, is_final=$3::BOOLEAN, operator_message=$4::VARCHAR, ended_at=now() WHERE generation_steps.generation_id = $5::UUID AND generation_steps.name = $6::VARCHAR AND generation_steps.attempt = $7::INTEGER AND (EXISTS (SELECT *
FROM generations
WHERE generations.id = $8::UUID AND generations.fence = $9::INTEGER AND generations.status = $10::VARCHAR AND generations.lease_until IS NOT NULL)) RETURNING generation_steps.generation_id
--; 37
WITH settled AS
(UPDATE generations SET status=$5::VARCHAR, lease_until=$6::TIMESTAMP WITH TIME ZONE, wake_at=$7::TIMESTAMP WITH TIME ZONE, error_code=$8::VARCHAR, error_message=$9::VARCHAR, finished_at=clock_timestamp() WHERE generations.id = $10::UUID AND generations.fence = $11::INTEGER AND generations.status = $12::VARCHAR AND generations.lease_until IS NOT NULL RETURNING generations.id, generations.user_id, generations.project_id),
write_0 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reverses_entry_id, reference, reason) SELECT $1::UUID AS anon_1, debits.account_id AS account_id, $2::VARCHAR AS anon_2, -debits.amount AS anon_3, settled.id AS id, debits.id AS id_1, $3::VARCHAR || CAST(settled.id AS TEXT) AS anon_4, $4::VARCHAR AS anon_5
FROM settled JOIN ledger_entries AS debits ON debits.generation_id = settled.id AND debits.kind = $13::VARCHAR),
write_1 AS
(UPDATE projects SET status=CASE WHEN (projects.image_asset_id IS NOT NULL OR projects.video_asset_id IS NOT NULL) THEN $14::VARCHAR ELSE $15::VARCHAR END, status_sequence=(projects.status_sequence + $16::INTEGER), updated_at=clock_timestamp() WHERE projects.id = (SELECT settled.project_id
FROM settled)),
write_2 AS
(DELETE FROM outbox WHERE outbox.kind = $17::VARCHAR AND outbox.ref = (SELECT settled.id
FROM settled)),
write_3 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $18::VARCHAR AS anon_6, anon_7.id AS id, clock_timestamp() AS clock_timestamp_1
FROM (SELECT settled.id AS id
FROM settled
WHERE EXISTS (SELECT *
FROM generation_steps
WHERE generation_steps.generation_id = settled.id AND (generation_steps.state IN ($21::VARCHAR, $22::VARCHAR) AND generation_steps.ticket IS NOT NULL OR generation_steps.state = $19::VARCHAR))) AS anon_7 ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $20::INTEGER)
 SELECT settled.id
FROM settled
--; 38
WITH waiting AS
(UPDATE generations SET attempt=(generations.attempt + $2::INTEGER), retries=(generations.retries + $3::INTEGER), turn=(SELECT max(others.turn) + $4::BIGINT AS anon_2
FROM generations AS others
WHERE others.user_id = generations.user_id AND others.status IN ('pending', 'processing')), lease_until=$5::TIMESTAMP WITH TIME ZONE, wake_at=(now() + $6::INTERVAL) WHERE generations.id = $7::UUID AND generations.fence = $8::INTEGER AND generations.status = $9::VARCHAR AND generations.lease_until IS NOT NULL RETURNING generations.id, generations.project_id, generations.wake_at),
write_0 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $1::VARCHAR AS anon_1, waiting.id AS id, waiting.wake_at AS wake_at
FROM waiting ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $10::INTEGER),
write_1 AS
(UPDATE projects SET status_sequence=(projects.status_sequence + $11::INTEGER), updated_at=clock_timestamp() WHERE projects.id = (SELECT waiting.project_id
FROM waiting) AND projects.generation_id = (SELECT waiting.id
FROM waiting))
 SELECT waiting.id
FROM waiting
--; 39
WITH settled AS
(UPDATE generations SET status=$5::VARCHAR, lease_until=$6::TIMESTAMP WITH TIME ZONE, wake_at=$7::TIMESTAMP WITH TIME ZONE, error_code=$8::VARCHAR, error_message=$9::VARCHAR, finished_at=clock_timestamp() WHERE generations.status IN ($19::VARCHAR, $20::VARCHAR) AND generations.id = $10::UUID RETURNING generations.id, generations.user_id, generations.project_id),
write_0 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reverses_entry_id, reference, reason) SELECT $1::UUID AS anon_1, debits.account_id AS account_id, $2::VARCHAR AS anon_2, -debits.amount AS anon_3, settled.id AS id, debits.id AS id_1, $3::VARCHAR || CAST(settled.id AS TEXT) AS anon_4, $4::VARCHAR AS anon_5
FROM settled JOIN ledger_entries AS debits ON debits.generation_id = settled.id AND debits.kind = $11::VARCHAR),
write_1 AS
(UPDATE projects SET status=CASE WHEN (projects.image_asset_id IS NOT NULL OR projects.video_asset_id IS NOT NULL) THEN $12::VARCHAR ELSE $13::VARCHAR END, status_sequence=(projects.status_sequence + $14::INTEGER), updated_at=clock_timestamp() WHERE projects.id = (SELECT settled.project_id
FROM settled)),
write_2 AS
(DELETE FROM outbox WHERE outbox.kind = $15::VARCHAR AND outbox.ref = (SELECT settled.id
FROM settled)),
write_3 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $16::VARCHAR AS anon_6, anon_7.id AS id, clock_timestamp() AS clock_timestamp_1
FROM (SELECT settled.id AS id
FROM settled
WHERE EXISTS (SELECT *
FROM generation_steps
WHERE generation_steps.generation_id = settled.id AND (generation_steps.state IN ($21::VARCHAR, $22::VARCHAR) AND generation_steps.ticket IS NOT NULL OR generation_steps.state = $17::VARCHAR))) AS anon_7 ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $18::INTEGER)
 SELECT settled.id
FROM settled
--; 40
SELECT outbox.rings
FROM outbox
WHERE outbox.kind = $1::VARCHAR AND outbox.ref = $2::UUID
--; 41
SELECT generation_steps.name, generation_steps.attempt, generation_steps.provider, generation_steps.ticket, generations.operation
FROM generation_steps JOIN generations ON generations.id = generation_steps.generation_id
WHERE generation_steps.generation_id = $1::UUID AND generation_steps.ticket IS NOT NULL AND generation_steps.state IN ($2::VARCHAR, $3::VARCHAR) AND generations.finished_at IS NOT NULL
--; 42
UPDATE generation_steps SET state=$1::VARCHAR, operator_message=$2::VARCHAR, ended_at=now() WHERE generation_steps.generation_id = $3::UUID AND generation_steps.name = $4::VARCHAR AND generation_steps.attempt = $5::INTEGER AND generation_steps.state IN ($6::VARCHAR, $7::VARCHAR)
--; 43
UPDATE generation_steps SET state=$1::VARCHAR, is_final=$2::BOOLEAN, operator_message=$3::VARCHAR, ended_at=now() WHERE generation_steps.generation_id = $4::UUID AND generation_steps.state = $5::VARCHAR AND (EXISTS (SELECT *
FROM generations
WHERE generations.id = $6::UUID AND generations.finished_at < now() - $7::INTERVAL))
--; 44
DELETE FROM outbox WHERE outbox.kind = $1::VARCHAR AND outbox.ref = $2::UUID
--; 45
WITH kept AS
(UPDATE generation_steps SET state=$2::VARCHAR, result=$3::JSONB, ended_at=now() WHERE generation_steps.generation_id = $4::UUID AND generation_steps.name = $5::VARCHAR AND generation_steps.attempt = $6::INTEGER AND generation_steps.state != $7::VARCHAR RETURNING generation_steps.generation_id),
write_0 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $1::VARCHAR AS anon_1, anon_2.id AS id, clock_timestamp() AS clock_timestamp_1
FROM (SELECT projects.id AS id
FROM projects JOIN generations ON projects.id = generations.project_id JOIN kept ON kept.generation_id = generations.id
WHERE projects.deleted_at IS NOT NULL) AS anon_2 ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $8::INTEGER)
 SELECT kept.generation_id
FROM kept
--; 46
UPDATE generations SET expires_at = now() WHERE id = $1::UUID
--; 47
WITH lost AS
(SELECT generations.id AS id, generations.wake_at AS wake_at
FROM generations
WHERE generations.status IN ('pending', 'processing') AND (generations.lease_until IS NULL OR generations.lease_until < now()) AND NOT (EXISTS (SELECT *
FROM outbox
WHERE outbox.kind = $2::VARCHAR AND outbox.ref = generations.id))
 LIMIT $3::INTEGER)
 INSERT INTO outbox (kind, ref, due_at) SELECT $1::VARCHAR AS anon_1, lost.id, coalesce(lost.wake_at, now()) AS coalesce_1
FROM lost ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $4::INTEGER
--; 48
SELECT generations.id
FROM generations
WHERE generations.status IN ('pending', 'processing') AND generations.expires_at <= now() ORDER BY generations.expires_at
 LIMIT $1::INTEGER
--; 49
WITH settled AS
(UPDATE generations SET status=$5::VARCHAR, lease_until=$6::TIMESTAMP WITH TIME ZONE, wake_at=$7::TIMESTAMP WITH TIME ZONE, error_code=$8::VARCHAR, error_message=$9::VARCHAR, finished_at=clock_timestamp() WHERE generations.status IN ($19::VARCHAR, $20::VARCHAR) AND generations.id = $10::UUID AND generations.expires_at <= now() RETURNING generations.id, generations.user_id, generations.project_id),
write_0 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reverses_entry_id, reference, reason) SELECT $1::UUID AS anon_1, debits.account_id AS account_id, $2::VARCHAR AS anon_2, -debits.amount AS anon_3, settled.id AS id, debits.id AS id_1, $3::VARCHAR || CAST(settled.id AS TEXT) AS anon_4, $4::VARCHAR AS anon_5
FROM settled JOIN ledger_entries AS debits ON debits.generation_id = settled.id AND debits.kind = $11::VARCHAR),
write_1 AS
(UPDATE projects SET status=CASE WHEN (projects.image_asset_id IS NOT NULL OR projects.video_asset_id IS NOT NULL) THEN $12::VARCHAR ELSE $13::VARCHAR END, status_sequence=(projects.status_sequence + $14::INTEGER), updated_at=clock_timestamp() WHERE projects.id = (SELECT settled.project_id
FROM settled)),
write_2 AS
(DELETE FROM outbox WHERE outbox.kind = $15::VARCHAR AND outbox.ref = (SELECT settled.id
FROM settled)),
write_3 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $16::VARCHAR AS anon_6, anon_7.id AS id, clock_timestamp() AS clock_timestamp_1
FROM (SELECT settled.id AS id
FROM settled
WHERE EXISTS (SELECT *
FROM generation_steps
WHERE generation_steps.generation_id = settled.id AND (generation_steps.state IN ($21::VARCHAR, $22::VARCHAR) AND generation_steps.ticket IS NOT NULL OR generation_steps.state = $17::VARCHAR))) AS anon_7 ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $18::INTEGER)
 SELECT settled.id
FROM settled
--; 50
WITH lost AS
(SELECT DISTINCT generations.id AS id
FROM generations JOIN generation_steps ON generation_steps.generation_id = generations.id
WHERE (generation_steps.state IN ('intent', 'ticket') OR generation_steps.state = 'in_doubt' AND generation_steps.ticket IS NOT NULL) AND (generations.status NOT IN ('pending', 'processing')) AND NOT (EXISTS (SELECT *
FROM outbox
WHERE outbox.kind = $2::VARCHAR AND outbox.ref = generations.id)) AND (generation_steps.ticket IS NOT NULL OR generations.finished_at < now() - $3::INTERVAL)
 LIMIT $4::INTEGER)
 INSERT INTO outbox (kind, ref, due_at) SELECT $1::VARCHAR AS anon_1, lost.id, clock_timestamp() AS clock_timestamp_1
FROM lost ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $5::INTEGER
--; 51
DELETE FROM outbox WHERE outbox.kind = $1::VARCHAR AND (EXISTS (SELECT *
FROM generations
WHERE generations.id = outbox.ref AND generations.finished_at IS NOT NULL))
--; 52
WITH deleted AS
(UPDATE projects SET is_published=$2::BOOLEAN, prompt=$3::VARCHAR, metadata=$4::JSONB, published_at=$5::TIMESTAMP WITH TIME ZONE, deleted_at=now() WHERE projects.id = $6::UUID AND projects.user_id = $7::UUID AND (projects.status NOT IN ($9::VARCHAR, $10::VARCHAR)) AND projects.deleted_at IS NULL RETURNING projects.id),
write_0 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $1::VARCHAR AS anon_1, deleted.id AS id, clock_timestamp() AS clock_timestamp_1
FROM deleted ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $8::INTEGER)
 SELECT deleted.id
FROM deleted
--; 53
SELECT projects.user_id
FROM projects
WHERE projects.id = $1::UUID AND projects.deleted_at IS NOT NULL
--; 54
SELECT assets.id
FROM assets JOIN projects ON projects.id = assets.project_id
WHERE projects.id = $1::UUID AND projects.deleted_at IS NOT NULL FOR UPDATE OF assets
--; 55
SELECT project_images.asset_id, project_images.project_id
FROM project_images JOIN projects ON projects.id = project_images.project_id
WHERE project_images.asset_id IN ($2::UUID) AND projects.id != $1::UUID AND projects.deleted_at IS NULL FOR SHARE OF projects
--; 56
DELETE FROM project_images WHERE project_images.project_id = $1::UUID OR project_images.asset_id IN ($2::UUID)
--; 57
INSERT INTO erased_files (asset_id, project_id, storage, key) SELECT assets.id, $1::UUID AS anon_1, assets.storage, assets.key
FROM assets
WHERE assets.id IN ($2::UUID)
--; 58
DELETE FROM assets WHERE assets.id IN ($1::UUID)
--; 59
INSERT INTO erased_files (asset_id, project_id, storage, key)
    SELECT gen_random_uuid(), g.project_id, storage, format(CAST($1::VARCHAR AS text), g.id, s.name, s.attempt, ending)
    FROM generations g JOIN generation_steps s ON s.generation_id = g.id AND s.state <> 'failed'
              AND (s.state <> 'done' OR g.status <> 'succeeded'),
         unnest(CAST($2 AS text[])) storage, unnest(CAST($3 AS text[])) ending
    WHERE g.project_id = $4::UUID
--; 60
UPDATE generations SET input=(generations.input || $1::JSONB) WHERE generations.project_id = $2::UUID
--; 61
UPDATE idempotency_keys SET answer=$1::JSONB WHERE idempotency_keys.user_id = $2::UUID AND idempotency_keys.ref IN (SELECT generations.id
FROM generations
WHERE generations.project_id = $3::UUID UNION ALL SELECT $4::UUID AS anon_1)
--; 62
SELECT erased_files.asset_id, erased_files.project_id, erased_files.storage, erased_files.key
FROM erased_files
WHERE erased_files.project_id = $1::UUID
--; 63
DELETE FROM erased_files WHERE erased_files.asset_id = $1::UUID
--; 64
INSERT INTO idempotency_keys (user_id, key, fingerprint, ref) SELECT $1::UUID AS anon_1, $2::VARCHAR AS anon_2, $3::BYTEA AS anon_3, anon_4.id
FROM (SELECT $4::UUID AS id) AS anon_4
--; 65
SELECT api_keys.id, api_keys.name, api_keys.last_four, api_keys.created_at
FROM api_keys
WHERE api_keys.user_id = $1::UUID AND api_keys.revoked_at IS NULL ORDER BY api_keys.id DESC
--; 66
UPDATE api_keys SET revoked_at=now() WHERE api_keys.id = $1::UUID AND api_keys.user_id = $2::UUID AND api_keys.revoked_at IS NULL RETURNING api_keys.secret_hash
--; 67
WITH kept AS
(INSERT INTO assets (id, user_id, storage, key, content_type, bytes, sha256, width, height, duration_seconds) VALUES ($4::UUID, $5::UUID, $6::VARCHAR, $7::VARCHAR, $8::VARCHAR, $9::BIGINT, $10::VARCHAR, $11::INTEGER, $12::INTEGER, $13::FLOAT) RETURNING assets.id),
write_0 AS
(INSERT INTO idempotency_keys (user_id, key, fingerprint, ref) SELECT $1::UUID AS anon_1, $2::VARCHAR AS anon_2, $3::BYTEA AS anon_3, kept.id AS id
FROM kept)
 SELECT kept.id
FROM kept
--; 68
SELECT accounts.balance, coalesce(sum(ledger_entries.amount) FILTER (WHERE (ledger_entries.kind NOT IN ($4::VARCHAR, $5::VARCHAR))), $1::INTEGER) AS granted, coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind IN ($6::VARCHAR, $7::VARCHAR)), $2::INTEGER) AS spent
FROM accounts LEFT OUTER JOIN ledger_entries ON ledger_entries.account_id = accounts.id
WHERE accounts.id = $3::UUID GROUP BY accounts.id
--; 69
SELECT coalesce(sum(charges.charged - charges.refunded), $1::INTEGER) AS coalesce_1
FROM generations JOIN LATERAL (SELECT coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $2::VARCHAR), $3::INTEGER) AS charged, coalesce(sum(ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $4::VARCHAR), $5::INTEGER) AS refunded
FROM ledger_entries
WHERE ledger_entries.generation_id = generations.id) AS charges ON true
WHERE generations.account_id = $6::UUID AND generations.status IN ('pending', 'processing')
--; 70
SELECT ledger_entries.version, ledger_entries.id, ledger_entries.kind, ledger_entries.amount, ledger_entries.balance_after, ledger_entries.generation_id, ledger_entries.reverses_entry_id, ledger_entries.reason, ledger_entries.created_at
FROM ledger_entries
WHERE ledger_entries.account_id = $1::UUID ORDER BY ledger_entries.version DESC
 LIMIT $2::INTEGER
--; 71
SELECT projects.id, projects.kind, projects.status, projects.status_sequence, projects.is_published, projects.prompt, projects.prompt_id, projects.aspect_ratio, projects.metadata, projects.created_at, projects.updated_at, (SELECT jsonb_agg(jsonb_build_object($1::VARCHAR, assets.id, $2::VARCHAR, assets.storage, $3::VARCHAR, assets.key, $4::VARCHAR, assets.content_type, $5::VARCHAR, assets.bytes, $6::VARCHAR, assets.sha256, $7::VARCHAR, assets.width, $8::VARCHAR, assets.height, $9::VARCHAR, assets.duration_seconds) ORDER BY project_images.position) AS jsonb_agg_1
FROM assets, project_images
WHERE project_images.project_id = projects.id AND project_images.asset_id = assets.id) AS images, image.storage AS image_storage, image.key AS image_key, video.storage AS video_storage, video.key AS video_key, generations.id AS generation_id, generations.project_id AS generation_project_id, generations.operation AS generation_operation, generations.status AS generation_status, generations.step AS generation_step, generations.attempt AS generation_attempt, generations.provider AS generation_provider, generations.model AS generation_model, generations.credits AS generation_credits, generations.error_code AS generation_error_code, generations.error_message AS generation_error_message, generations.created_at AS generation_created_at, generations.started_at AS generation_started_at, generations.finished_at AS generation_finished_at, charges.charged AS generation_charged, charges.refunded AS generation_refunded, (SELECT jsonb_agg(jsonb_build_object($10::VARCHAR, assets.id, $11::VARCHAR, assets.storage, $12::VARCHAR, assets.key, $13::VARCHAR, assets.content_type, $14::VARCHAR, assets.bytes, $15::VARCHAR, assets.sha256, $16::VARCHAR, assets.width, $17::VARCHAR, assets.height, $18::VARCHAR, assets.duration_seconds) ORDER BY assets.id) AS jsonb_agg_2
FROM assets
WHERE assets.generation_id = generations.id) AS generation_outputs
FROM projects JOIN generations ON generations.id = projects.generation_id JOIN LATERAL (SELECT coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $19::VARCHAR), $20::INTEGER) AS charged, coalesce(sum(ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $21::VARCHAR), $22::INTEGER) AS refunded
FROM ledger_entries
WHERE ledger_entries.generation_id = generations.id) AS charges ON true LEFT OUTER JOIN assets AS image ON image.id = projects.image_asset_id LEFT OUTER JOIN assets AS video ON video.id = projects.video_asset_id
WHERE projects.user_id = $23::UUID AND projects.deleted_at IS NULL ORDER BY projects.id DESC
 LIMIT $24::INTEGER
--; 72
SELECT projects.id, projects.kind, projects.status, projects.status_sequence, projects.is_published, projects.prompt, projects.prompt_id, projects.aspect_ratio, projects.metadata, projects.created_at, projects.updated_at, (SELECT jsonb_agg(jsonb_build_object($1::VARCHAR, assets.id, $2::VARCHAR, assets.storage, $3::VARCHAR, assets.key, $4::VARCHAR, assets.content_type, $5::VARCHAR, assets.bytes, $6::VARCHAR, assets.sha256, $7::VARCHAR, assets.width, $8::VARCHAR, assets.height, $9::VARCHAR, assets.duration_seconds) ORDER BY project_images.position) AS jsonb_agg_1
FROM assets, project_images
WHERE project_images.project_id = projects.id AND project_images.asset_id = assets.id) AS images, image.storage AS image_storage, image.key AS image_key, video.storage AS video_storage, video.key AS video_key, generations.id AS generation_id, generations.project_id AS generation_project_id, generations.operation AS generation_operation, generations.status AS generation_status, generations.step AS generation_step, generations.attempt AS generation_attempt, generations.provider AS generation_provider, generations.model AS generation_model, generations.credits AS generation_credits, generations.error_code AS generation_error_code, generations.error_message AS generation_error_message, generations.created_at AS generation_created_at, generations.started_at AS generation_started_at, generations.finished_at AS generation_finished_at, charges.charged AS generation_charged, charges.refunded AS generation_refunded, (SELECT jsonb_agg(jsonb_build_object($10::VARCHAR, assets.id, $11::VARCHAR, assets.storage, $12::VARCHAR, assets.key, $13::VARCHAR, assets.content_type, $14::VARCHAR, assets.bytes, $15::VARCHAR, assets.sha256, $16::VARCHAR, assets.width, $17::VARCHAR, assets.height, $18::VARCHAR, assets.duration_seconds) ORDER BY assets.id) AS jsonb_agg_2
FROM assets
WHERE assets.generation_id = generations.id) AS generation_outputs
FROM projects JOIN generations ON generations.id = projects.generation_id JOIN LATERAL (SELECT coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $19::VARCHAR), $20::INTEGER) AS charged, coalesce(sum(ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $21::VARCHAR), $22::INTEGER) AS refunded
FROM ledger_entries
WHERE ledger_entries.generation_id = generations.id) AS charges ON true LEFT OUTER JOIN assets AS image ON image.id = projects.image_asset_id LEFT OUTER JOIN assets AS video ON video.id = projects.video_asset_id
WHERE projects.user_id = $23::UUID AND projects.deleted_at IS NULL AND projects.status = $24::VARCHAR AND NOT projects.is_published ORDER BY projects.id DESC
 LIMIT $25::INTEGER
--; 73
SELECT generations.id AS generation_id, generations.project_id AS generation_project_id, generations.operation AS generation_operation, generations.status AS generation_status, generations.step AS generation_step, generations.attempt AS generation_attempt, generations.provider AS generation_provider, generations.model AS generation_model, generations.credits AS generation_credits, generations.error_code AS generation_error_code, generations.error_message AS generation_error_message, generations.created_at AS generation_created_at, generations.started_at AS generation_started_at, generations.finished_at AS generation_finished_at, charges.charged AS generation_charged, charges.refunded AS generation_refunded, (SELECT jsonb_agg(jsonb_build_object($1::VARCHAR, assets.id, $2::VARCHAR, assets.storage, $3::VARCHAR, assets.key, $4::VARCHAR, assets.content_type, $5::VARCHAR, assets.bytes, $6::VARCHAR, assets.sha256, $7::VARCHAR, assets.width, $8::VARCHAR, assets.height, $9::VARCHAR, assets.duration_seconds) ORDER BY assets.id) AS jsonb_agg_1
FROM assets
WHERE assets.generation_id = generations.id) AS generation_outputs
FROM generations JOIN LATERAL (SELECT coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $10::VARCHAR), $11::INTEGER) AS charged, coalesce(sum(ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $12::VARCHAR), $13::INTEGER) AS refunded
FROM ledger_entries
WHERE ledger_entries.generation_id = generations.id) AS charges ON true
WHERE generations.user_id = $14::UUID AND generations.project_id = $15::UUID ORDER BY generations.id DESC
 LIMIT $16::INTEGER
--; 74
SELECT generations.id AS generation_id, generations.project_id AS generation_project_id, generations.operation AS generation_operation, generations.status AS generation_status, generations.step AS generation_step, generations.attempt AS generation_attempt, generations.provider AS generation_provider, generations.model AS generation_model, generations.credits AS generation_credits, generations.error_code AS generation_error_code, generations.error_message AS generation_error_message, generations.created_at AS generation_created_at, generations.started_at AS generation_started_at, generations.finished_at AS generation_finished_at, charges.charged AS generation_charged, charges.refunded AS generation_refunded, (SELECT jsonb_agg(jsonb_build_object($1::VARCHAR, assets.id, $2::VARCHAR, assets.storage, $3::VARCHAR, assets.key, $4::VARCHAR, assets.content_type, $5::VARCHAR, assets.bytes, $6::VARCHAR, assets.sha256, $7::VARCHAR, assets.width, $8::VARCHAR, assets.height, $9::VARCHAR, assets.duration_seconds) ORDER BY assets.id) AS jsonb_agg_1
FROM assets
WHERE assets.generation_id = generations.id) AS generation_outputs
FROM generations JOIN LATERAL (SELECT coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $10::VARCHAR), $11::INTEGER) AS charged, coalesce(sum(ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $12::VARCHAR), $13::INTEGER) AS refunded
FROM ledger_entries
WHERE ledger_entries.generation_id = generations.id) AS charges ON true
WHERE generations.user_id = $14::UUID AND generations.id = $15::UUID
--; 75
SELECT projects.id, projects.kind, projects.prompt, projects.aspect_ratio, projects.published_at, users.display_name, image.storage AS image_storage, image.key AS image_key, video.storage AS video_storage, video.key AS video_key
FROM projects JOIN users ON users.id = projects.user_id LEFT OUTER JOIN assets AS image ON image.id = projects.image_asset_id LEFT OUTER JOIN assets AS video ON video.id = projects.video_asset_id
WHERE projects.is_published AND users.deleted_at IS NULL ORDER BY projects.published_at DESC, projects.id DESC
 LIMIT $1::INTEGER
--; 76
WITH beneficiary AS
(SELECT users.id AS id
FROM users
WHERE users.id = $13::UUID AND users.deleted_at IS NULL),
entry AS
(INSERT INTO ledger_entries (id, kind, amount, reference, reason, account_id) SELECT $8::UUID AS anon_8, $9::VARCHAR AS anon_9, $10::BIGINT AS anon_10, $11::VARCHAR AS anon_11, $12::VARCHAR AS anon_12, accounts.id AS id
FROM beneficiary JOIN accounts ON accounts.user_id = beneficiary.id RETURNING ledger_entries.id, ledger_entries.kind, ledger_entries.amount, ledger_entries.balance_after, ledger_entries.generation_id, ledger_entries.reverses_entry_id, ledger_entries.reason, ledger_entries.created_at),
write_0 AS
(INSERT INTO admin_log (id, admin_id, action, user_id, generation_id, reason, details) SELECT $1::UUID AS anon_1, $2::UUID AS anon_2, $3::VARCHAR AS anon_3, $4::UUID AS anon_4, $5::UUID AS anon_5, $6::VARCHAR AS anon_6, $7::JSONB AS anon_7
FROM entry)
 SELECT entry.id, entry.kind, entry.amount, entry.balance_after, entry.generation_id, entry.reverses_entry_id, entry.reason, entry.created_at
FROM entry
--; 77
SELECT ledger_entries.id, ledger_entries.kind, ledger_entries.amount, ledger_entries.balance_after, ledger_entries.generation_id, ledger_entries.reverses_entry_id, ledger_entries.reason, ledger_entries.created_at
FROM ledger_entries
WHERE ledger_entries.id = $1::UUID
--; 78
SELECT generations.id AS generation_id, generations.project_id AS generation_project_id, generations.operation AS generation_operation, generations.status AS generation_status, generations.step AS generation_step, generations.attempt AS generation_attempt, generations.provider AS generation_provider, generations.model AS generation_model, generations.credits AS generation_credits, generations.error_code AS generation_error_code, generations.error_message AS generation_error_message, generations.created_at AS generation_created_at, generations.started_at AS generation_started_at, generations.finished_at AS generation_finished_at, charges.charged AS generation_charged, charges.refunded AS generation_refunded, (SELECT jsonb_agg(jsonb_build_object($1::VARCHAR, assets.id, $2::VARCHAR, assets.storage, $3::VARCHAR, assets.key, $4::VARCHAR, assets.content_type, $5::VARCHAR, assets.bytes, $6::VARCHAR, assets.sha256, $7::VARCHAR, assets.width, $8::VARCHAR, assets.height, $9::VARCHAR, assets.duration_seconds) ORDER BY assets.id) AS jsonb_agg_1
FROM assets
WHERE assets.generation_id = generations.id) AS generation_outputs, generations.retries, generations.worker, generations.lease_until, generations.wake_at, generations.expires_at, users.id AS owner_id, users.email AS owner_email, users.display_name AS owner_display_name, users.deleted_at AS owner_deleted_at, coalesce((SELECT true AS anon_1
FROM generation_steps
WHERE generation_steps.generation_id = generations.id AND generation_steps.state = $10::VARCHAR AND generation_steps.resolution IS NULL
 LIMIT $11::INTEGER), false) AS in_doubt, generations.input, generations.fence, generations.account_id, projects.status AS project_status, projects.generation_id AS latest_id, projects.deleted_at AS project_deleted_at
FROM generations JOIN LATERAL (SELECT coalesce(sum(-ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $12::VARCHAR), $13::INTEGER) AS charged, coalesce(sum(ledger_entries.amount) FILTER (WHERE ledger_entries.kind = $14::VARCHAR), $15::INTEGER) AS refunded
FROM ledger_entries
WHERE ledger_entries.generation_id = generations.id) AS charges ON true JOIN users ON users.id = generations.user_id JOIN projects ON projects.id = generations.project_id
WHERE generations.id = $16::UUID
--; 79
SELECT generation_steps.name, generation_steps.attempt, generation_steps.state, generation_steps.provider, generation_steps.model, generation_steps.error_code, generation_steps.is_final, generation_steps.operator_message, generation_steps.resolution, generation_steps.created_at, generation_steps.ended_at, generation_steps.ticket IS NOT NULL AS has_ticket
FROM generation_steps
WHERE generation_steps.generation_id = $1::UUID ORDER BY generation_steps.attempt, generation_steps.name
--; 80
WITH project AS
(
    UPDATE projects SET generation_id = $8::UUID, status = 'pending', status_sequence = status_sequence + 1,
                        updated_at = clock_timestamp()
    WHERE id = $9::UUID AND generation_id = $10::UUID
      AND EXISTS (SELECT FROM users WHERE id = $11::UUID AND deleted_at IS NULL) AND user_id = $11::UUID AND deleted_at IS NULL AND status NOT IN ('pending', 'processing')
      AND (SELECT count(*) FROM generations WHERE user_id = $11::UUID AND status IN ('pending', 'processing'))
          < $12::BIGINT
    RETURNING id),
write_0 AS
(INSERT INTO admin_log (id, admin_id, action, user_id, generation_id, reason, details) SELECT $1::UUID AS anon_1, $2::UUID AS anon_2, $3::VARCHAR AS anon_3, $4::UUID AS anon_4, $5::UUID AS anon_5, $6::VARCHAR AS anon_6, $7::JSONB AS anon_7
FROM project),
generation AS
(INSERT INTO generations (id, project_id, turn, expires_at, user_id, account_id, operation, input, credits) SELECT $8::UUID AS anon_12, project.id AS id, greatest(turn_served_now(), (SELECT max(generations.turn) AS max_1
FROM generations
WHERE generations.user_id = $11::UUID AND generations.status IN ('pending', 'processing')) + $16::BIGINT) AS greatest_1, clock_timestamp() + $17::INTERVAL AS anon_13, $11::UUID AS anon_14, $18::UUID AS anon_15, $19::VARCHAR AS anon_16, $20::JSONB AS anon_17, $21::BIGINT AS anon_18
FROM project RETURNING generations.id, generations.account_id, generations.credits),
write_1 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reference) SELECT $13::UUID AS anon_8, generation.account_id AS account_id, $14::VARCHAR AS anon_9, -generation.credits AS anon_10, generation.id AS id, $15::VARCHAR || CAST(generation.id AS TEXT) AS anon_11
FROM generation
WHERE generation.credits > $22::BIGINT),
write_2 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $23::VARCHAR AS anon_19, generation.id AS id, clock_timestamp() + $24::INTERVAL AS anon_20
FROM generation ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $25::INTEGER)
 SELECT generation.id
FROM generation
--; 81
UPDATE generations SET lease_until = now() - interval '1 second' WHERE id = $1::UUID
--; 82
WITH project AS
(INSERT INTO projects (id, generation_id, status, user_id, kind, prompt, prompt_id, aspect_ratio, metadata) SELECT $11::UUID AS anon_11, $4::UUID AS anon_12, $12::VARCHAR AS anon_13, $1::UUID AS anon_14, $13::VARCHAR AS anon_15, $14::VARCHAR AS anon_16, $15::UUID AS anon_17, $16::VARCHAR AS anon_18, $17::JSONB AS anon_19
WHERE (SELECT count(*) AS count_1
FROM generations
WHERE generations.user_id = $1::UUID AND generations.status IN ('pending', 'processing')) < $18::BIGINT RETURNING projects.id),
generation AS
(INSERT INTO generations (id, project_id, turn, expires_at, user_id, account_id, operation, input, credits) SELECT $4::UUID AS anon_4, project.id AS id, greatest(turn_served_now(), (SELECT max(generations.turn) AS max_1
FROM generations
WHERE generations.user_id = $1::UUID AND generations.status IN ('pending', 'processing')) + $5::BIGINT) AS greatest_1, clock_timestamp() + $6::INTERVAL AS anon_5, $1::UUID AS anon_6, $7::UUID AS anon_7, $8::VARCHAR AS anon_8, $9::JSONB AS anon_9, $10::BIGINT AS anon_10
FROM project RETURNING generations.id, generations.account_id, generations.credits),
write_0 AS
(INSERT INTO idempotency_keys (user_id, key, fingerprint, ref) SELECT $1::UUID AS anon_1, $2::VARCHAR AS anon_2, $3::BYTEA AS anon_3, generation.id AS id
FROM generation),
write_1 AS
(INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reference) SELECT $19::UUID AS anon_20, generation.account_id AS account_id, $20::VARCHAR AS anon_21, -generation.credits AS anon_22, generation.id AS id, $21::VARCHAR || CAST(generation.id AS TEXT) AS anon_23
FROM generation
WHERE generation.credits > $22::BIGINT),
write_2 AS
(INSERT INTO outbox (kind, ref, due_at) SELECT $23::VARCHAR AS anon_24, generation.id AS id, clock_timestamp() + $24::INTERVAL AS anon_25
FROM generation ON CONFLICT (kind, ref) DO UPDATE SET due_at = excluded.due_at, rings = $25::INTEGER)
 SELECT generation.id
FROM generation
--; 83
WITH due AS
(SELECT outbox.kind AS kind, outbox.ref AS ref
FROM outbox
WHERE outbox.due_at <= now() ORDER BY outbox.due_at
 LIMIT $11::INTEGER FOR UPDATE SKIP LOCKED)
 UPDATE outbox SET due_at=(now() + make_interval($1::INTEGER, $2::INTEGER, $3::INTEGER, $4::INTEGER, $5::INTEGER, $6::INTEGER, least($7::INTEGER * power($8::INTEGER, outbox.rings), $9::INTEGER))), rings=(outbox.rings + $10::INTEGER) FROM due WHERE outbox.kind = due.kind AND outbox.ref = due.ref RETURNING outbox.kind, outbox.ref, outbox.serial, outbox.rings
--; 84
UPDATE ai_operations SET status = 'abandoned'
    WHERE id IN (
        SELECT id FROM ai_operations WHERE status = 'running' AND created_at < now() - $1::INTERVAL
        ORDER BY created_at LIMIT $2::INTEGER
    )
--; 85
DELETE FROM ai_operations
    WHERE id IN (SELECT id FROM ai_operations WHERE created_at < now() - $1::INTERVAL ORDER BY created_at LIMIT $2::INTEGER)
--; 86
DELETE FROM idempotency_keys WHERE idempotency_keys.created_at < now() - $1::INTERVAL
