"""The memory of verified session tokens, so that a client that polls does not cost a signature check each time."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from tallyframe.accounts.identity import Identity

MOST_TOKENS = 10_000
SECONDS = 60.0


class TokenMemory:
    """Identities by the SHA-256 of their tokens: the tokens themselves are not kept. `now` gives Unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._identities: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()

    def recall(self, token: str) -> Identity | None:
        """Return whom the token names, if it was verified within the last 60 s and has not expired."""
        digest = _digest(token)
        identity, until = self._identities.get(digest, (None, 0.0))
        if identity is not None and self._now() >= until:
            del self._identities[digest]
            return None
        if identity is not None:
            self._identities.move_to_end(digest)
        return identity

    def remember(self, token: str, identity: Identity, expires_at: float) -> None:
        """Keep what was verified; when the memory is full, forget the token that was used longest ago."""
        self._identities[_digest(token)] = (identity, min(expires_at, self._now() + SECONDS))
        if len(self._identities) > MOST_TOKENS:
            self._identities.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("ascii")).digest()
