"""Cursors of pages. They are opaque to clients, so that we may change their content."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query

from tallyframe.errors import ValidationFailed

Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=300, description="`next_cursor` of the page before.")]


def encode(*parts: str | int) -> str:
    """Return a cursor that holds these parts."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode(cursor: str | None, *kinds: Any) -> Any:  # noqa: ANN401  # one value per kind
    """Return the parts of a cursor, each converted by its kind; None without a cursor. Raises ValidationFailed."""
    if cursor is None:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return tuple(kind(part) for kind, part in zip(kinds, parts, strict=True))
    except (ValueError, TypeError, AttributeError, OverflowError, binascii.Error):
        raise ValidationFailed("This cursor is not one of ours.", pointer="/cursor") from None


def number(part: object) -> int:
    """Return a part that is a positive 64-bit integer. Raises ValueError."""
    if type(part) is not int or not 0 < part < 2**63:
        raise ValueError("not a positive 64-bit integer")
    return part


def moment(part: str) -> datetime:
    """Return a part that is a time with a zone, in UTC. Raises ValueError, or OverflowError if UTC has no such time."""
    time = datetime.fromisoformat(part)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time.astimezone(UTC)
