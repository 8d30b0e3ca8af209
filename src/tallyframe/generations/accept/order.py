"""① Fields become an order, on the terms that are in force here. ② It is accepted by ONE statement, all or nothing.

That statement writes project, generation, debit and outbox row; `statements.py` puts it together. Where what is written
tells all of the answer but the times, it keeps the answer with the request's key, too, and it is all in one round trip.
Orders that take more are in `submit.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from tallyframe.credits import Credits
from tallyframe.db import Database
from tallyframe.errors import TallyframeError, ValidationFailed
from tallyframe.generations.accept import statements
from tallyframe.generations.queries import Row
from tallyframe.generations.states import Status
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Kept, Key
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.lost import REFUSED, constraint
from tallyframe.operations.base import MAIN, Operation, Operations, OrderLimits
from tallyframe.providers.base import Offers

#: What a request is answered with, in JSON values, and what makes it of a row as polls read it.
Answer = dict[str, Any]
Show = Callable[[Row], Answer]


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
    answer: Answer | None = None  # what the request is answered with, where that is known


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


#: What refuses an order that has been accepted already: primary keys, whose ids we have made.
_OURS = frozenset({"pk_projects", "pk_generations"})


async def submit_fresh(
    db: Database, order: Order, project: NewProject | None, key: Key | None, show: Show
) -> Accepted | Kept | None:
    """Accept the order, which brings no new pictures, nor any for its project; or find what is kept under the key.

    None: too many generations are active, or a picture is gone. Raises InsufficientCredits, RequestInProgress where the
    key has just been taken, and IdempotencyKeyReused.
    """
    accepted = Accepted(new_id() if project else None, new_id())
    parameters = order_parameters(accepted, order)
    parameters |= {name: getattr(project, name) for name in statements.PROJECT} if project else {}
    answer = show(_row(accepted, order, project))
    if key:
        parameters |= key.parameters() | {"answer": answer}
    try:
        outcome = await db.find(statements.FRESH[project is not None, key is not None], **parameters)
    except REFUSED as error:
        if constraint(error) in _OURS:  # it was accepted when it was sent first, over a connection that was lost
            return accepted
        raise refusal(error, order) or error from error
    if outcome is None:
        return None
    if key and outcome.fingerprint and outcome.ref:
        key.check(outcome.fingerprint)
        return Kept(outcome.ref, outcome.answer)
    answer |= {"created_at": outcome.created_at or outcome.accepted_at}
    if project:
        answer["updated_at"], answer["generation"]["created_at"] = outcome.updated_at, outcome.accepted_at
    return Accepted(accepted.project_id, accepted.generation_id, answer)


def _row(accepted: Accepted, order: Order, project: NewProject | None) -> Row:
    """Return what the first poll would read, but for the times."""
    row: dict[str, Any] = {
        "generation_id": accepted.generation_id,
        "generation_project_id": accepted.project_id,
        "generation_operation": order.operation,
        "generation_metadata": order.metadata,
        "generation_status": Status.PENDING.value,
        "generation_step": "queued",
        "generation_attempt": 0,
        "generation_credits": order.credits,
        "generation_charged": order.credits,
        "generation_refunded": 0,
        **dict.fromkeys(_NOT_YET),
        **dict.fromkeys(_TIMES, _UNKNOWN),
    }
    if project:
        row |= {"id": accepted.project_id, **{name: getattr(project, name) for name in statements.PROJECT}}
        row |= {"status": Status.PENDING.value, "status_sequence": 1, "is_published": False}
    return row


_NOT_YET = (
    *(f"generation_{name}" for name in ("output", "provider", "model", "error_code", "error_message", "outputs")),
    *("generation_started_at", "generation_finished_at", "images", "media"),
)
#: These the statement fills in.
_TIMES = ("created_at", "updated_at", "generation_created_at")
_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)


def order_parameters(accepted: Accepted, order: Order) -> dict[str, Any]:
    """Return the parameters that all statements for one order take."""
    return {
        "project_id": accepted.project_id,
        "generation_id": accepted.generation_id,
        "entry_id": new_id(),
        **{f"order_{name}": getattr(order, name) for name in statements.ORDER},
        "user_id": order.user_id,
        "room_for": 1,
        "max_active": order.max_active,
        "max_age": order.max_age,
        "pictures": list(order.pictures),
    }


def refusal(error: Exception, order: Order) -> TallyframeError | None:
    """Return what to say of a refused order; None where it is no refusal. Raises RequestInProgress."""
    keys.refuse_if_taken(error)
    return entries.insufficient_credits(error, order.credits)
