"""`python -m bench`: throughput and latency of Tallyframe on this machine, as ratios, in one run.

__main__.py    the options, and the order of the measurements
stack.py       real servers, API, worker and a bare FastAPI route, each a child process, all ended at the end
cast.py        users with credits and API keys; ends their orders
capture.py     records the SQL that the API sends for an order and for a poll
pgbench.py     the same SQL by pgbench: the speed limit of this Postgres
load.py        HTTP load, made by client.py in a process of its own
bare.py        a FastAPI route that does nothing: the speed limit of this web stack
measure.py     accept and poll, each compared with both limits
pickup.py      from the 202 to the start of the run
report.py      the tables
"""
