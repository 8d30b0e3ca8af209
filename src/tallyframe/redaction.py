"""What a secret looks like, and its removal from texts: for logs, error reports and what operators read."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

HIDDEN = "[hidden]"
#: Fields whose values are secret, whatever the values look like.
SECRET_NAMES = re.compile(r"secret|token|authorization|password|api_key|cookie|dsn", re.IGNORECASE)
#: Values that are secret wherever they stand in a text.
SECRET_TEXTS = re.compile(
    r"tf_[0-9A-Za-z]{20,}"  # our own API keys
    r"|AIza[\w-]{20,}|\bAQ\.[\w-]{20,}|ya29\.[\w.-]+"  # Google's API keys, old and new, and its access tokens
    r"|\bsk-[\w-]{16,}"  # OpenAI's API keys: of projects (sk-proj-), of service accounts, and old ones
    r"|(?:whsec|sk_live|sk_test)_[\w+/=]{8,}"  # webhook secrets (Standard Webhooks) and Clerk's keys
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # JWTs
    r"|(?<=earer )\S+|(?<=api_key:)[^\s'\"]+|(?<=X-Amz-Signature=)[0-9a-fA-F]+"  # what follows a telling word
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user and password in a URL
)
_SHORTEST = 8  # characters; a shorter secret would be found inside innocent words

_known: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """Add values that `hidden` removes in this process from now on; those below 8 characters are ignored."""
    _known.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def hidden(text: str) -> str:
    """Return the text with `[hidden]` in place of the secrets given to `hide`, and of what looks like a secret."""
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return SECRET_TEXTS.sub(HIDDEN, text)


@lru_cache(1000)
def _is_secret(name: str) -> bool:
    return bool(SECRET_NAMES.search(name))


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
