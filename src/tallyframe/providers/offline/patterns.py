"""Strings for simple regular expressions: literals, classes, groups, alternatives and repetitions.

Lookaheads, back references and flags are not understood. rstr knows more, but has no bound on the length of the whole,
chooses by `random`, which may choose otherwise in the next version of Python, and reads patterns by a private module.
"""

import re
import string
from collections import deque

_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]|\((?:\?:|\?P?<\w+>)?|[*+?]|\{\d+(?:,\d*)?\}|.", re.DOTALL)
_QUANTIFIER = re.compile(r"\{(\d+)(,?)(\d*)\}")
_ANCHORS = {"^", "$", r"\A", r"\Z", r"\z", r"\b", r"\B"}
_PLAIN = string.ascii_lowercase + string.digits
_OTHER = string.ascii_uppercase + " -_./:#@" + string.punctuation

#: Values that people would write; tried first. Then this many characters more than needed, per repetition.
_USUAL = (
    "en",
    "USD",
    "US",
    "en-US",
    "#336699",
    "2026-01-15",
    "09:30",
    "1.0.0",
    "sample",
    "Sample",
    "SAMPLE",
    "a-sample",
)
_MORE = (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144)


def matching(pattern: str, low: int, high: int, *, natural: str, turn: int) -> str | None:
    """Return a string of `low` to `high` characters in which the pattern is found, or None if it is too odd.

    `natural` is tried first. Another `turn` gives another string, where there is one.
    """
    usual = _USUAL if turn == 0 else ()
    try:
        candidates = [natural, *usual, *(_Speller(pattern, more, turn).spell() for more in _MORE)]
        return next((each for each in candidates if low <= len(each) <= high and re.search(pattern, each)), None)
    except re.error:  # it, or a piece of it, is not one of Python's
        return None


class _Speller:
    """Reads a pattern from left to right and writes what matches it; of alternatives, the first one."""

    def __init__(self, pattern: str, more: int, turn: int) -> None:
        self._pieces = deque(_PIECE.findall(pattern))
        self._more = more
        self._turn = turn

    def spell(self) -> str:
        """Write up to the end of the pattern, or of the group."""
        alternatives = [""]
        while self._pieces and (piece := self._pieces.popleft()) != ")":
            if piece == "|":
                alternatives.append("")
            elif piece[0] == "(":
                alternatives[-1] += self.spell() * self._times()
            else:
                times = self._times()
                alternatives[-1] += "".join(self._character(piece, number) for number in range(times))
        return alternatives[0]

    def _times(self) -> int:
        """Read the quantifier that comes next, if one does."""
        piece = self._pieces[0] if self._pieces else ""
        if piece in {"*", "+", "?"}:
            least, most = int(piece == "+"), 1 if piece == "?" else None
        elif quantifier := _QUANTIFIER.fullmatch(piece):
            least = int(quantifier[1])
            most = int(quantifier[3]) if quantifier[3] else None if quantifier[2] else least
        else:
            return 1
        self._pieces.popleft()
        if self._pieces and self._pieces[0] in {"?", "+"}:  # lazy or possessive: the same strings match
            self._pieces.popleft()
        return least + self._more if most is None else min(least + self._more, most)

    def _character(self, piece: str, number: int) -> str:
        """Write a character that the piece matches: a class is a pattern by itself."""
        if piece in _ANCHORS:
            return ""
        for alphabet in (_PLAIN, _OTHER):
            if fitting := [each for each in alphabet if re.fullmatch(piece, each)]:
                return fitting[(self._turn + number) % len(fitting)]
        return piece[-1]
