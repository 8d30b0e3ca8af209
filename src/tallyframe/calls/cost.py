"""What a call costs at the vendor, in whole millionths of a US dollar, never a float."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Protocol

from tallyframe.providers.base import Usage


class Price(Protocol):
    """US dollars per million tokens that go in and come out, and per second of video."""

    @property
    def input(self) -> Decimal:
        """Per million input tokens."""
        ...

    @property
    def output(self) -> Decimal:
        """Per million output tokens."""
        ...

    @property
    def second(self) -> Decimal:
        """Per second of video."""
        ...


#: The greatest number that a BIGINT column can hold.
MOST = 2**63 - 1

Prices = Mapping[str, Price]  # by model


def cost_micros(price: Price, usage: Usage) -> int | None:
    """Return the cost in millionths of a US dollar; None when the usage isn't known."""
    if (usage.input_tokens, usage.output_tokens, usage.seconds) == (None, None, None):
        return None
    tokens = price.input * (usage.input_tokens or 0) + price.output * (usage.output_tokens or 0)
    video = price.second * Decimal(str(usage.seconds or 0)) * 1_000_000
    micros = int((tokens + video).quantize(Decimal(1), ROUND_HALF_UP))
    return micros if micros <= MOST else None
