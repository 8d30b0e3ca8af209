"""Cursors of pages. They are opaque to clients, so that we may change their content."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Query

from tallyframe.errors import ValidationFailed
from tallyframe.pages import Page, Window

Row = TypeVar("Row")

#: The usual part of a cursor: a row's id.
by_id = itemgetter("id")

Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=300, description="`next_cursor` of the page before.")]


def cut(
    rows: Sequence[Row], limit: int, *parts_of: Callable[[Row], str | int | UUID]
) -> tuple[Sequence[Row], str | None]:
    """Cut up to `limit + 1` rows to a page. Return it with the cursor of the next page, if there is a row beyond.

    `parts_of`: each gives a part of a row's cursor, which `decode` reads again.
    """
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode(*(part if isinstance(part := of(last), int) else str(part) for of in parts_of))


def window(cursor: str | None, limit: int) -> Window:
    """Return the part of a list that comes after the cursor. Raises ValidationFailed."""
    before = decode(cursor, UUID)
    return Window(before[0] if before else None, limit)


def after(page: Page) -> str | None:
    """Return the cursor of the page after this one; None if it is the last."""
    return encode(str(page.last)) if page.last else None


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
