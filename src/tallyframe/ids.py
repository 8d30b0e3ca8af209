"""Ids: UUID version 7 (RFC 9562), so that they sort by time."""

import uuid_utils.compat

#: Returns a new id, made from the clock and the system's secure randomness.
new_id = uuid_utils.compat.uuid7
