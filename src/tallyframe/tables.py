"""Every table, for the migrations: importing this module fills `metadata`."""

from tallyframe.accounts import tables as accounts
from tallyframe.admin import tables as admin
from tallyframe.assets import tables as assets
from tallyframe.audit import tables as audit
from tallyframe.calls import tables as calls
from tallyframe.columns import metadata
from tallyframe.generations import tables as generations
from tallyframe.idempotency import tables as idempotency
from tallyframe.ledger import tables as ledger
from tallyframe.outbox import tables as outbox
from tallyframe.projects import tables as projects
from tallyframe.reports import tables as reports
from tallyframe.webhooks import tables as webhooks
from tallyframe.workers import tables as fleet

MODULES = (
    accounts,
    admin,
    assets,
    audit,
    calls,
    fleet,
    generations,
    idempotency,
    ledger,
    outbox,
    projects,
    reports,
    webhooks,
)

__all__ = ["MODULES", "metadata"]
