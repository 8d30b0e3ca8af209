"""② Accept an order: project, pictures, generation, debit and outbox row in ONE statement, all or nothing.

The statement's first part makes, changes or finds the row of the `subject`: a project, or the user's room for another
generation. All other writes take their rows from it, so without that row nothing is debited.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tallyframe.assets.tables import ORDERED, assets
from tallyframe.credits import Credits
from tallyframe.db import Database, insert_per_row, with_writes
from tallyframe.errors import InsufficientCredits, NotFound
from tallyframe.generations.accept import subjects
from tallyframe.generations.tables import generations
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Key
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.lost import constraint, sqlstate
from tallyframe.operations.base import MAIN
from tallyframe.outbox.rows import enqueue
from tallyframe.outbox.tables import RUN_GENERATION
from tallyframe.projects.tables import project_images

#: The SQLSTATE for a foreign key that leads nowhere: a picture was deleted since it was looked up.
PICTURE_GONE = "23503"
#: What refuses a second live generation of a slot, and a second order in place of the same failed one.
TAKEN = frozenset({"uq_generations_one_live_per_slot", "uq_generations_replaces_id"})

#: Seconds until the relay wakes a worker. The API does so right after the commit, which is usually enough.
RELAY_GRACE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is bought, by whom, for how many credits. `max_active` and `max_age` are the limits in force."""

    user_id: UUID
    account_id: UUID
    operation: str
    input: dict[str, Any]
    credits: Credits
    max_active: int
    max_age: timedelta
    slot: str = MAIN
    metadata: dict[str, str] = field(default_factory=dict)
    new_assets: Sequence[dict[str, Any]] = ()  # rows of pictures stored just for it


@dataclass(frozen=True, slots=True)
class NewProject:
    """A project to make with the order."""

    kind: str
    prompt: str
    prompt_id: UUID | None
    aspect_ratio: str | None
    metadata: dict[str, str]
    images: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the order became."""

    project_id: UUID | None
    generation_id: UUID


async def submit(db: Database, order: Order, project: NewProject | None, key: Key | None = None) -> Accepted | None:
    """Make the generation, with its project if there is to be one, and keep the key of the request that did.

    None: too many generations are active. Raises InsufficientCredits, and RequestInProgress where the key is taken.
    """
    accepted = Accepted(new_id() if project else None, new_id())
    subject = subjects.NEW_PROJECT if project else subjects.NO_PROJECT
    wanted = {name: getattr(project, name) for name in subjects.PROJECT} if project else {}
    pictures = _assets(order, subject)
    for place, asset_id in enumerate(project.images if project else ()):
        row = {"project_id": subject.c.id, "position": place, "asset_id": asset_id}
        pictures.append(insert_per_row(project_images, subject, **row))
    return await _accept(db, _with(pictures, subject, key), accepted, order, wanted, key)


async def submit_for(db: Database, order: Order, project_id: UUID, key: Key | None = None) -> Accepted | None:
    """Start a generation in a free slot of the user's project, and keep the key of the request that did.

    None: the slot isn't free, or the project is gone, or too many generations are active. Raises InsufficientCredits,
    and RequestInProgress where the key is taken.
    """
    subject = subjects.IDLE_PROJECT if order.slot == MAIN else subjects.ANY_PROJECT
    statement = _with(_assets(order, subject), subject, key)
    return await _accept(db, statement, Accepted(project_id, new_id()), order, {}, key)


async def submit_instead(
    db: Database,
    order: Order,
    accepted: Accepted,
    ended_id: UUID,
    also: Callable[[sa.FromClause], Sequence[sa.Insert]],
) -> Accepted | None:
    """Start a generation in place of one that has ended; of a project's main slot, it must still be the latest.

    So one failure is made good, and paid, once, however many ask for it. `also` hangs on the subject's row. None: as
    `submit_for`, or the place has been taken, or the user has been deleted. Raises InsufficientCredits, and
    RequestInProgress where a key that `also` keeps is taken.
    """
    in_project = subjects.REPLACED_IN_MAIN if order.slot == MAIN else subjects.REPLACED_IN_SLOT
    subject = in_project if accepted.project_id else subjects.REPLACED_ALONE
    statement = _statement(subject, also(subject), replaces=True)
    return await _accept(db, statement, accepted, order, {"ended_id": ended_id}, None)


async def submit_many(db: Database, orders: Sequence[Order]) -> Sequence[Accepted] | None:
    """Start a generation for each order, all of one user and without a project, in one statement: all or none.

    None: so many generations would be too many. Raises InsufficientCredits when they can't be paid together, and
    ValueError where an order is another user's or account's, has other limits, or comes with new pictures.
    """
    if not orders:
        return ()
    if len({(each.user_id, each.account_id, each.max_active, each.max_age) for each in orders}) > 1:
        raise ValueError("Orders that are placed together must be of one user and account, under the same limits.")
    if any(each.new_assets for each in orders):
        raise ValueError("Orders that are placed together can't bring new pictures.")
    accepted = [Accepted(None, new_id()) for _ in orders]
    first = orders[0]
    parameters = {
        "ids": [each.generation_id for each in accepted],
        "entry_ids": [new_id() for _ in orders],
        "inputs": [json.dumps(order.input) for order in orders],
        "metadatas": [json.dumps(order.metadata) for order in orders],
        "operations": [order.operation for order in orders],
        "slots": [order.slot for order in orders],
        "prices": [order.credits for order in orders],
        "user_id": first.user_id,
        "account_id": first.account_id,
        "room_for": len(orders),
        "max_active": first.max_active,
        "max_age": first.max_age,
    }
    try:
        rows = (await db.run(_MANY, parameters)).all()
    except DBAPIError as error:
        if sqlstate(error) != entries.INSUFFICIENT_CREDITS:
            raise
        # The trigger tells what the debits of the orders before had left.
        available = await entries.available(db, first.account_id)
        raise InsufficientCredits(required=sum(each.credits for each in orders), available=available) from error
    return accepted if rows else None


async def _accept(  # by position, three callers
    db: Database,
    statement: sa.Executable,
    accepted: Accepted,
    order: Order,
    wanted: Mapping[str, Any],
    key: Key | None,
) -> Accepted | None:
    parameters = {
        "project_id": accepted.project_id,
        "generation_id": accepted.generation_id,
        "entry_id": new_id(),
        **{f"order_{name}": getattr(order, name) for name in subjects.ORDER},
        "user_id": order.user_id,
        "room_for": 1,
        "max_active": order.max_active,
        "max_age": order.max_age,
        **wanted,
        **(key.parameters() if key else {}),
    }
    try:
        row = (await db.run(statement, parameters)).one_or_none()
    except DBAPIError as error:
        keys.refuse_if_taken(error)
        if constraint(error) in TAKEN:
            return None
        if sqlstate(error) == PICTURE_GONE:
            raise NotFound("One of the pictures does not exist.") from error
        raise entries.insufficient_credits(error, order.credits) or error from error
    return accepted if row else None


def _with(pictures: Sequence[sa.Insert], subject: sa.CTE, key: Key | None) -> sa.Executable:
    keyed = key is not None
    return _statement(subject, pictures, keyed=keyed) if pictures else _READY[subject, keyed]


def _statement(
    subject: sa.CTE, writes: Sequence[sa.Insert] = (), *, keyed: bool = False, replaces: bool = False
) -> sa.Executable:
    ended = {"replaces_id": sa.bindparam("ended_id", type_=sa.Uuid())} if replaces else {}
    insert = insert_per_row(
        generations,
        subject,
        id=sa.bindparam("generation_id", type_=sa.Uuid()),
        project_id=subject.c.id,
        turn=subjects.turn(),
        expires_at=sa.func.clock_timestamp() + sa.bindparam("max_age", type_=sa.Interval()),
        **{name: sa.bindparam(f"order_{name}", type_=generations.c[name].type) for name in subjects.ORDER},
        **ended,
    )
    generation = insert.returning(generations.c.id, generations.c.account_id, generations.c.credits).cte("generation")
    paid = sa.select(generation, sa.bindparam("entry_id", type_=sa.Uuid()).label("entry_id")).subquery("paid")
    once = [keys.keep(generation)] if keyed else []
    result = sa.select(generation.c.id)
    return with_writes(result, *once, *writes, entries.debit(paid), enqueue(RUN_GENERATION, generation, _in_a_moment()))


def _in_a_moment() -> "sa.ColumnElement[Any]":
    return sa.func.clock_timestamp() + sa.literal(timedelta(seconds=RELAY_GRACE), sa.Interval())


def _assets(order: Order, subject: sa.CTE) -> list[sa.Insert]:
    """Return the inserts of new pictures; they go with the project or, without one, with the generation."""
    mine = {"user_id": order.user_id, "project_id": subject.c.id, "role": ORDERED}
    return [insert_per_row(assets, subject, **row, **mine) for row in order.new_assets]


def _many() -> sa.Executable:
    orders, room = subjects.MANY, subjects.NO_PROJECT
    source = orders.join(room, sa.true())
    insert = insert_per_row(
        generations,
        source,
        id=orders.c.id,
        user_id=sa.bindparam("user_id", type_=sa.Uuid()),
        account_id=sa.bindparam("account_id", type_=sa.Uuid()),
        turn=subjects.turn() + orders.c.place - 1,
        expires_at=sa.func.clock_timestamp() + sa.bindparam("max_age", type_=sa.Interval()),
        **{name: orders.c[name] for name in subjects.OF_MANY},
    )
    generation = insert.returning(generations.c.id, generations.c.account_id, generations.c.credits).cte("generation")
    paid = sa.select(generation, orders.c.entry_id).join(orders, orders.c.id == generation.c.id)
    writes = entries.debit(paid.subquery("paid")), enqueue(RUN_GENERATION, generation, _in_a_moment())
    return with_writes(sa.select(generation.c.id), *writes)


#: Put together once, with parameters, because building SQL costs more than running it; with and without a key.
_READY = {
    (subject, keyed): _statement(subject, keyed=keyed)
    for subject in (subjects.NEW_PROJECT, subjects.NO_PROJECT, subjects.IDLE_PROJECT, subjects.ANY_PROJECT)
    for keyed in (False, True)
}
_MANY = _many()
