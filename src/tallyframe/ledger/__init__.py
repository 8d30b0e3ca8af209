"""The books. One insert moves money, the database does the arithmetic, and nothing here can be changed afterwards.

entries.py   what to insert: grants, debits, refunds
history.py   what is read: balance figures, the list of entries
verify.py    the audit: every check by its name, examined or streamed
  checks.py    those that are one query
  chain.py     the hashes, worked out again in Python
  guards.py    triggers, functions, policies and constraints, as they must be
  snapshot.py  one moment for all of it
digest.py    all heads with a root over them, for a place outside of the database
  files.py     as a file; daily.py: one every day
  held.py      the books held against a digest, which held_file.py reads

The tables are private to this package; the trigger that guards them is in the first migration.
"""
