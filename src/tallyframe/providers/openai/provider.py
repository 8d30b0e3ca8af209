"""Text and vision by OpenAI's chat completions: one request, one answer, no tickets.

Chat completions and not responses: both give one answer of one model. A chat completion holds it as one text with one
reason for its end, and not as a list of items of many types; and the gateways that imitate OpenAI's API, to which the
base address may lead, all have this endpoint.

Pictures go along as bytes, even where they have a public address. OpenAI would fetch that by itself, and a storage that
is slow, private or turns robots away would end an order as the user's fault (400 `invalid_image_url`). Facts: POST
/v1/chat/completions takes 50 MB, and is not billed when it ends with an error.
"""

import asyncio
import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from openai.types.chat import ChatCompletionContentPartParam, ChatCompletionMessageParam

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, Data, Media, Offer, Task, TextTask, VisionTask, of_kind
from tallyframe.providers.failures import probe_failed
from tallyframe.providers.fitting import Room, fit
from tallyframe.providers.openai.client import OpenAIAccess, make_client
from tallyframe.providers.openai.completions import note_usage, read_completion, text_in
from tallyframe.providers.openai.failures import refused
from tallyframe.providers.openai.offers import offers_of
from tallyframe.providers.openai.schemas import openai_schema
from tallyframe.providers.structured import read_structured

#: Room for ten pictures in one request, in base64. A model looks at 2,048 pixels a side at most, whatever it is sent.
SEEN_PICTURE = Room(2_000_000, 2048, frozenset({"image/png", "image/jpeg", "image/webp"}))

_NOT_IN_A_NAME = re.compile(r"[^\w-]", re.ASCII)
_LONGEST_NAME = 64  # characters of a schema's name


class OpenAI:
    """Writes, and looks at pictures; `models` has the model of each capability that is used."""

    name: str = "openai"
    repeatable: bool = False

    def __init__(self, access: OpenAIAccess, models: Mapping[Capability, str]) -> None:
        self.offers: Mapping[Capability, Offer] = offers_of(models)
        self._access = access
        self._client = make_client(access)

    async def start(self, task: Task, call: Call) -> Data:
        """Have the text written. What was used is noted in `call.usage` even if it fails. Raises ProviderError."""
        order = of_kind(task, VisionTask) if task.capability == "vision" else of_kind(task, TextTask)
        if not order.fits(self.offers[order.capability]):
            said = "There are too many pictures, or none."
            raise ProviderError(FailureCode.INVALID_INPUT, said, operator_message=said)
        pictures = [await fit(await picture.read(), SEEN_PICTURE) for picture in order.inputs]
        completion = read_completion(await self._complete(order, pictures, call))
        note_usage(completion, call.usage)
        return read_structured(text_in(completion, hide=self._secrets(order.prompt)), order.answer)

    async def collect(self, ticket: str, task: Task, call: Call) -> Data:  # noqa: ARG002 - the port
        """Raise ProviderError: no ticket is ever given, so this one is of somebody else."""
        raise ProviderError(FailureCode.PROVIDER_REJECTED, operator_message="OpenAI's texts have no tickets.")

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Say no: a request that is under way can't be stopped, and is billed."""
        return False

    async def probe(self, capability: Capability) -> str:
        """Ask for the model's description, which is free. Raises ProviderError."""
        model = self.offers[capability].model
        try:
            async with asyncio.timeout(self._access.timeout):
                found = await self._client.models.retrieve(model)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
            advice = ""
            if getattr(error, "code", None) == "model_not_found":
                advice = f"The model {model} is unknown or retired: change TALLYFRAME_{capability.upper()}_MODEL."
            raise probe_failed(refused(error, hide=self._secrets()), advice) from None
        if not isinstance(getattr(found, "id", None), str):  # the SDK takes a web page for an answer, too
            said = f"OpenAI's address answers, but not with a description of {model}."
            raise ProviderError(FailureCode.PROVIDER_REJECTED, retryable=True, operator_message=said)
        return f"{model} is there"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _complete(self, order: TextTask[Any] | VisionTask[Any], pictures: Sequence[Media], call: Call) -> bytes:
        """Send the order once, and return the body that came with 200."""
        try:
            async with asyncio.timeout(self._access.timeout):
                name = _NOT_IN_A_NAME.sub("_", order.answer.__name__)[:_LONGEST_NAME]
                schema = openai_schema(order.answer)
                answer = await self._client.chat.completions.with_raw_response.create(
                    model=self.offers[order.capability].model,
                    messages=_messages(order, pictures),
                    response_format={
                        "type": "json_schema",
                        "json_schema": {"name": name, "strict": True, "schema": schema},
                    },
                    max_completion_tokens=order.max_output_tokens,
                    store=False,  # new accounts keep completions at OpenAI, unless told not to
                    extra_headers={"X-Client-Request-Id": call.key},  # by this, OpenAI finds a call without an answer
                )
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
            call.usage.request_id = getattr(error, "request_id", None)
            raise refused(error, hide=self._secrets(order.prompt)) from None
        call.usage.request_id = answer.request_id
        return answer.content

    def _secrets(self, *prompt: str) -> tuple[str, ...]:
        return (self._access.api_key, *prompt)


def _messages(order: TextTask[Any] | VisionTask[Any], pictures: Sequence[Media]) -> list[ChatCompletionMessageParam]:
    """Return our instructions as the system's, and what users wrote as the user's: it is data, and orders nothing."""
    parts: list[ChatCompletionContentPartParam] = [{"type": "text", "text": _sendable(order.prompt)}]
    for picture in pictures:
        url = f"data:{picture.content_type};base64,{base64.b64encode(picture.data).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return [
        {"role": "system", "content": _sendable(order.instructions)},
        {"role": "user", "content": parts if pictures else _sendable(order.prompt)},
    ]


def _sendable(text: str) -> str:
    """Replace halves of characters, which no JSON in UTF-8 can hold."""
    return text.encode(errors="replace").decode()
