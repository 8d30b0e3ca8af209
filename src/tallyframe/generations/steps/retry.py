"""When to try again after a failure that may pass. Pure, and the only retry policy there is."""

from dataclasses import dataclass

from tallyframe.errors import FailureCode, GenerationError, ProviderError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after how many seconds."""

    max_retries: int  # of a step, at one provider
    max_wait: float  # seconds; a vendor that asks for more patience is given up
    max_rejected: int = 2  # the same for answers without a usable result, each of which may be billed
    collect_again: float = 5.0  # seconds until a ticket is asked for again when asking failed
    base: float = 1.0  # seconds before the first retry; it doubles with each one
    longest: float = 60.0  # seconds that doubling leads to at most

    def gives_up(self, error: GenerationError, retries: int) -> bool:
        """Tell whether this is the end at this provider, after `retries` further tries already made there."""
        most = self.max_retries
        if error.code is FailureCode.PROVIDER_REJECTED:
            most = min(most, self.max_rejected)
        return not error.retryable or retries >= most or wanted_wait(error) > self.max_wait

    def delay(self, error: GenerationError, retries: int) -> float:
        """Return the seconds before retry number `retries` (from 0): doubling, and what the vendor asks for."""
        return max(min(self.base * 2.0**retries, self.longest), wanted_wait(error))


def wanted_wait(error: GenerationError) -> float:
    """Return the seconds that the vendor asked to be left alone; 0 when it didn't."""
    return error.retry_after or 0.0 if isinstance(error, ProviderError) else 0.0
