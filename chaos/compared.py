"""What a check yields: a line for each thing that it has really compared, empty where all is well.

So a check that had nothing to look at is told from one that has found nothing.
"""


def expect(holds: bool, words: str) -> str:  # noqa: FBT001  # reads like a sentence
    """Return the words unless it holds."""
    return "" if holds else words
