"""Postgres and Redis as operators see them: what their URLs say, what their errors mean, when they are away.

parts.py (what both URLs have in common), postgres_url.py with postgres_parameters.py, redis_url.py, words.py (errors →
one line that says what to do), outage.py (one warning instead of a flood).
"""
