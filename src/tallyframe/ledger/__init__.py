"""The books. One insert moves money, the database does the arithmetic, and nothing here can be changed afterwards.

entries.py   what to insert: grants, debits, refunds
history.py   what a user sees: balance figures, the list of entries
verify.py    the audit: every balance, chain, refund and debit worked out again from scratch

The tables are private to this package; the trigger that guards them is in the first migration.
"""
