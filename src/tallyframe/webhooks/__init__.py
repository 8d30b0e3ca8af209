"""Incoming webhooks: verified, stored, then applied once, however often and in whatever order they come.

base.py        what a source is: `verify` and `apply`
registry.py    the sources that are set up
receive.py     a request: verify → store → apply
apply.py       a stored event: its effects and its mark in one transaction; also for workers
received.py    the events as rows
sources/       one file per service that sends webhooks
"""
