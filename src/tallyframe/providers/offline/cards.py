"""Test cards: orders to the offline provider that stand in the prompt."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tallyframe.errors import FailureCode, ProviderError

MAX_SECONDS = 600.0  # longer delays and hangs are cut to this

_CARD = re.compile(
    r"\[(fail|flaky|delay|hang|empty|refuse|cut|malformed|ignore-schema)(?::([^\[\]]*))?\]", re.IGNORECASE
)
_KNOWN = (
    f"The test cards are [fail:CODE] with one of {', '.join(FailureCode)}; [flaky:TRIES], [delay:SECONDS], "
    "[hang:SECONDS] and [empty]; for text and vision also [refuse], [cut], [malformed] and [ignore-schema]."
)


@dataclass(frozen=True, slots=True)
class Cards:
    """What a prompt asks for, and what the cards in it order."""

    prompt: str  # without the cards
    fail: FailureCode | None = None
    flaky: int = 0  # this many tries fail first
    delay: float | None = None  # seconds from the order to the result
    hang: float = 0.0  # seconds until the order is answered at all
    empty: bool = False
    # Of text and vision; for media these do nothing.
    refuse: bool = False
    cut: bool = False
    malformed: bool = False
    ignore_schema: bool = False

    def check_try(self, attempt: int) -> None:
        """Raise a retryable ProviderError if this try, counted from 1, is one that a flaky card fails."""
        if attempt <= self.flaky:
            raise ProviderError(FailureCode.PROVIDER_UNAVAILABLE, retryable=True, operator_message="Test card [flaky].")

    def check_verdict(self) -> None:
        """Raise the final ProviderError that a fail or an empty card orders, if there is one."""
        if self.fail is not None:
            raise ProviderError(self.fail, operator_message=f"Test card [fail:{self.fail}].")
        if self.empty:
            raise ProviderError(
                FailureCode.PROVIDER_REJECTED,
                "The provider returned no result.",
                operator_message="Test card [empty].",
            )


def read_cards(prompt: str) -> Cards:
    """Take the cards out of a prompt. Of two of a kind the later counts.

    Raises ProviderError (invalid_input) for a card whose value makes no sense.
    """
    orders: dict[str, Any] = {}
    for card in _CARD.finditer(prompt):
        name, value = card[1].lower(), (card[2] or "").strip().lower()
        try:
            orders[name.replace("-", "_")] = _READERS[name](value)
        except ValueError:
            # The value is part of the prompt, which an error never carries: so it is not quoted here.
            raise ProviderError(FailureCode.INVALID_INPUT, f"This [{name}] card is not valid. {_KNOWN}") from None
    return Cards(prompt=" ".join(_CARD.sub(" ", prompt).split()), **orders)


def _seconds(value: str) -> float:
    seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError
    return min(seconds, MAX_SECONDS)


def _count(value: str) -> int:
    count = int(value)
    if count < 0:
        raise ValueError
    return count


def _nothing(value: str) -> bool:
    if value:
        raise ValueError
    return True


_READERS: dict[str, Callable[[str], object]] = {
    "fail": FailureCode,
    "flaky": _count,
    "delay": _seconds,
    "hang": _seconds,
    "empty": _nothing,
    "refuse": _nothing,
    "cut": _nothing,
    "malformed": _nothing,
    "ignore-schema": _nothing,
}
