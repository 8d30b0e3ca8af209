"""`python -m bench`: the speed of Tallyframe on this machine, as ratios to peers, in one run.

__main__.py    the options, and the order of the scenarios
scenarios/     a file per topic, each yielding rows; __init__.py lists all
peers/         what Tallyframe is compared with
rows.py        a row of the result, and its target
rounds.py      subject and peers take turns
stack.py       real servers, and child processes that end with their blocks
site.py        an installation on them: a database, a Redis, API and worker
cast.py        users with credits and API keys
fill.py        a database as years of use would fill it; grown.py serves one
capture.py     records the SQL that the API sends for an order
load.py        HTTP load, made by client.py in a process of its own; orders.py has the requests
worker.py      the product's worker, with a vendor that takes no time; notes.py has the times that it writes down
report.py      lines on the terminal, and JSON
docs.py        docs/performance.md and its curves (svg.py) from that JSON
"""
