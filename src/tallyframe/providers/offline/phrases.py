"""Plain words for a field of an answer, made from the prompt, from the field's name and, for pictures, from facts."""

import hashlib
import re
from collections.abc import Sequence

from tallyframe.providers.offline.looking import Seen

Path = tuple[str | int, ...]  # to a place in the answer: names of fields and positions in lists

_TOPIC = 60  # characters of the prompt that a sentence quotes
_WORD = 24  # a text that may have no more characters than this is one word or two
_LINE = 80  # one that may have no more than this is a line, without a full stop
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\s]+")

_WORDS = {"category", "color", "colour", "keyword", "keywords", "label", "material", "tag", "tags", "word", "words"}
_EMPTY_WORDS = {"and", "are", "for", "from", "its", "that", "the", "this", "with"}
_LINES = {"headline", "name", "subject", "title"}
_CODES = {"country": "US", "currency": "USD", "language": "en", "locale": "en-US"}
_SENTENCES = ("A sample {label} for '{topic}'.", "'{topic}': sample {label}.", "Sample {label}, about '{topic}'.")
_FILLER = "This is sample text, made offline."


class Phrases:
    """Writes for one task. The same prompt and the same facts always give the same words."""

    def __init__(self, prompt: str, seen: Sequence[Seen] = ()) -> None:
        clean = _clean(prompt)
        self._key = hashlib.sha256("\n".join([clean, *map(str, seen)]).encode()).digest()
        first = re.split(r"[.!?]\s|[\r\n]", prompt.strip(), maxsplit=1)[0]
        self._topic = _cut(_clean(first), 0, _TOPIC).rstrip(" .,;:!?") or "nothing"
        found = [word for word in re.findall(r"\w{3,}", clean[:1000]) if word not in _EMPTY_WORDS]
        self._words = list(dict.fromkeys([*(word for each in seen for word in each.words), *found])) or ["sample"]
        self._said = [f"picture {number} of {len(seen)}: {each}" for number, each in enumerate(seen, 1)]
        self._seen = seen

    def dice(self, path: Path) -> int:
        """Return a large number that depends on the task and the place, and on nothing else."""
        return int.from_bytes(hashlib.sha256(self._key + repr(path).encode()).digest()[:8])

    def word(self, turn: int) -> str:
        """Return the word number `turn`, counted from 0; no two are the same."""
        again, number = divmod(turn, len(self._words))
        return f"{self._words[number]} {again + 1}" if again else self._words[number]

    def facts(self, turn: int) -> tuple[str, ...]:
        """Return what is true, in one word each, of the picture number `turn`, counted from 0 and then again."""
        return self._seen[turn % len(self._seen)].words if self._seen else ()

    def text(self, path: Path, description: str, low: int, high: int) -> str:
        """Return words for the field at `path`, with `low` to `high` characters and no space at either end."""
        name = next((each for each in reversed(path) if isinstance(each, str)), "text")
        turn = turn_of(path)
        number = f" {turn + 1}" if any(isinstance(each, int) for each in path) else ""
        label = name.replace("_", " ") + number
        fact = self._said[turn % len(self._said)] if self._said else ""
        if name in _CODES:
            return _fit(_CODES[name], low, high)
        if high <= _WORD or name in _WORDS:
            return _fit(self.word(turn), low, high)
        if high <= _LINE or name in _LINES:
            return _fit(f"{label.capitalize()}: {fact.partition(': ')[2] or self._topic}", low, high)
        opening = _SENTENCES[self.dice(path) % len(_SENTENCES)].format(label=label, topic=self._topic)
        asked = f"Asked for: {description.rstrip('.')}." if description else ""
        said = [f"{fact.capitalize()}." if fact else "", opening, asked]
        return _fit(" ".join(filter(None, said)), low, high)


def turn_of(path: Path) -> int:
    """Return the position in the innermost list around a place, or 0."""
    return next((each for each in reversed(path) if isinstance(each, int)), 0)


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text).strip()


def _fit(text: str, low: int, high: int) -> str:
    while len(text) < low:
        text = f"{text} {_FILLER}"
    return _cut(text, low, high)


def _cut(text: str, low: int, high: int) -> str:
    """Cut behind a word if `low` allows it, else within."""
    if len(text) <= high:
        return text
    space = text.rfind(" ", max(low, 1), high + 1)
    if space <= 0:
        return text[:high].removesuffix(" ").ljust(low, ".")
    whole = text[:space].rstrip(" ,;:")
    return whole if len(whole) >= low else text[:space]
