"""The HTTP edge: parse → one call → serialise. With `main.py`, the only place that knows FastAPI."""
