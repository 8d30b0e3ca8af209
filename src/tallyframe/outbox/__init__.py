"""Rows that say that work is to be done: written with the work, removed when a worker has taken it up or done it.

tables.py   the row, and which rows share one wake-up
rows.py     what writes and removes it, in the caller's statement
relay.py    rows → Redis: one wake-up for all generations, an arq job for each other row
jobs.py     arq's worker, which runs those jobs
spoiled.py  takes out of Redis what can't be ours
"""
