"""The gate's SQL. As text, because each is one statement of several parts that reads best as what it is."""

import sqlalchemy as sa

MAKE_SLOTS = sa.text("""
    INSERT INTO provider_slots (provider, number)
    SELECT :provider, number FROM generate_series(1, :most) AS numbers(number)
    ON CONFLICT DO NOTHING
""").bindparams(sa.bindparam("provider", type_=sa.Text()), sa.bindparam("most", type_=sa.Integer()))

#: A slot is locked first and a probe is taken second, so that neither is used up when the other is missing.
#:
#: A probe counts while somebody leases its generation, so that a dead worker's is over with its lease. The probe is the
#: order that entered after the circuit was due; a pause named meanwhile moves that time, hence the second one. Whoever
#: probes next does so on condition that the circuit is as it was seen: those who waited for its row see nothing else.
#:
#: One user has four fifths of the slots at most, as of a worker's: whoever asks most often would have them all. Calls
#: of one user that ask at the same instant don't see each other, so a burst may get more. It doesn't matter: that
#: lasts for one call, as who has too many gets none until they are back. Exact would mean a lock that all calls of a
#: user wait for.
ENTER = sa.text("""
    WITH circuit AS (
        SELECT open_until, probe_until, open_until <= now() AND (
            probe_until IS NULL OR probe_until <= now() OR NOT EXISTS (
                SELECT FROM ai_operations AS trying JOIN generations ON generations.id = trying.generation_id
                WHERE trying.status = 'running' AND trying.kind = 'order'
                  AND trying.provider = :provider AND trying.model = :model
                  AND trying.created_at >= least(open_until, probe_until - :hold) AND generations.lease_until > now()
            )
        ) AS may_probe
        FROM provider_circuits
        WHERE :guarded AND provider = :provider AND model = :model AND open_until IS NOT NULL
    ), same_user AS (
        SELECT count(*) AS slots FROM provider_slots
        JOIN ai_operations ON ai_operations.id = provider_slots.holder
        JOIN generations ON generations.id = ai_operations.generation_id
        WHERE provider_slots.provider = :provider AND provider_slots.held_until > now()
          AND generations.user_id = (SELECT user_id FROM generations WHERE id = :generation_id)
    ), slot AS (
        SELECT number FROM provider_slots
        WHERE provider = :provider AND number <= :most AND held_until <= now()
          AND NOT EXISTS (SELECT FROM circuit WHERE NOT may_probe)
          AND (SELECT slots FROM same_user) < greatest(:most * 4 / 5, 1)
        ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED
    ), probe AS (
        UPDATE provider_circuits AS now_is SET probe_until = now() + :hold FROM circuit
        WHERE now_is.provider = :provider AND now_is.model = :model AND circuit.may_probe
          AND now_is.open_until = circuit.open_until AND now_is.probe_until IS NOT DISTINCT FROM circuit.probe_until
          AND (:most IS NULL OR EXISTS (SELECT FROM slot))
        RETURNING now_is.provider
    ), held AS (
        UPDATE provider_slots SET held_until = now() + :hold, holder = :id FROM slot
        WHERE provider_slots.provider = :provider AND provider_slots.number = slot.number
          AND (NOT EXISTS (SELECT FROM circuit) OR EXISTS (SELECT FROM probe))
        RETURNING provider_slots.number
    ), call AS (
        INSERT INTO ai_operations (id, generation_id, operation, kind, attempt, provider, model, created_at)
        SELECT :id, :generation_id, :operation, :kind, :attempt, :provider, :model, clock_timestamp()
        WHERE (:most IS NULL OR EXISTS (SELECT FROM held))
          AND (NOT EXISTS (SELECT FROM circuit) OR EXISTS (SELECT FROM probe))
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM call) AS entered, EXISTS (SELECT FROM probe) AS probes,
           (SELECT extract(epoch FROM open_until - now()) FROM circuit) AS open_for
""").bindparams(
    *(sa.bindparam(name, type_=sa.Uuid()) for name in ("id", "generation_id")),
    *(sa.bindparam(name, type_=sa.Text()) for name in ("operation", "kind", "provider", "model")),
    *(sa.bindparam(name, type_=sa.Integer()) for name in ("attempt", "most")),
    sa.bindparam("guarded", type_=sa.Boolean()),
    sa.bindparam("hold", type_=sa.Interval()),
)

#: A sick vendor opens its circuit after some failures in a row, each of another generation, or as soon as it asks for a
#: pause. Only the order that tries it again closes it: an answer to one from before says nothing of now.
LEAVE = sa.text("""
    WITH ended AS (
        UPDATE ai_operations
        SET status = :status, error_code = :error_code, error = :error, input_tokens = :input_tokens,
            output_tokens = :output_tokens, video_seconds = :video_seconds, cost_micros = :cost_micros,
            duration_ms = :duration_ms, vendor_request_id = :vendor_request_id
        WHERE id = :id
    ), freed AS (
        UPDATE provider_slots SET held_until = now(), holder = NULL WHERE provider = :provider AND holder = :id
    ), sick AS (
        INSERT INTO provider_circuits AS circuit (provider, model, failures, failed_generation_id, open_until)
        SELECT :provider, :model, 1, :generation_id,
               now() + coalesce(:pause, CASE WHEN :failures <= 1 THEN :cooldown END)
        WHERE :guarded AND :ill
        ON CONFLICT (provider, model) DO UPDATE
        SET failures = circuit.failures + (circuit.failed_generation_id IS DISTINCT FROM :generation_id)::int,
            failed_generation_id = :generation_id,
            probe_until = CASE WHEN NOT :probes THEN circuit.probe_until END,
            open_until = CASE
                WHEN :pause IS NOT NULL THEN greatest(circuit.open_until, now() + :pause)
                WHEN circuit.failures + (circuit.failed_generation_id IS DISTINCT FROM :generation_id)::int
                     >= :failures OR :probes THEN greatest(circuit.open_until, now() + :cooldown)
                ELSE circuit.open_until
            END
    ), recovered AS (
        UPDATE provider_circuits
        SET failures = CASE WHEN :answered AND (:probes OR open_until IS NULL) THEN 0 ELSE failures END,
            open_until = CASE WHEN NOT :answered OR NOT :probes THEN open_until END,
            probe_until = CASE WHEN NOT :probes THEN probe_until END
        WHERE :guarded AND NOT :ill AND provider = :provider AND model = :model
          AND (failures > 0 OR open_until IS NOT NULL)
    )
    SELECT 1
""").bindparams(
    *(sa.bindparam(name, type_=sa.Uuid()) for name in ("id", "generation_id")),
    *(
        sa.bindparam(name, type_=sa.Text())
        for name in ("provider", "model", "status", "error_code", "error", "vendor_request_id")
    ),
    *(sa.bindparam(name, type_=sa.BigInteger()) for name in ("input_tokens", "output_tokens", "cost_micros")),
    *(sa.bindparam(name, type_=sa.Integer()) for name in ("duration_ms", "failures")),
    sa.bindparam("video_seconds", type_=sa.Float()),
    *(sa.bindparam(name, type_=sa.Boolean()) for name in ("guarded", "ill", "answered", "probes")),
    *(sa.bindparam(name, type_=sa.Interval()) for name in ("cooldown", "pause")),
)

#: What no worker will finish: its slot has run out.
ABANDON = sa.text("""
    UPDATE ai_operations SET status = 'abandoned'
    WHERE id IN (
        SELECT id FROM ai_operations WHERE status = 'running' AND created_at < now() - :age
        ORDER BY created_at LIMIT :batch
    )
""").bindparams(sa.bindparam("age", type_=sa.Interval()), sa.bindparam("batch", type_=sa.Integer()))

PRUNE = sa.text("""
    DELETE FROM ai_operations
    WHERE id IN (SELECT id FROM ai_operations WHERE created_at < now() - :age ORDER BY created_at LIMIT :batch)
""").bindparams(sa.bindparam("age", type_=sa.Interval()), sa.bindparam("batch", type_=sa.Integer()))
