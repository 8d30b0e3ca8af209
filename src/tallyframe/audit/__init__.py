"""The auditor: checks, again and again, that what must always be true is true."""
