"""Give or take credits: one ledger entry and one line in the log, in ONE statement."""

from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tallyframe.accounts.tables import users
from tallyframe.admin.log import Action, Decision, Subject, audit_entry
from tallyframe.credits import MAX_CREDITS
from tallyframe.db import Database, with_writes
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Key
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.ledger.history import Entry


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Credits to give to a user, or to take where `amount` is negative; by whom and why. Raises ValueError."""

    user_id: UUID
    amount: int
    decision: Decision

    def __post_init__(self) -> None:
        """Check the amount, which comes from outside."""
        if isinstance(self.amount, bool) or not 0 < abs(self.amount) <= MAX_CREDITS:
            raise ValueError(f"an adjustment gives or takes 1 to {MAX_CREDITS} credits, not {self.amount!r}")


async def adjust(db: Database, wanted: Adjustment, key: Key | None = None) -> Entry | None:
    """Post the adjustment and return its entry; keep the key of the request. None: no such user, or a deleted one.

    Raises InsufficientCredits when it takes more than there is, and RequestInProgress when the key is taken.
    """
    alive = (users.c.id == wanted.user_id) & users.c.deleted_at.is_(None)
    user = sa.select(users.c.id).where(alive).cte("beneficiary")
    entry_id = new_id()
    entry = entries.adjustment(user, entry_id, wanted.amount, reason=wanted.decision.reason).cte("entry")
    details = {"amount": wanted.amount, "entry_id": str(entry_id)}
    log = audit_entry(wanted.decision, Action.ADJUST_CREDITS, entry, Subject(wanted.user_id), details)
    kept = [keys.keep_with(entry, key, entry_id)] if key else []
    try:
        with keys.in_progress_when_taken():
            row = (await db.run(with_writes(sa.select(entry), log, *kept))).one_or_none()
    except DBAPIError as error:
        refused = entries.insufficient_credits(error, -wanted.amount)
        if refused:
            refused.detail = f"{-wanted.amount} credits can't be taken: {refused.data['available']} are available."
        raise refused or error from error
    return Entry(*row) if row else None
