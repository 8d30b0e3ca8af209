"""① Price an order, pure."""

from collections.abc import Mapping

from pydantic import BaseModel

from tallyframe.credits import Credits
from tallyframe.operations.base import Operation


def quote(operation: Operation[BaseModel], order: BaseModel, prices: Mapping[str, int]) -> Credits:
    """Return what this order costs, in credits; the very figure that submit debits."""
    return operation.price(order, prices)
