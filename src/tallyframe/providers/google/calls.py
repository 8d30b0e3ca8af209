"""What all of Google's adapters do in the same way: check a task, get ready, ask for a model."""

from collections.abc import Mapping
from http import HTTPStatus

import httpx2
from google.genai import errors

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import K, Offer, Task, of_kind
from tallyframe.providers.failures import probe_failed, words
from tallyframe.providers.google.client import Google
from tallyframe.providers.google.failures import refused


class Unreadable(Exception):
    """A complete answer of Google's that makes no sense."""


def accepted(task: Task, kind: type[K], offers: Mapping[Capability, Offer]) -> K:
    """Return the task, if it is of that kind and within the offer for it.

    To be called before any input is read and anything is sent. Raises ProviderError: invalid_input where Google would
    refuse it, internal where it came to the wrong adapter.
    """
    order, offer = of_kind(task, kind), offers.get(kind.capability)
    if offer is None:
        said = f"No model is set for {kind.capability}."
        raise ProviderError(FailureCode.INTERNAL, alarm=True, operator_message=said)
    if not order.fits(offer) or len(order.inputs) > offer.max_images:
        shapes: list[str] = [f"an aspect ratio of {', '.join(offer.aspect_ratios)}"] if offer.aspect_ratios else []
        seconds: list[str] = [f"a length of {', '.join(map(str, offer.seconds))} seconds"] if offer.seconds else []
        pictures = f"{1 if kind.capability == 'vision' else 0} to {offer.max_images} pictures"
        said = f"The model does not make this. It takes {'; '.join([*shapes, *seconds, pictures])}."
        raise ProviderError(FailureCode.INVALID_INPUT, said, operator_message=said)
    return order


async def get_ready(google: Google) -> None:
    """Get an access token, if one is needed. Raises ProviderError, never in doubt: nothing has been ordered yet."""
    try:
        async with google.deadline():
            await google.ready()
    except TimeoutError:
        raise refused(httpx2.ConnectTimeout("No access token in time."), billing="video") from None
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave
        raise refused(error, billing="video") from None


async def probe_model(google: Google, model: str, *capabilities: Capability) -> str:
    """Ask for a model's description, which is free, and return a line about it. Raises ProviderError.

    `capabilities`: what the model is used for, so that an unknown model's error names the settings to change.
    """
    try:
        async with google.deadline():
            await google.ready()
            found = await google.client.aio.models.get(model=model)
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
        advice = ""
        if isinstance(error, errors.APIError) and error.code == HTTPStatus.NOT_FOUND:
            settings = " and ".join(f"TALLYFRAME_{each.upper()}_MODEL" for each in capabilities)
            advice = f"The model {model} is unknown or retired: change {settings}."
        raise probe_failed(refused(error, billing="image", hide=[google.access.api_key]), advice) from None
    return words(f"{model} is there:", found.display_name or found.name or "unnamed", hide=[google.access.api_key])
