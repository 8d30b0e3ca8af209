"""The workers that are there, and how many generations they run at once.

heartbeat.py   a worker's row: renewed while it lives, gone when it stops, forgotten when it falls silent
"""
