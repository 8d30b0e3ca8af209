"""The database: pools of connections, and the only code that commits.

`transaction()` for several statements that stand or fall together, `run()` for one statement that is its own
transaction, `call()` for one of a hot path (one round trip), `reading()` for reads. Lower functions take a
`Transaction` or `Reader` and never commit. `as_user(user)` gives the same database with only that user's rows in it.
`LaggingReads` are of a replica, where there is one.
"""

from tallyframe.db.database import Database, Reader, Transaction, fetch_records, retry_while_unavailable
from tallyframe.db.parts import insert_per_row, literal_number, with_writes
from tallyframe.db.replica import LaggingReads, Replica
from tallyframe.db.statements import USER_SETTING, AnyRow, ForMany, Statement

__all__ = [
    "ADMIN_ROLE",
    "API_ROLE",
    "USER_SETTING",
    "WEBHOOKS_ROLE",
    "WORKER_ROLE",
    "AnyRow",
    "Database",
    "ForMany",
    "LaggingReads",
    "Reader",
    "Replica",
    "Statement",
    "Transaction",
    "fetch_records",
    "insert_per_row",
    "literal_number",
    "retry_while_unavailable",
    "with_writes",
]

#: Who a process acts as; the login role must be a member. None can change the past. What each may do, and which rows
#: it sees, is in the migrations: the API only those of the user it acts for, the others everybody's.
API_ROLE, WORKER_ROLE, ADMIN_ROLE = "tallyframe_api", "tallyframe_worker", "tallyframe_admin"
#: Who a worker acts as while it applies webhooks: what their sources may change, and nothing else.
WEBHOOKS_ROLE = "tallyframe_webhooks"
