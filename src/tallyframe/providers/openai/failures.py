"""What OpenAI's errors mean, as ProviderError.

A request that ends with an error is not billed, so a text is treated as Google's images are: 5xx may be sent again; a
call that never got its answer may have been billed, and is in doubt. Codes are from openai 3.57.0 (`ResponseError`) and
from OpenAI's guide on error codes, as of November 2026.
"""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus

import httpx2
from openai import APIConnectionError, APIStatusError

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.failures import (
    LONGEST_WAIT,
    NEVER_SENDABLE,
    Verdict,
    no_answer,
    retry_after_seconds,
    seconds_in,
    words,
)

#: The money is used up, or a limit on it is. Waiting doesn't help; `insufficient_quota` is the type of all of these.
_BILLING = frozenset(
    {
        *("insufficient_quota", "credit_balance_exhausted", "billing_not_active", "billing_hard_limit_reached"),
        *("organization_spend_limit_exceeded", "project_spend_limit_exceeded", "organization_usage_limit_exceeded"),
    }
)
#: The user's words or pictures are refused by the policy.
_POLICY = frozenset(
    {
        *("content_policy_violation", "image_content_policy_violation", "moderation_blocked", "content_filter"),
        *("invalid_prompt", "bio_policy", "misalignment_policy_violation"),
    }
)
#: What we send doesn't suit the model, so no order gets through: another model is needed, or we have a bug.
_UNSUITABLE = frozenset({"model_not_found", "unsupported_parameter", "unsupported_value", "unknown_parameter"})
_OUR_PARAMETERS = re.compile(
    r"(?:model|store|response_format|max_(?:completion_)?tokens)\b.*|messages\W.*\b(?:role|type)"
)

#: The key, the bill, the model's name or the address is wrong. No order of any user can get through.
_OURS_TO_MEND = frozenset({401, 403, 404, 405, 407, 410})
#: Overload, and locks and deadlines on the server's side. Nothing was made, so nothing is billed.
_PASSES = frozenset({408, 409, 499, *range(500, 600)})

_AGAIN = Verdict(FailureCode.PROVIDER_UNAVAILABLE, retryable=True)
_QUOTA = Verdict(FailureCode.PROVIDER_QUOTA, retryable=True)
_USED_UP = Verdict(FailureCode.PROVIDER_QUOTA, alarm=True)
_REFUSED = Verdict(FailureCode.CONTENT_POLICY)
_UNUSABLE = Verdict(FailureCode.INVALID_INPUT)
_REJECTED = Verdict(FailureCode.PROVIDER_REJECTED)
_NOT_PROCESSED = Verdict(FailureCode.PROVIDER_REJECTED, retryable=True)

_BY_STATUS: Mapping[int, Verdict] = {
    HTTPStatus.PAYMENT_REQUIRED: _USED_UP,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _UNUSABLE,
    HTTPStatus.UNPROCESSABLE_ENTITY: _NOT_PROCESSED,  # "please try the request again"
    HTTPStatus.TOO_MANY_REQUESTS: _QUOTA,
}


def refused(error: Exception, *, hide: Iterable[str] = ()) -> ProviderError:
    """Return what the failure of a call means: final, to be tried again, or in doubt.

    `hide`: what must not stand in the operator's message, such as key and prompt.
    """
    if isinstance(error, APIStatusError):
        verdict = _verdict(error)
        final = error.response.headers.get("x-should-retry") == "false"  # as the SDK's own retries understand it
        if verdict.retryable and final:
            verdict = Verdict(verdict.code, alarm=verdict.alarm)
        return verdict.error(words(_said(error), hide=hide), retry_after(error.response.headers))
    if isinstance(error, APIConnectionError):  # made of the transport's own exception, which says more
        error = error.__cause__ if isinstance(error.__cause__, Exception) else ConnectionError()
    return no_answer(error, "OpenAI")


def retry_after(headers: httpx2.Headers) -> float | None:
    """Return the seconds to wait by `retry-after-ms`, which is more exact, or by `retry-after`."""
    milliseconds = seconds_in(headers.get("retry-after-ms"))
    wait = retry_after_seconds(headers.get("retry-after", "")) if milliseconds is None else milliseconds / 1000
    return None if wait is None else min(wait, LONGEST_WAIT)


def _verdict(error: APIStatusError) -> Verdict:
    status, named = error.status_code, {str(error.code), str(error.type)}  # whatever type they are of
    if named & _BILLING:
        return _USED_UP
    if status == HTTPStatus.BAD_REQUEST:
        if named & _POLICY:
            return _REFUSED
        if named & _UNSUITABLE or _OUR_PARAMETERS.fullmatch(str(error.param or "")):
            return NEVER_SENDABLE
        return _UNUSABLE  # too long, or a picture that can't be read
    if status in _OURS_TO_MEND or status < HTTPStatus.BAD_REQUEST:  # of these, a redirect
        return NEVER_SENDABLE
    if status in _PASSES:
        return _AGAIN
    return _BY_STATUS.get(status, _REJECTED)


def _said(error: APIStatusError) -> str:
    """Return OpenAI's own words, but for those about the key: they repeat parts of it."""
    status = f"HTTP {error.status_code} {error.code or error.type or ''}:"
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        return f"{status} OpenAI doesn't accept the key in OPENAI_API_KEY."
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f"{status} {message}" if isinstance(message, str) else f"{status} without a message."
