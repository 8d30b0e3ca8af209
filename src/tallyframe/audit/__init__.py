"""The auditor: workers check the invariants at intervals.

base.py         what an invariant is, what a check works with, what it finds
looking.py      looking once, and looking again, so that what a sweep is putting right is no violation
money.py        balances, chains, debits, refunds, guards: by the ledger's own checks
live.py         generations that are under way: a worker has each, or will be woken for it
receipts.py     generations that have ended: there is a result or an error, and the project shows it
steps.py        orders at vendors: those that nobody looks after any more, those placed twice, and those in doubt
erased.py       what was deleted: nothing is left of it
files.py        no asset row without its bytes
uploads.py      files of uploads that have no row
invariants.py   all of them, in the order in which they are shown
rows.py         what the latest checks have found, kept in Postgres
run.py          checks what is due; one worker at a time
"""
