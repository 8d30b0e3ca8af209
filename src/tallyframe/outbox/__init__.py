"""Wake-up calls that can't get lost: a row written with the work, and removed by whoever takes the work up.

tables.py   the row, and which rows share one wake-up
rows.py     what writes and removes it, in the caller's statement
relay.py    rows → Redis: one wake-up for all generations, an arq job for each other row
jobs.py     arq's worker, which runs those jobs
"""
