"""Events of webhooks: each is applied soon after it came."""

import sqlalchemy as sa

from tallyframe.audit.base import Finding, Invariant, View
from tallyframe.audit.looking import ago, counted, look, words
from tallyframe.webhooks.tables import webhook_events

#: Seconds in which workers have tried to apply an event half a dozen times.
PATIENCE = 3600.0

_row = webhook_events.c


class WebhooksAreApplied(Invariant):
    """A stored event that nobody has been able to apply: a bug, or a sender that has changed its form."""

    name = "webhooks_are_applied"
    meaning = "No event of a webhook waits for longer than an hour to be applied."

    async def check(self, view: View) -> Finding:
        """Look."""
        waits = sa.and_(_row.status == "received", _row.received_at < ago(PATIENCE))
        detail = words("%s of %s, tried %s times: %s", _row.type, _row.source, _row.attempts, _row.error)
        return await look(view, counted(webhook_events), sa.select(_row.id, detail).where(waits))
