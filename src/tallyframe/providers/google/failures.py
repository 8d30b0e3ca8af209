"""What went wrong with Google, as ProviderError: with models, files and operations. Interactions have other errors.

Two readings of the same error: `refused` when an order was sent (was it taken, and billed?), `asking_failed` when a
ticket was asked for (is this the verdict on it?). Facts: google-genai 3.4.0; google.rpc.Code, RetryInfo, QuotaFailure.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal

import httpx2
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.genai import errors

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.failures import (
    LONGEST_WAIT,
    NEVER_SENDABLE,
    NEVER_SENT,
    Verdict,
    no_answer,
    retry_after_seconds,
    seconds_in,
    words,
)
from tallyframe.providers.transport import ResponseTooLarge

_POLICY = re.compile(
    r"\bpolic(?:y|ies)\b|guidelines|prohibited|harmful|unsafe|sensitive|responsible ai|safety (?:filter|system|reason)",
    re.IGNORECASE,
)

#: The key, the bill, the model's name or the address is wrong. No order of any user can get through.
_OURS_TO_MEND = frozenset({401, 403, 404, 405, 407, 410})
#: The server's words for "the caller went away", which here is its own deadline (X-Server-Timeout), and overload.
_TAKEN_OR_NOT = frozenset({408, 499, *range(500, 600)})
#: What only an order can be; said of a question, it is Google that has a problem.
_OF_ORDERS = frozenset({FailureCode.INVALID_INPUT, FailureCode.CONTENT_POLICY, FailureCode.PROVIDER_REJECTED})


def refused(error: Exception, *, billing: Literal["image", "video"], hide: Iterable[str] = ()) -> ProviderError:
    """Return what an order's failure means: final, to be tried again, or in doubt.

    `billing`: an image that fails with 5xx isn't billed and may be ordered again; a video may have been taken, unless
    the server said 503 or 429. `hide`: what must not stand in the operator's message, such as key and prompt.
    """
    if isinstance(error, errors.APIError):
        return _answered(error, billing, words(_said(error), hide=hide))
    if isinstance(error, GoogleAuthError):
        text = error if isinstance(error, DefaultCredentialsError) else ""  # about files; of others, nobody knows
        verdict = NEVER_SENT if error.retryable else NEVER_SENDABLE
        return verdict.error(words(f"No usable answer from Google: {type(error).__name__}.", text))
    return no_answer(error, "Google")


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


def is_about_policy(message: str) -> bool:
    """Say if a refusal in Google's words is one by the content policy. There is no code for it."""
    return bool(_POLICY.search(message))


def retry_after(error: errors.APIError) -> float | None:
    """Return the seconds to wait by RetryInfo and by Retry-After (seconds, or an HTTP date), the larger of the two."""
    waits = [seconds_in(detail.get("retryDelay")) for detail in _details(error)]
    if isinstance(error.response, httpx2.Response):
        waits.append(retry_after_seconds(error.response.headers.get("retry-after", "")))
    known = [wait for wait in waits if wait is not None]
    return min(max(known), LONGEST_WAIT) if known else None


def _answered(error: errors.APIError, billing: Literal["image", "video"], said: str) -> ProviderError:
    status = int(error.code or 0)
    bad_key = any(detail.get("reason") == "API_KEY_INVALID" for detail in _details(error))
    if status == HTTPStatus.BAD_REQUEST and (bad_key or error.status == "FAILED_PRECONDITION"):
        verdict = NEVER_SENDABLE  # FAILED_PRECONDITION: the region, or billing is not enabled
    elif status == HTTPStatus.BAD_REQUEST:
        policy = is_about_policy(str(error.message))
        verdict = Verdict(FailureCode.CONTENT_POLICY if policy else FailureCode.INVALID_INPUT)
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        said = words(said, *_quotas(error))
        is_daily = any("PerDay" in quota for quota in _quotas(error))
        verdict = Verdict(FailureCode.PROVIDER_QUOTA, retryable=not is_daily, alarm=is_daily)
    elif status in _TAKEN_OR_NOT:
        doubtful = billing == "video" and status != HTTPStatus.SERVICE_UNAVAILABLE
        verdict = Verdict(FailureCode.PROVIDER_UNAVAILABLE, retryable=not doubtful, in_doubt=doubtful)
    elif status in _OURS_TO_MEND or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        verdict = NEVER_SENDABLE
    elif status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        verdict = Verdict(FailureCode.INVALID_INPUT)
    else:
        verdict = Verdict(FailureCode.PROVIDER_REJECTED, in_doubt=status < HTTPStatus.BAD_REQUEST)
    return verdict.error(said, retry_after(error))


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
