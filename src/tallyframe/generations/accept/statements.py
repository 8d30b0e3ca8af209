"""② The statements that accept orders.

Their first part, the subject, is what an order is for: a new project, a slot of an existing one, or no project. It has
one row, with the project's `id` (null without a project), or none where the order is refused. All other writes take
their rows from it, so without that row nothing is debited.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.db import Statement, insert_per_row, with_writes
from tallyframe.generations.tables import IS_LIVE, IS_PENDING, generations
from tallyframe.idempotency import keys
from tallyframe.ledger import entries
from tallyframe.outbox.rows import enqueue
from tallyframe.outbox.tables import RUN_GENERATION
from tallyframe.projects.tables import projects

#: Seconds until the relay wakes a worker. The API does so right after the commit, which is usually enough.
RELAY_GRACE = 2

#: The columns of a generation that an order fills, and of a project that a new one does.
ORDER = ("user_id", "account_id", "operation", "slot", "input", "metadata", "credits")
PROJECT = ("kind", "prompt", "prompt_id", "aspect_ratio", "metadata")
#: What differs between orders that are placed together.
OF_MANY = ("operation", "slot", "input", "metadata", "credits")

_MINE = (generations.c.user_id == sa.bindparam("user_id", type_=sa.Uuid())) & IS_LIVE


def _turn() -> "sa.ColumnElement[int]":
    """Return the turn of a new generation: after the user's others that wait for theirs, and after the one served last.

    Start-time fair queueing (Goyal, Vin, Cheng 1996), where each generation counts the same: each user's next order is
    served before another user's backlog. The turn served last is kept (`turn_served`), and not the lowest that waits:
    one that sleeps must not hold up the time by which newcomers are put in line.
    """
    own_last = sa.select(sa.func.max(generations.c.turn)).where(_MINE, IS_PENDING).scalar_subquery()
    return sa.func.greatest(sa.func.turn_served_now(type_=sa.BigInteger()), own_last + 1)


def _has_room() -> "sa.ColumnElement[bool]":
    # Not exact: orders that arrive at the same instant don't see each other, so a burst may overshoot by its size.
    active = sa.select(sa.func.count()).select_from(generations).where(_MINE).scalar_subquery()
    return active + sa.bindparam("room_for", type_=sa.BigInteger()) <= sa.bindparam("max_active", type_=sa.BigInteger())


#: Whether all pictures that an order names are there. They stay: whoever deletes one waits for the lock. The order of
#: locks is that of all who lock several.
_PICTURES_STAY = """
      cardinality(:pictures) = (SELECT count(*) FROM (
          SELECT FROM assets WHERE id = ANY(:pictures) AND user_id = :user_id AND deleted_at IS NULL
          ORDER BY id FOR KEY SHARE
      ) AS there)"""
_PICTURES = sa.bindparam("pictures", type_=postgresql.ARRAY(sa.Uuid()))
_STAY = sa.text(_PICTURES_STAY).bindparams(_PICTURES, sa.bindparam("user_id", type_=sa.Uuid()))


def _new_project(*conditions: "sa.ColumnElement[bool]") -> sa.CTE:
    ids = [sa.bindparam(name, type_=sa.Uuid()) for name in ("project_id", "generation_id", "user_id")]
    fields = [sa.bindparam(name, type_=projects.c[name].type) for name in PROJECT]
    row = sa.select(*ids, sa.literal("pending", sa.Text()), *fields).where(_has_room(), _STAY, *conditions)
    insert = sa.insert(projects).from_select(["id", "generation_id", "user_id", "status", *PROJECT], row)
    return insert.returning(projects.c.id, projects.c.created_at, projects.c.updated_at).cte("subject")


def _as_text(sql: str, *ids: str) -> sa.CTE:
    """Return a part in text: SQLAlchemy mistakes an inner UPDATE's columns for parameters of the same name."""
    numbers = [sa.bindparam(name, type_=sa.BigInteger()) for name in ("room_for", "max_active")]
    pictures = [_PICTURES] if _PICTURES_STAY in sql else []
    text = sa.text(sql).bindparams(*(sa.bindparam(name, type_=sa.Uuid()) for name in ids), *numbers, *pictures)
    return text.columns(id=sa.Uuid()).cte("subject")


_ROOM = """
      (SELECT count(*) FROM generations WHERE user_id = :user_id AND status IN ('pending', 'processing'))
          + :room_for <= :max_active"""
_ORDERED = """
    UPDATE projects SET generation_id = :generation_id, status = 'pending', status_sequence = status_sequence + 1,
                        updated_at = clock_timestamp()
    WHERE id = :project_id AND user_id = :user_id AND deleted_at IS NULL AND status NOT IN ('pending', 'processing')
      AND"""
#: The row is changed, and not only looked at: so an order and the deletion of its project wait for each other.
_TOUCHED = """
    UPDATE projects SET status_sequence = status_sequence + 1, updated_at = clock_timestamp()
    WHERE id = :project_id AND user_id = :user_id AND deleted_at IS NULL AND"""
_EXISTS = "EXISTS (SELECT FROM users WHERE id = :user_id AND deleted_at IS NULL)"


def _no_project(*conditions: "sa.ColumnElement[bool]") -> sa.CTE:
    none: list[sa.Label[Any]] = [sa.null().cast(sa.Uuid()).label("id")]
    none += [sa.null().cast(TIME).label(name) for name in _TIMES]
    return sa.select(*none).where(_has_room(), _STAY, *conditions).cte("subject")


TIME = sa.TIMESTAMP(timezone=True)
_TIMES = ("created_at", "updated_at")

NEW_PROJECT = _new_project()
#: No project: the room and the pictures alone decide.
NO_PROJECT = _no_project()
#: A project whose main slot is free; it shows the new generation from now on.
IDLE_PROJECT = _as_text(
    f"{_ORDERED} {_ROOM} AND {_PICTURES_STAY} RETURNING id", "generation_id", "project_id", "user_id"
)
#: The same, of a user who still exists, whose latest generation is still the ended one.
REPLACED_IN_MAIN = _as_text(
    f"{_ORDERED} {_ROOM} AND generation_id = :ended_id AND {_EXISTS} RETURNING id",
    *("generation_id", "project_id", "user_id", "ended_id"),
)
#: A project, for a slot other than its main one: the index on live generations per slot says whether that is free.
ANY_PROJECT = _as_text(f"{_TOUCHED} {_ROOM} AND {_PICTURES_STAY} RETURNING id", "project_id", "user_id")
#: The same, of a user who still exists, in place of an ended generation of such a slot.
REPLACED_IN_SLOT = _as_text(
    f"""{_TOUCHED} {_ROOM} AND {_EXISTS}
      AND EXISTS (SELECT FROM generations WHERE id = :ended_id AND project_id = :project_id AND finished_at IS NOT NULL)
    RETURNING id""",
    *("project_id", "user_id", "ended_id"),
)
#: In place of an ended generation without a project. The lock keeps it from being deleted meanwhile.
REPLACED_ALONE = _as_text(
    f"""
    SELECT project_id AS id FROM generations
    WHERE id = :ended_id AND user_id = :user_id AND project_id IS NULL AND finished_at IS NOT NULL
      AND deleted_at IS NULL AND {_EXISTS} AND {_ROOM}
    FOR NO KEY UPDATE OF generations""",
    *("ended_id", "user_id"),
)


def _orders() -> sa.CTE:
    """Return one row per order, in their order; `place` counts from 1."""
    names: dict[str, sa.types.TypeEngine[Any]] = {
        "ids": sa.Uuid(),
        "entry_ids": sa.Uuid(),
        "inputs": sa.Text(),
        "metadatas": sa.Text(),
    }
    names |= {"operations": sa.Text(), "slots": sa.Text(), "prices": sa.BigInteger()}
    arrays = [sa.bindparam(name, type_=postgresql.ARRAY(kind)) for name, kind in names.items()]
    columns = [sa.column(name, kind) for name, kind in names.items()]
    rows = sa.func.unnest(*arrays).table_valued(*columns, with_ordinality="place", name="orders").render_derived()
    jsonb = {name: sa.cast(rows.c[f"{name}s"], postgresql.JSONB) for name in ("input", "metadata")}
    return sa.select(
        rows.c.ids.label("id"),
        rows.c.entry_ids.label("entry_id"),
        rows.c.operations.label("operation"),
        rows.c.slots.label("slot"),
        *(value.label(name) for name, value in jsonb.items()),
        rows.c.prices.label("credits"),
        rows.c.place,
    ).cte("orders")


def accept_statement(
    subject: sa.CTE, writes: Sequence[sa.Insert] = (), *, keyed: bool = False, replaces: bool = False
) -> sa.Executable:
    """Return the statement that accepts one order for the subject; `writes` hang on its row.

    `keyed`: it keeps the key of a request, too; `replaces`: the generation is there in place of an ended one.
    """
    generation, paid = _accepted(subject, replaces=replaces)
    once = [keys.keep(generation)] if keyed else []
    return with_writes(sa.select(generation.c.id), *once, *writes, *paid)


def _accepted(subject: sa.CTE, *, replaces: bool = False) -> tuple[sa.CTE, Sequence[sa.Insert]]:
    """Return the part that makes the generation, and the writes that hang on it: debit and promise."""
    ended = {"replaces_id": sa.bindparam("ended_id", type_=sa.Uuid())} if replaces else {}
    insert = insert_per_row(
        generations,
        subject,
        id=sa.bindparam("generation_id", type_=sa.Uuid()),
        project_id=subject.c.id,
        turn=_turn(),
        expires_at=sa.func.clock_timestamp() + sa.bindparam("max_age", type_=sa.Interval()),
        **{name: sa.bindparam(f"order_{name}", type_=generations.c[name].type) for name in ORDER},
        **ended,
    )
    made = [generations.c[name] for name in ("id", "account_id", "credits", "created_at")]
    generation = insert.returning(*made).cte("generation")
    paid = sa.select(generation, sa.bindparam("entry_id", type_=sa.Uuid()).label("entry_id")).subquery("paid")
    return generation, (entries.debit(paid), enqueue(RUN_GENERATION, generation, _in_a_moment()))


def _in_a_moment() -> "sa.ColumnElement[Any]":
    return sa.func.clock_timestamp() + sa.literal(timedelta(seconds=RELAY_GRACE), sa.Interval())


def _many() -> sa.Executable:
    orders, room = _orders(), NO_PROJECT
    source = orders.join(room, sa.true())
    insert = insert_per_row(
        generations,
        source,
        id=orders.c.id,
        user_id=sa.bindparam("user_id", type_=sa.Uuid()),
        account_id=sa.bindparam("account_id", type_=sa.Uuid()),
        turn=_turn() + orders.c.place - 1,
        expires_at=sa.func.clock_timestamp() + sa.bindparam("max_age", type_=sa.Interval()),
        **{name: orders.c[name] for name in OF_MANY},
    )
    generation = insert.returning(generations.c.id, generations.c.account_id, generations.c.credits).cte("generation")
    paid = sa.select(generation, orders.c.entry_id).join(orders, orders.c.id == generation.c.id)
    writes = entries.debit(paid.subquery("paid")), enqueue(RUN_GENERATION, generation, _in_a_moment())
    return with_writes(sa.select(generation.c.id), *writes)


#: Where in an answer which time is: paths of JSON, and columns.
Times = Mapping[str, "sa.ColumnElement[Any]"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """When an order was accepted, and its new project, if it has one; or what is kept of the request that was first."""

    accepted_at: datetime | None
    created_at: datetime | None
    updated_at: datetime | None
    fingerprint: bytes | None
    ref: UUID | None
    answer: dict[str, Any] | None


_NOTHING_MADE = [sa.null().cast(TIME).label(name) for name in ("accepted_at", *_TIMES)]
_KEPT: dict[str, sa.types.TypeEngine[Any]] = {
    "fingerprint": sa.LargeBinary(),
    "ref": sa.Uuid(),
    "answer": postgresql.JSONB(),
}
_NOTHING_KEPT = [sa.null().cast(kind).label(name) for name, kind in _KEPT.items()]


def _fresh(name: str, subject: sa.CTE) -> Statement[Outcome]:
    """Return the statement that accepts an order for the subject and returns when it did."""
    generation, writes = _accepted(subject)
    return Statement(name, with_writes(_made(subject, generation), *writes), Outcome)


def _fresh_once(name: str, subject: sa.CTE, times: Callable[[sa.CTE, sa.CTE], Times]) -> Statement[Outcome]:
    """Return the same with the key of a request, with which its answer is kept; `times` says what is where in that.

    The subject has no row where the key is kept already. Then nothing is written, and what is kept is returned.
    """
    generation, writes = _accepted(subject)
    answer: sa.ColumnElement[Any] = sa.bindparam("answer", type_=postgresql.JSONB())
    for path, time in times(subject, generation).items():
        answer = sa.func.jsonb_set(answer, sa.literal_column(f"'{path}'::text[]"), sa.func.to_jsonb(time))
    done = sa.select(generation.c.id, answer.label("answer")).join(subject, sa.true()).subquery("done")
    kept = keys.kept().subquery("kept")
    outcome: sa.CompoundSelect[Any] = sa.union_all(_made(subject, generation), sa.select(*_NOTHING_MADE, kept))
    return Statement(name, with_writes(outcome, keys.keep(done, done.c.answer), *writes), Outcome)


def _made(subject: sa.CTE, generation: sa.CTE) -> sa.Select[Any]:
    times = (generation.c.created_at.label("accepted_at"), *(subject.c[name] for name in _TIMES))
    return sa.select(*times, *_NOTHING_KEPT).select_from(generation.join(subject, sa.true()))


#: Accept an order all of whose answer is known beforehand, but the times. Run twice, by accident, they are refused by
#: primary keys.
NEW, ALONE = _fresh("order", NEW_PROJECT), _fresh("order_alone", NO_PROJECT)
_IS_FIRST = ~keys.kept().exists()
NEW_ONCE = _fresh_once(
    "order_once",
    _new_project(_IS_FIRST),
    lambda project, generation: {
        "{created_at}": project.c.created_at,
        "{updated_at}": project.c.updated_at,
        "{generation,created_at}": generation.c.created_at,
    },
)
ALONE_ONCE = _fresh_once(
    "order_alone_once", _no_project(_IS_FIRST), lambda _, generation: {"{created_at}": generation.c.created_at}
)
#: By whether there is a project, and a key.
FRESH = {(True, False): NEW, (True, True): NEW_ONCE, (False, False): ALONE, (False, True): ALONE_ONCE}

#: Put together once, with parameters, because building SQL costs more than running it; with and without a key.
READY = {
    (subject, keyed): accept_statement(subject, keyed=keyed)
    for subject in (NEW_PROJECT, NO_PROJECT, IDLE_PROJECT, ANY_PROJECT)
    for keyed in (False, True)
}
#: Accepts many orders of one user without a project: all or none.
MANY = _many()
