"""① Fields become an order, on the terms that are in force here. ② It is accepted by ONE statement, all or nothing.

That statement writes project, pictures, generation, debit and outbox row; `statements.py` puts it together.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tallyframe.assets.tables import ORDERED, assets
from tallyframe.credits import Credits
from tallyframe.db import Database, insert_per_row
from tallyframe.errors import InsufficientCredits, ValidationFailed
from tallyframe.generations.accept import statements
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Key
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.lost import constraint, sqlstate
from tallyframe.operations.base import MAIN, Operation, Operations, OrderLimits
from tallyframe.projects.tables import project_images
from tallyframe.providers.base import Offers

#: What refuses a second live generation of a slot, and a second order in place of the same failed one.
TAKEN = frozenset({"uq_generations_one_live_per_slot", "uq_generations_replaces_id"})


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
    pictures: frozenset[UUID] = frozenset()  # those that it names, which must be there when it is accepted


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


class Buyer(Protocol):
    """Who pays."""

    @property
    def id(self) -> UUID:
        """The user's id."""
        ...

    @property
    def account_id(self) -> UUID:
        """The user's credit account."""
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """The operations that are served here, what their providers make, and the limits. `prices` has credits by name."""

    operations: Operations
    offers: Offers
    prices: Mapping[str, int]
    limits: OrderLimits
    max_active: int  # generations of one user that have not ended
    max_age: timedelta  # from acceptance to `expired`

    def operation(self, name: str, *, pointer: str) -> Operation[Any]:
        """Return the operation of that name. Raises ValidationFailed where there is none."""
        if name not in self.operations:
            names = ", ".join(self.operations)
            raise ValidationFailed(f"There is no operation {name!r} here. There are: {names}.", pointer=pointer)
        return self.operations[name]

    def order(
        self, buyer: Buyer, operation: Operation[Any], fields: Mapping[str, Any], *, again: bool = False
    ) -> Order:
        """Return the order that these fields ask for.

        `again`: they are the input that an order was kept with, which may be placed again if it can still be made.
        Raises ValidationFailed and pydantic's ValidationError; Internal for an order that a worker could not read.
        """
        if again:
            order = operation.from_json(fields)
            operation.check(order, self.offers, self.limits)
        else:
            order = operation.accept(fields, self.offers, self.limits)
        return Order(
            user_id=buyer.id,
            account_id=buyer.account_id,
            operation=operation.name,
            slot=operation.slot,
            input=operation.to_json(order),
            credits=operation.price(order, self.prices),
            max_active=self.max_active,
            max_age=self.max_age,
        )


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
        **{f"order_{name}": getattr(order, name) for name in statements.ORDER},
        "user_id": order.user_id,
        "room_for": 1,
        "max_active": order.max_active,
        "max_age": order.max_age,
        "pictures": list(order.pictures),
        **wanted,
        **(key.parameters() if key else {}),
    }
    try:
        row = (await db.run(statement, parameters)).one_or_none()
    except DBAPIError as error:
        keys.refuse_if_taken(error)
        if constraint(error) in TAKEN:
            return None
        raise entries.insufficient_credits(error, order.credits) or error from error
    return accepted if row else None


def _statement(pictures: Sequence[sa.Insert], subject: sa.CTE, key: Key | None) -> sa.Executable:
    keyed = key is not None
    return statements.accept_statement(subject, pictures, keyed=keyed) if pictures else statements.READY[subject, keyed]


def _assets(order: Order, subject: sa.CTE) -> list[sa.Insert]:
    """Return the inserts of new pictures; they go with the project or, without one, with the generation."""
    mine = {"user_id": order.user_id, "project_id": subject.c.id, "role": ORDERED}
    return [insert_per_row(assets, subject, **row, **mine) for row in order.new_assets]
