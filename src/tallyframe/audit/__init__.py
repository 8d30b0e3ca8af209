"""The auditor: checks, again and again, that what must always be true is true.

base.py         what an invariant is, what it looks at, what it finds
looking.py      looking once, and looking again, so that what is just under way is no violation
money.py        balances, chains, debits, refunds, guards: what the ledger's own checks find
live.py         generations that are under way: somebody has them, or will be woken for them
receipts.py     generations that have ended: there is a result or an error, and the project shows it
steps.py        orders at vendors: what nobody looks after any more, and what is in doubt
files.py        no asset row without its bytes
uploads.py      files of uploads that have no row
invariants.py   all of them, in the order in which they are shown
rows.py         what the latest checks have found, kept in Postgres
run.py          checks what is due; of all workers, one at a time
"""
