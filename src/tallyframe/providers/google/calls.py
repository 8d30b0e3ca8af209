"""What both kinds of videos ask Google in the same way."""

from http import HTTPStatus

import httpx2
from google.genai import errors

from tallyframe.errors import ProviderError
from tallyframe.providers.failures import words
from tallyframe.providers.google.client import Google
from tallyframe.providers.google.failures import refused


class Unreadable(Exception):
    """A complete answer of Google's that makes no sense."""


async def get_ready(google: Google) -> None:
    """Get an access token, if one is needed. Raises ProviderError, never in doubt: nothing has been ordered yet."""
    try:
        async with google.deadline():
            await google.ready()
    except TimeoutError:
        raise refused(httpx2.ConnectTimeout("No access token in time."), billing="video") from None
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave
        raise refused(error, billing="video") from None


async def probe_model(google: Google, model: str, *, setting: str) -> str:
    """Ask for a model's description, which is free, and return a line about it. Raises ProviderError.

    `setting` is the variable to change when Google doesn't know the model.
    """
    try:
        async with google.deadline():
            await google.ready()
            found = await google.client.aio.models.get(model=model)
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
        raise _probe_failed(error, model, setting, google.access.api_key) from None
    return words(f"{model} is there:", found.display_name or found.name or "unnamed", hide=[google.access.api_key])


def _probe_failed(error: Exception, model: str, setting: str, key: str) -> ProviderError:
    """Nothing was ordered, so nothing is in doubt."""
    found = refused(error, billing="image", hide=[key])
    said = found.operator_message
    if isinstance(error, errors.APIError) and error.code == HTTPStatus.NOT_FOUND:
        said = f"The model {model} is unknown or retired: change {setting}. {said}"
    return ProviderError(found.code, retryable=not found.alarm, operator_message=said, alarm=found.alarm)
