"""Digests: all heads with a root over them, for a place outside of the database; and the comparison with one."""
