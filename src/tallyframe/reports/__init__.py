"""Reads for operators and for /metrics: how generations went, what waits and who works. Nothing depends on them.

figures.py   totals of all time, for /metrics
span.py      a span of time, as the range of ids that were made in it
stats.py     how a span went: numbers, shares, times, credits
failed.py    what failed in a span
load.py      what waits and who works, now
"""
