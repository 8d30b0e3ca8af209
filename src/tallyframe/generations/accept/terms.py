"""① What can be ordered here, and on which terms: fields become an order with a price. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from tallyframe.errors import Internal, ValidationFailed
from tallyframe.generations.accept.submit import Order
from tallyframe.operations.base import Operation, Operations, OrderLimits
from tallyframe.providers.base import Offers, dump, load


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

    def accept(
        self, buyer: Buyer, operation: Operation[Any], fields: Mapping[str, Any], *, again: bool = False
    ) -> Order:
        """Return the order that these fields ask for.

        `again`: they are the input that an order was kept with, which may be placed again if it can still be made.
        Raises ValidationFailed and pydantic's ValidationError; Internal for an order that a worker could not read.
        """
        if again:
            order = load(operation.Input, dict(fields))
            operation.check(order, self.offers, self.limits)
        else:
            order = operation.accept(fields, self.offers, self.limits)
        try:
            kept = dump(order, by_alias=True)
        except ValueError:  # a mistake in the operation's model: nothing is debited for what would fail
            raise Internal(f"The fields of {operation.name!r} are not the same when they are read back.") from None
        return Order(
            user_id=buyer.id,
            account_id=buyer.account_id,
            operation=operation.name,
            slot=operation.slot,
            input=kept,
            credits=operation.price(order, self.prices),
            max_active=self.max_active,
            max_age=self.max_age,
        )
