"""Every operation that can be bought, by name."""

from tallyframe.operations.base import Operations
from tallyframe.operations.image import Image
from tallyframe.operations.video import Video


def operations() -> Operations:
    """Return a fresh table of the operations."""
    return {operation.name: operation for operation in (Image(), Video())}
