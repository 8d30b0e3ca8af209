"""What the embedded stack raises."""


class EmbeddedError(Exception):
    """Why the stack cannot go on: one line for a person, ready to print."""
