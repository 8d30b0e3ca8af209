"""Wake-up calls that can't get lost: a row written with the work, and removed by whoever takes the work up.

put.py      the row, in the caller's transaction
relay.py    rows → arq; the only place besides the worker that knows arq
"""
