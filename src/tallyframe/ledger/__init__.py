"""The books. One insert moves money, the database does the arithmetic, and no entry can be changed afterwards.

entries.py   what to insert: grants, debits, refunds, adjustments
history.py   what is read: balance figures, the list of entries, charges and refunds of generations
verify.py    the audit: every check by its name, examined or streamed
  checks.py    the checks that are one query
  chain.py     the hashes, worked out again in Python
  guards.py    the triggers, functions, policies and constraints, compared with what they must be
  catalog.py   the query that reads them
  snapshot.py  the books as of one moment, for all of it
  issue.py     what a check finds
digest/      all heads with a root over them, for a place outside of the database

The tables are private to this package; the trigger that guards them is in the first migration.
"""
