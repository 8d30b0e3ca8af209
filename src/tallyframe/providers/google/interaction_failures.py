"""What went wrong with an interaction, as ProviderError.

The interactions API has a tree of exceptions of its own, in a private module of google-genai 3.4.0, which may move:
this is the one place that imports it. They are put as those of the other APIs, so that one reading serves both.
"""

from collections.abc import Iterable
from http import HTTPStatus

from google.genai import errors
from google.genai._interactions import APIConnectionError, APIStatusError, GeminiNextGenAPIClientError

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.failures import words
from tallyframe.providers.google import failures
from tallyframe.providers.google.calls import Unreadable

_UNKNOWN = "invalid interaction name"  # with 400: an id that Google doesn't know, or doesn't keep any more
_TOO_LATE_TO_STOP = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE})


def order_failed(error: Exception, *, hide: Iterable[str] = ()) -> ProviderError:
    """Return what the failure of an order means: final, to be tried again, or in doubt."""
    return failures.refused(_as_elsewhere(error), billing="video", hide=hide)


def asking_failed(error: Exception, *, hide: Iterable[str] = ()) -> ProviderError:
    """Return what a failed question about an interaction means: ask again, unless Google doesn't know it."""
    found = _as_elsewhere(error)
    if isinstance(found, errors.APIError) and _UNKNOWN in str(found.message).lower():
        said = words(f"HTTP {found.code}:", found.message, hide=hide)
        return ProviderError(FailureCode.PROVIDER_REJECTED, spent=True, operator_message=said)
    return failures.asking_failed(found, hide=hide)


def cant_be_stopped(error: Exception) -> bool:
    """Say if the answer to a request to stop means that there is nothing to stop: unknown, or ended already."""
    found = _as_elsewhere(error)
    if not isinstance(found, errors.APIError) or found.code not in _TOO_LATE_TO_STOP:
        return False
    bad_key = found.code == HTTPStatus.BAD_REQUEST and failures.refused(found, billing="video").alarm
    return not bad_key


def _as_elsewhere(error: Exception) -> Exception:
    """Return the exception that the other APIs raise for the same; anything but the interactions' own as it is."""
    if not isinstance(error, GeminiNextGenAPIClientError):
        return error
    if isinstance(error, APIConnectionError):  # made of the transport's own exception, which says more
        return error.__cause__ if isinstance(error.__cause__, Exception) else ConnectionError()
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or status == HTTPStatus.OK:
        return Unreadable()
    response = error.response if isinstance(error, APIStatusError) else None
    body = getattr(error, "body", None)
    if not isinstance(body, dict | list):
        body = {"message": str(body or "")}
    return _named_by_its_code(errors.APIError(status, body, response))


def _named_by_its_code(error: errors.APIError) -> errors.APIError:
    """Fill in the status: where the front end has a number and a name, an interaction's error has just a word."""
    details = error.details if isinstance(error.details, dict) else {}
    inner = details.get("error")
    if not error.status and isinstance(inner, dict) and isinstance(inner.get("code"), str):
        error.status = inner["code"]
    return error
