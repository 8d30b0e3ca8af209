"""Every table, for the migrations: importing this module fills `metadata`."""

import tallyframe.accounts.tables
import tallyframe.assets.tables
import tallyframe.generations.tables
import tallyframe.ledger.tables
import tallyframe.outbox.tables
import tallyframe.projects.tables
from tallyframe.db import metadata

__all__ = ["metadata"]
