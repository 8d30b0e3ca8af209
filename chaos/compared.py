"""What a check yields: a line per comparison, empty if it holds, otherwise the violation in words.

So a check that had nothing to compare differs from one that has found no violation.
"""


def expect(holds: bool, words: str) -> str:  # noqa: FBT001  # reads like a sentence
    """Return an empty line if it holds, otherwise the words."""
    return "" if holds else words
