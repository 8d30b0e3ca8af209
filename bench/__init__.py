"""`python -m bench`: what this machine gets out of Tallyframe, as ratios, in one run.

__main__.py    the options, and the order of things
stack.py       real servers, API, worker and a bare FastAPI route, each a child process, all ended at the end
cast.py        users with credits and API keys; ends what they have ordered
capture.py     which SQL the API sends for an order and for a poll: taken down while it answers one of each
pgbench.py     the same SQL by pgbench, which stands for "as fast as this Postgres goes"
load.py        HTTP load, made by client.py in a process of its own
bare.py        a FastAPI route that does nothing, which stands for "as fast as this web stack goes"
measure.py     accept and poll, each against both
pickup.py      from the 202 to the moment when a worker starts
report.py      the tables
"""
