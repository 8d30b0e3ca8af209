"""What failures have in common, whoever the vendor is: calls without an answer, waits asked for, words without secrets.

Whoever raises what is returned here says `from None`: a library's exceptions hold the request, and with it the key and
the prompt.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.transport import ResponseTooLarge

MOST_WORDS = 1000  # characters of an operator's message
LONGEST_WAIT = 24 * 3600.0  # seconds; a vendor that asks for more gets this much

#: Keys of all vendors, as a whole or with asterisks inside, access tokens and base64, wherever a vendor repeats them.
_SECRETS = re.compile(
    r"AIza[\w-]{20,}|\bAQ\.[\w-]{20,}|ya29\.[\w.-]+|(?<=api_key:)[^\s'\"]+|\bsk-[\w*-]{8,}|[\w-]*\*{3,}[\w*-]*"
    r"|[\w+/=-]{80,}"
)
_SHORT = 8  # characters: what is shorter is hidden only where it stands alone
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means; the fields are those of ProviderError."""

    code: FailureCode
    retryable: bool = False
    in_doubt: bool = False
    alarm: bool = False

    def error(self, said: str, wait: float | None = None) -> ProviderError:
        """Return it as an error; `said` is for the operator, `wait` the seconds that the vendor asked for."""
        return ProviderError(
            self.code,
            retryable=self.retryable,
            in_doubt=self.in_doubt,
            alarm=self.alarm,
            operator_message=said,
            retry_after=wait,
        )


NEVER_SENT = Verdict(FailureCode.PROVIDER_UNAVAILABLE, retryable=True)
NEVER_SENDABLE = Verdict(FailureCode.INTERNAL, alarm=True)
_LOST = Verdict(FailureCode.PROVIDER_UNAVAILABLE, in_doubt=True)
_TOO_LATE = Verdict(FailureCode.PROVIDER_TIMEOUT, in_doubt=True)
_UNREADABLE = Verdict(FailureCode.PROVIDER_REJECTED, in_doubt=True)

#: What failed before or instead of a whole answer; the first row that fits says what it means.
_BROKEN: tuple[tuple[type[Exception], Verdict], ...] = (
    (httpx2.ConnectError, NEVER_SENT),
    (httpx2.ConnectTimeout, NEVER_SENT),
    (httpx2.PoolTimeout, NEVER_SENT),
    (httpx2.UnsupportedProtocol, NEVER_SENDABLE),  # an address that is not the configured one
    (httpx2.LocalProtocolError, NEVER_SENDABLE),  # a key that can't stand in a header
    (httpx2.TimeoutException, _TOO_LATE),
    (TimeoutError, _TOO_LATE),
    (httpx2.DecodingError, _UNREADABLE),
    (httpx2.HTTPError, _LOST),
    (OSError, _LOST),
    (Exception, _UNREADABLE),  # too large, no JSON, or the vendor's library has stumbled over it
)

#: Their texts are our own, or about files and hosts.
_HARMLESS = (ResponseTooLarge, httpx2.UnsupportedProtocol)


def no_answer(error: Exception, vendor: str) -> ProviderError:
    """Return what it means that a call ended without a whole answer: it was never sent, or it is in doubt.

    The error is said by its name: the texts of transports and decoders may repeat what they choke on.
    """
    verdict = next(verdict for kind, verdict in _BROKEN if isinstance(error, kind))
    text = error if isinstance(error, _HARMLESS) else ""
    return verdict.error(words(f"No usable answer from {vendor}: {type(error).__name__}.", text))


def probe_failed(found: ProviderError, advice: str = "") -> ProviderError:
    """Return what it means for a probe that it has failed like that: nothing was ordered, so nothing is in doubt."""
    said = f"{advice} {found.operator_message}" if advice else found.operator_message
    return ProviderError(found.code, retryable=not found.alarm, operator_message=said, alarm=found.alarm)


def words(*said: object, hide: Iterable[str] = ()) -> str:
    """Put what a vendor said into one line of at most `MOST_WORDS` characters, without secrets, base64 and `hide`."""
    text = " ".join(str(each) for each in said if each)
    for secret in sorted(filter(None, hide), key=len, reverse=True):
        edge = r"\b" if len(secret) < _SHORT else ""  # a prompt can be a single letter
        text = re.sub(edge + re.escape(secret) + edge, "[hidden]", text)
    text = _SECRETS.sub("[hidden]", " ".join(text.split()))
    return "".join(letter for letter in text if letter.isprintable())[:MOST_WORDS]


def seconds_in(value: object) -> float | None:
    """Return the seconds in a text such as "1.5" or "1.5s"; None for anything else."""
    match = _SECONDS.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) if match else None


def retry_after_seconds(value: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, in seconds or as an HTTP date (RFC 9110, 10.2.3)."""
    if (seconds := seconds_in(value)) is not None:
        return seconds
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # "-0000": the time is UTC, and nothing is known of where
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
