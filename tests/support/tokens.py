"""What the tests of session tokens share: their time, their parties, and a refusal that tells nothing."""

from datetime import datetime, tzinfo

import pytest

from tallyframe.accounts.session_tokens import SessionTokens
from tallyframe.errors import Unauthenticated
from tests.support.jwks import AZP

NOW = 1_800_000_000.0
PARTIES = frozenset({AZP})


class Clock:
    """Unix seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def is_pyjwts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have PyJWT, which takes no clock as an argument, look at this one."""
        clock = self

        class Dates(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> "Dates":
                return cls.fromtimestamp(clock.now, tz)

        monkeypatch.setattr("jwt.api_jwt.datetime", Dates)


async def refusal(tokens: SessionTokens, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        await tokens.verify(token)
    assert not any(part in caught.value.detail for part in token.split(".") if len(part) > 9)
    return caught.value.detail
