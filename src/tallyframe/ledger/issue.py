"""What a check finds."""

from uuid import UUID

#: An account, or None when it is about no single one, and a sentence that says what is wrong.
Issue = tuple[UUID | None, str]
