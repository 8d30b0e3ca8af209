"""② Orders that bring pictures, are for a project that is there, are many at once, or replace one that has ended.

Like all orders, these are accepted by ONE statement, all or nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.assets.tables import ORDERED, assets
from tallyframe.db import Database, insert_per_row
from tallyframe.errors import InsufficientCredits
from tallyframe.generations.accept import statements
from tallyframe.generations.accept.order import Accepted, NewProject, Order, order_parameters, refusal
from tallyframe.idempotency.keys import Key
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.lost import REFUSED, constraint, sqlstate
from tallyframe.operations.base import MAIN
from tallyframe.projects.tables import project_images

#: What refuses a second live generation of a slot, and a second order in place of the same failed one.
TAKEN = frozenset({"uq_generations_one_live_per_slot", "uq_generations_replaces_id"})


async def submit(db: Database, order: Order, project: NewProject | None, key: Key | None = None) -> Accepted | None:
    """Make the generation, with its project if there is to be one, and keep the key of the request that did.

    None: too many generations are active, or a picture is gone. Raises InsufficientCredits, and RequestInProgress where
    the key is taken.
    """
    accepted = Accepted(new_id() if project else None, new_id())
    subject = statements.NEW_PROJECT if project else statements.NO_PROJECT
    wanted = {name: getattr(project, name) for name in statements.PROJECT} if project else {}
    pictures = _assets(order, subject)
    for place, asset_id in enumerate(project.images if project else ()):
        row = {"project_id": subject.c.id, "position": place, "asset_id": asset_id}
        pictures.append(insert_per_row(project_images, subject, **row))
    return await _accept(db, _statement(pictures, subject, key), accepted, order, wanted, key)


async def submit_for(db: Database, order: Order, project_id: UUID, key: Key | None = None) -> Accepted | None:
    """Start a generation in a free slot of the user's project, and keep the key of the request that did.

    None: the slot isn't free, or the project or a picture is gone, or too many generations are active. Raises
    InsufficientCredits, and RequestInProgress where the key is taken.
    """
    subject = statements.IDLE_PROJECT if order.slot == MAIN else statements.ANY_PROJECT
    statement = _statement(_assets(order, subject), subject, key)
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
    in_project = statements.REPLACED_IN_MAIN if order.slot == MAIN else statements.REPLACED_IN_SLOT
    subject = in_project if accepted.project_id else statements.REPLACED_ALONE
    statement = statements.accept_statement(subject, also(subject), replaces=True)
    return await _accept(db, statement, accepted, order, {"ended_id": ended_id}, None)


async def submit_many(db: Database, orders: Sequence[Order]) -> Sequence[Accepted] | None:
    """Start a generation for each order, all of one user and without a project, in one statement: all or none.

    None: so many generations would be too many, or a picture is gone. Raises InsufficientCredits when they can't be
    paid together, and ValueError where an order is another user's, has other limits, or comes with new pictures.
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
        "pictures": list(frozenset().union(*(each.pictures for each in orders))),
    }
    try:
        rows = (await db.run(statements.MANY, parameters)).all()
    except REFUSED as error:
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
    parameters = order_parameters(accepted, order) | dict(wanted) | (key.parameters() if key else {})
    try:
        row = (await db.run(statement, parameters)).one_or_none()
    except REFUSED as error:
        if constraint(error) in TAKEN:
            return None
        raise refusal(error, order) or error from error
    return accepted if row else None


def _statement(pictures: Sequence[sa.Insert], subject: sa.CTE, key: Key | None) -> sa.Executable:
    keyed = key is not None
    return statements.accept_statement(subject, pictures, keyed=keyed) if pictures else statements.READY[subject, keyed]


def _assets(order: Order, subject: sa.CTE) -> list[sa.Insert]:
    """Return the inserts of new pictures; they go with the project or, without one, with the generation."""
    mine = {"user_id": order.user_id, "project_id": subject.c.id, "role": ORDERED}
    return [insert_per_row(assets, subject, **row, **mine) for row in order.new_assets]
