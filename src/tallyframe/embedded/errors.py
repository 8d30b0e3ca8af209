"""The error of the embedded stack."""


class EmbeddedError(Exception):
    """The stack cannot start or go on. The message is one line for a person, ready to print."""
