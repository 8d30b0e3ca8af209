"""The gate's SQL. It is text, because each statement has many parts, and they read best as SQL."""

from dataclasses import dataclass
from decimal import Decimal

import sqlalchemy as sa

from tallyframe.db import AnyRow, Statement

MAKE_SLOTS = sa.text("""
    INSERT INTO provider_slots (provider, number)
    SELECT :provider, number FROM generate_series(1, :most) AS numbers(number)
    ON CONFLICT DO NOTHING
""").bindparams(sa.bindparam("provider", type_=sa.Text()), sa.bindparam("most", type_=sa.Integer()))

#: Lets a call in, if a slot is free and the circuit is closed, or due to be probed. A probe is the one order that tries
#: the vendor while the circuit is open. The slot is locked first and the probe is taken second, so that a call which
#: gets only one of the two takes neither.
#:
#: A probe counts while its generation is leased, so that it ends with the lease of a worker that died. To find it, we
#: look for an order that entered after `open_until`. A pause that the vendor asked for meanwhile moves `open_until`,
#: hence the start of the probe as the other bound. The UPDATE of a new probe compares the circuit with what was read,
#: because a call that waited for the row's lock would otherwise become a second probe.
#:
#: One user has four fifths of the slots at most, as of a worker's; otherwise the user who asks most often would have
#: them all. Calls of one user that ask at the same instant don't see each other, so a burst may get more slots. That
#: is harmless: it lasts for one call, because the user gets no further slot until enough are back. An exact count would
#: need a lock for which all calls of a user wait.
_ENTER = sa.text("""
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
        INSERT INTO ai_operations (id, generation_id, operation, step, kind, attempt, provider, model, created_at)
        SELECT :id, :generation_id, :operation, :step, :kind, :attempt, :provider, :model, clock_timestamp()
        WHERE (:most IS NULL OR EXISTS (SELECT FROM held))
          AND (NOT EXISTS (SELECT FROM circuit) OR EXISTS (SELECT FROM probe))
        -- Run twice, because its answer got lost, it finds its own row.
        ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at
        RETURNING id
    )
    SELECT EXISTS (SELECT FROM call) AS entered, EXISTS (SELECT FROM probe) AS probes,
           (SELECT extract(epoch FROM open_until - now()) FROM circuit) AS open_for
""").bindparams(
    *(sa.bindparam(name, type_=sa.Uuid()) for name in ("id", "generation_id")),
    *(sa.bindparam(name, type_=sa.Text()) for name in ("operation", "step", "kind", "provider", "model")),
    *(sa.bindparam(name, type_=sa.Integer()) for name in ("attempt", "most")),
    sa.bindparam("guarded", type_=sa.Boolean()),
    sa.bindparam("hold", type_=sa.Interval()),
)


@dataclass(frozen=True, slots=True)
class Entered:
    """Whether a call may be made, and as a probe; and for how many seconds the circuit is open, if it is."""

    entered: bool
    probes: bool
    open_for: Decimal | None


ENTER = Statement(
    "enter_call", _ENTER.columns(entered=sa.Boolean(), probes=sa.Boolean(), open_for=sa.Numeric()), Entered
)

#: Ends a call. A circuit opens after `failures` failures in a row, each for another generation, or as soon as the
#: vendor asks for a pause. Only the probe closes it: an answer to an older order says nothing about the vendor now.
_LEAVE = sa.text("""
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
    SELECT 1 AS done
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
LEAVE = Statement[AnyRow]("leave_call", _LEAVE.columns(done=sa.Integer()), dict)

#: Marks calls that no worker will finish: they have run for longer than a call may take.
ABANDON = sa.text("""
    UPDATE ai_operations SET status = 'abandoned'
    WHERE id IN (
        SELECT id FROM ai_operations WHERE status = 'running' AND created_at < now() - :age
        ORDER BY created_at LIMIT :batch
    )
""").bindparams(sa.bindparam("age", type_=sa.Interval()), sa.bindparam("batch", type_=sa.Integer()))

#: Removes old calls.
PRUNE = sa.text("""
    DELETE FROM ai_operations
    WHERE id IN (SELECT id FROM ai_operations WHERE created_at < now() - :age ORDER BY created_at LIMIT :batch)
""").bindparams(sa.bindparam("age", type_=sa.Interval()), sa.bindparam("batch", type_=sa.Integer()))
