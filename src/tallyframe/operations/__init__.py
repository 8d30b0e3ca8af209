"""What can be bought: one file per operation, one line per operation in `registry.py`."""
