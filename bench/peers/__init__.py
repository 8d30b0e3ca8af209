"""What Tallyframe is compared with, in the same run: on the same servers, over the same web server, by the same client.

bare.py       a FastAPI route that does nothing: the speed limit of this web stack
pgbench.py    the SQL of an order by pgbench: the speed limit of this Postgres
usual/        the same service as it is usually written
queue.py      arq with its defaults: how soon a job starts, and how fast jobs that do nothing are drained
"""
