"""Every operation that can be bought, by name."""

from typing import Any

from tallyframe.operations.base import Operation
from tallyframe.operations.image import Image
from tallyframe.operations.video import Video

Operations = dict[str, Operation[Any]]


def operations() -> Operations:
    """Return a fresh table of the operations."""
    return {operation.name: operation for operation in (Image(), Video())}
