"""What a check finds."""

from uuid import UUID

#: The account, or None where it is about no single one, and what is wrong.
Issue = tuple[UUID | None, str]
