"""The workers that are alive, and how many generations each runs at once.

heartbeat.py   a worker's row: renewed while it lives, removed when it stops or falls silent
"""
