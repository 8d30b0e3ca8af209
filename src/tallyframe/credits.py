"""Credits: whole numbers, and nothing else."""

from typing import NewType

Credits = NewType("Credits", int)

#: The most that one entry can move, in credits. Keeps every sum far inside a 64-bit integer.
MAX_CREDITS = 1_000_000_000


def whole_credits(amount: int) -> Credits:
    """Check `amount` (whole credits, 0 to `MAX_CREDITS`) and return it as Credits; raise TypeError or ValueError."""
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise TypeError(f"credits are whole numbers, not {amount!r}")
    if not 0 <= amount <= MAX_CREDITS:
        raise ValueError(f"credits must be between 0 and {MAX_CREDITS}, not {amount}")
    return Credits(amount)
