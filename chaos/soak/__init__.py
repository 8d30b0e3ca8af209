"""A long run without faults but for restarts: everything ends, and nothing grows. `python -m chaos.soak`."""
