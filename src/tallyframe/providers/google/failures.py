"""What went wrong with Google, as ProviderError: with models, files and operations. Interactions have other errors.

Two readings of the same error: `refused` when an order was sent (was it taken, and billed?), `asking_failed` when a
ticket was asked for (is this the verdict on it?). Whoever raises the result says `from None`: the SDK's exceptions hold
the request, and with it the key and the prompt. Facts: google-genai 3.4.0; google.rpc.Code, RetryInfo and QuotaFailure.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal

import httpx2
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.genai import errors

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.google.client import ResponseTooLarge

MOST_WORDS = 1000  # characters of an operator's message
LONGEST_WAIT = 24 * 3600.0  # seconds; a vendor that asks for more gets this much

#: Keys of both kinds, access tokens and base64, wherever Google's words repeat them.
_SECRETS = re.compile(r"AIza[\w-]{20,}|\bAQ\.[\w-]{20,}|ya29\.[\w.-]+|(?<=api_key:)[^\s'\"]+|[\w+/=-]{80,}")
_POLICY = re.compile(
    r"\bpolic(?:y|ies)\b|guidelines|prohibited|harmful|unsafe|sensitive|responsible ai|safety (?:filter|system|reason)",
    re.IGNORECASE,
)
_SHORT = 8  # characters: what is shorter is hidden only where it stands alone
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s?")

#: The key, the bill, the model's name or the address is wrong. No order of any user can get through.
_OURS_TO_MEND = frozenset({401, 403, 404, 405, 407, 410})
#: The server's words for "the caller went away", which here is its own deadline (X-Server-Timeout), and overload.
_TAKEN_OR_NOT = frozenset({408, 499, *range(500, 600)})
#: What only an order can be; said of a question, it is Google that has a problem.
_OF_ORDERS = frozenset({FailureCode.INVALID_INPUT, FailureCode.CONTENT_POLICY, FailureCode.PROVIDER_REJECTED})


@dataclass(frozen=True, slots=True)
class _Verdict:
    code: FailureCode
    retryable: bool = False
    in_doubt: bool = False
    alarm: bool = False


_NEVER_SENT = _Verdict(FailureCode.PROVIDER_UNAVAILABLE, retryable=True)
_NEVER_SENDABLE = _Verdict(FailureCode.INTERNAL, alarm=True)
_LOST = _Verdict(FailureCode.PROVIDER_UNAVAILABLE, in_doubt=True)
_TOO_LATE = _Verdict(FailureCode.PROVIDER_TIMEOUT, in_doubt=True)
_UNREADABLE = _Verdict(FailureCode.PROVIDER_REJECTED, in_doubt=True)

#: Their texts are our own, or about files and hosts.
_HARMLESS = (ResponseTooLarge, httpx2.UnsupportedProtocol, DefaultCredentialsError)

#: What failed before or instead of a whole answer; the first row that fits says what it means.
_BROKEN: tuple[tuple[type[Exception], _Verdict], ...] = (
    (httpx2.ConnectError, _NEVER_SENT),
    (httpx2.ConnectTimeout, _NEVER_SENT),
    (httpx2.PoolTimeout, _NEVER_SENT),
    (httpx2.UnsupportedProtocol, _NEVER_SENDABLE),  # an address that is not the configured one
    (httpx2.LocalProtocolError, _NEVER_SENDABLE),  # a key that can't stand in a header
    (httpx2.TimeoutException, _TOO_LATE),
    (TimeoutError, _TOO_LATE),
    (httpx2.DecodingError, _UNREADABLE),
    (httpx2.HTTPError, _LOST),
    (Exception, _UNREADABLE),  # too large, no JSON, or the SDK has stumbled over it
)


def refused(error: Exception, *, billing: Literal["image", "video"], hide: Iterable[str] = ()) -> ProviderError:
    """Return what an order's failure means: final, to be tried again, or in doubt.

    `billing`: an image that fails with 5xx isn't billed and may be ordered again; a video may have been taken, unless
    the server said 503 or 429. `hide`: what must not stand in the operator's message, such as key and prompt.
    """
    if isinstance(error, errors.APIError):
        return _answered(error, billing, words(_said(error), hide=hide))
    if isinstance(error, GoogleAuthError):
        return _failed(error, _NEVER_SENT if error.retryable else _NEVER_SENDABLE)
    return _failed(error, next(verdict for kind, verdict in _BROKEN if isinstance(error, kind)))


def asking_failed(error: Exception, *, hide: Iterable[str] = ()) -> ProviderError:
    """Return what a failed question about a ticket means: ask again, unless Google doesn't know it or says too much."""
    if isinstance(error, ResponseTooLarge) or (isinstance(error, errors.APIError) and error.code in {404, 410}):
        said = words(_said(error), hide=hide) if isinstance(error, errors.APIError) else str(error)
        return ProviderError(FailureCode.PROVIDER_REJECTED, spent=True, operator_message=said)
    found = refused(error, billing="image", hide=hide)
    code = FailureCode.PROVIDER_UNAVAILABLE if found.code in _OF_ORDERS else found.code
    return ProviderError(
        code,
        retryable=True,
        operator_message=found.operator_message,
        retry_after=found.retry_after,
        alarm=found.alarm,
    )


def words(*said: object, hide: Iterable[str] = ()) -> str:
    """Put what Google said into one line of at most `MOST_WORDS` characters, without secrets, base64 and `hide`."""
    text = " ".join(str(each) for each in said if each)
    for secret in sorted(filter(None, hide), key=len, reverse=True):
        edge = r"\b" if len(secret) < _SHORT else ""  # a prompt can be a single letter
        text = re.sub(edge + re.escape(secret) + edge, "[hidden]", text)
    text = _SECRETS.sub("[hidden]", " ".join(text.split()))
    return "".join(letter for letter in text if letter.isprintable())[:MOST_WORDS]


def is_about_policy(message: str) -> bool:
    """Say if a refusal in Google's words is one by the content policy. There is no code for it."""
    return bool(_POLICY.search(message))


def retry_after(error: errors.APIError) -> float | None:
    """Return the seconds to wait by RetryInfo and by Retry-After (seconds, or an HTTP date), the larger of the two."""
    waits = [_seconds(detail.get("retryDelay")) for detail in _details(error)]
    waits.append(_header_seconds(_header(error, "retry-after")))
    known = [wait for wait in waits if wait is not None]
    return min(max(known), LONGEST_WAIT) if known else None


def _answered(error: errors.APIError, billing: Literal["image", "video"], said: str) -> ProviderError:
    status = int(error.code or 0)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _quota(error, said)
    if status == HTTPStatus.BAD_REQUEST:
        return _bad_request(error, said)
    if status in _TAKEN_OR_NOT:
        doubtful = billing == "video" and status != HTTPStatus.SERVICE_UNAVAILABLE
        verdict = _Verdict(FailureCode.PROVIDER_UNAVAILABLE, retryable=not doubtful, in_doubt=doubtful)
    elif status in _OURS_TO_MEND or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        verdict = _NEVER_SENDABLE
    elif status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        verdict = _Verdict(FailureCode.INVALID_INPUT)
    else:
        verdict = _Verdict(FailureCode.PROVIDER_REJECTED, in_doubt=status < HTTPStatus.BAD_REQUEST)
    return _error(verdict, said, retry_after(error))


def _bad_request(error: errors.APIError, said: str) -> ProviderError:
    bad_key = any(detail.get("reason") == "API_KEY_INVALID" for detail in _details(error))
    if bad_key or error.status == "FAILED_PRECONDITION":  # the latter: the region, or billing is not enabled
        return ProviderError(FailureCode.INTERNAL, operator_message=said, alarm=True)
    policy = is_about_policy(str(error.message))
    return ProviderError(FailureCode.CONTENT_POLICY if policy else FailureCode.INVALID_INPUT, operator_message=said)


def _quota(error: errors.APIError, said: str) -> ProviderError:
    daily = any("PerDay" in quota for quota in _quotas(error))
    return ProviderError(
        FailureCode.PROVIDER_QUOTA,
        retryable=not daily,
        operator_message=words(said, *_quotas(error)),
        retry_after=retry_after(error),
        alarm=daily,
    )


def _failed(error: Exception, verdict: _Verdict) -> ProviderError:
    """Say what failed by its name: the texts of transports, decoders and credentials may repeat what they choke on."""
    text = error if isinstance(error, _HARMLESS) else ""
    return _error(verdict, words(f"No usable answer from Google: {type(error).__name__}.", text))


def _error(verdict: _Verdict, said: str, wait: float | None = None) -> ProviderError:
    return ProviderError(
        verdict.code,
        retryable=verdict.retryable,
        in_doubt=verdict.in_doubt,
        alarm=verdict.alarm,
        operator_message=said,
        retry_after=wait,
    )


def _said(error: errors.APIError) -> str:
    return f"HTTP {error.code} {error.status or ''}: {error.message or ''}"


def _details(error: errors.APIError) -> list[Mapping[str, Any]]:
    """Return google.rpc.Status.details, as far as they are there."""
    body = error.details if isinstance(error.details, dict) else {}
    status = body.get("error")
    return _dicts(status.get("details")) if isinstance(status, dict) else []


def _dicts(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _quotas(error: errors.APIError) -> list[str]:
    violations = [each for detail in _details(error) for each in _dicts(detail.get("violations"))]
    return [str(each.get("quotaId", "")) for each in violations]


def _header(error: errors.APIError, name: str) -> str:
    response = error.response
    return response.headers.get(name, "") if isinstance(response, httpx2.Response) else ""


def _seconds(value: object) -> float | None:
    match = _SECONDS.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) if match else None


def _header_seconds(value: str) -> float | None:
    """Read Retry-After (RFC 9110, 10.2.3)."""
    if (seconds := _seconds(value)) is not None:
        return seconds
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # "-0000": the time is UTC, and nothing is known of where
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
