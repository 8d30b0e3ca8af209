"""What a secret looks like, and its removal from texts: for logs, error reports and what operators read."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"
#: Fields whose values are secret, whatever the values look like.
SECRET_NAMES = re.compile(r"secret|token|authorization|password|api_key|cookie|dsn", re.IGNORECASE)
#: Values that are secret wherever they stand in a text: a mark that each has inside or right in front, and the pattern.
_SECRET_TEXTS = {
    "tf_": r"tf_[0-9A-Za-z]{20,}",  # our own API keys
    "AIza": r"AIza[\w-]{20,}",  # Google's API keys, old
    "AQ.": r"\bAQ\.[\w-]{20,}",  # and new
    "ya29.": r"ya29\.[\w.-]+",  # and its access tokens
    "sk-": r"\bsk-[\w-]{16,}",  # OpenAI's API keys: of projects (sk-proj-), of service accounts, and old ones
    "whsec_": r"whsec_[\w+/=]{8,}",  # webhook secrets (Standard Webhooks)
    "sk_live_": r"sk_live_[\w+/=]{8,}",  # Clerk's keys
    "sk_test_": r"sk_test_[\w+/=]{8,}",
    "eyJ": r"eyJ[\w-]+\.[\w-]+\.[\w-]*",  # JWTs
    "earer ": r"(?<=earer )\S+",  # what follows a telling word
    "api_key:": r"(?<=api_key:)[^\s'\"]+",
    "X-Amz-Signature=": r"(?<=X-Amz-Signature=)[0-9a-fA-F]+",
    "://": r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)",  # user and password in a URL
}
_MARKS = re.compile("|".join(map(re.escape, _SECRET_TEXTS)))  # found ten times as fast as the patterns
_PATTERNS = re.compile("|".join(_SECRET_TEXTS.values()))
_SHORTEST = 8  # characters; a shorter secret would be found inside innocent words

_known: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """Add values that `hidden` removes in this process from now on; those below 8 characters are ignored."""
    _known.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def hidden(text: str) -> str:
    """Return the text with `[hidden]` in place of the secrets given to `hide`, and of what looks like a secret."""
    if not _may_hold_secret(text):
        return text
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return _PATTERNS.sub(HIDDEN, text)


def _may_hold_secret(text: str) -> bool:
    return bool(_MARKS.search(text)) or any(secret in text for secret in _known)


@lru_cache(1000)
def _is_secret(name: str) -> bool:
    return bool(SECRET_NAMES.search(name))


def is_harmless(fields: Mapping[str, Any]) -> bool:
    """Tell in one look at all texts whether `scrubbed` has nothing to hide here, as in nearly every line of a log."""
    texts = []
    for name, item in fields.items():
        if _is_secret(name):
            return False
        if isinstance(item, str):
            texts.append(item)
        elif isinstance(item, dict | list):
            return False
    return not _may_hold_secret("\n".join(texts))


def scrubbed(value: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return a copy of dicts, lists and texts without secrets: by the names of fields, and inside texts."""
    if isinstance(value, dict):
        return {
            name: HIDDEN if item is not None and _is_secret(str(name)) else scrubbed(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [scrubbed(item) for item in value]
    return hidden(value) if isinstance(value, str) else value
