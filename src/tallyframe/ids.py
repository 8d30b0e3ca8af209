"""Ids: UUID version 7, so that they sort by time."""

from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    """Return a new UUIDv7 (RFC 9562), made from the clock and the system's secure randomness."""
    return uuid_utils.compat.uuid7()
