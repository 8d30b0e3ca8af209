"""Text and vision by Gemini's generateContent: one request, one answer in the form that the task asks for, no tickets.

Facts: `systemInstruction` stands apart from what users say. `maxOutputTokens` is for thoughts and answer together
(python-genai issue 2062), so little thought is asked for. All 3.x models take the level "low"; those of the lines
before answer 400 to any level (https://ai.google.dev/gemini-api/docs/thinking, as of November 2026).
"""

from collections.abc import Mapping
from typing import Any

from google.genai import types

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, Offer, Task, TextTask, VisionTask
from tallyframe.providers.google.calls import accepted, get_ready, probe_model
from tallyframe.providers.google.candidates import text_in
from tallyframe.providers.google.client import Google
from tallyframe.providers.google.generate_content import fitted, generate, user_content
from tallyframe.providers.google.offers import offers_of
from tallyframe.providers.google.schemas import google_schema
from tallyframe.providers.structured import read_structured

_WITHOUT_LEVELS = "gemini-2."


class GeminiText:
    """Writes, and tells what is in pictures. `models` has the model of text, of vision, or of both."""

    name: str = "gemini"
    repeatable: bool = False

    def __init__(self, google: Google, models: Mapping[Capability, str]) -> None:
        self._models = models
        self.offers: Mapping[Capability, Offer] = offers_of(models)
        self._google = google

    async def start(self, task: Task, call: Call) -> Answer:
        """Have the answer written, as an instance of the task's model. Raises ProviderError."""
        order: TextTask[Any] | VisionTask[Any]
        if task.capability == "vision":
            order = accepted(task, VisionTask, self.offers)
        else:
            order = accepted(task, TextTask, self.offers)
        model = self._models[order.capability]
        thinking = None if _WITHOUT_LEVELS in model else types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW)
        config = {
            "system_instruction": order.instructions,
            "response_mime_type": "application/json",
            "response_json_schema": google_schema(order.answer),
            "max_output_tokens": order.max_output_tokens,
            "thinking_config": thinking,
        }
        await get_ready(self._google)
        hide = (self._google.access.api_key, order.prompt)
        answer = await generate(
            self._google,
            model=model,
            content=user_content(order.prompt, await fitted(order.inputs)),
            config=config,
            usage=call.usage,
            hide=hide,
        )
        return read_structured(text_in(answer, hide=hide), order.answer)

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:  # noqa: ARG002 - the port
        """Raise ProviderError: no ticket is ever given, so this one is of somebody else."""
        raise ProviderError(FailureCode.PROVIDER_REJECTED, operator_message="Gemini's answers have no tickets.")

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Say no: a request that is under way can't be stopped, and is billed."""
        return False

    async def probe(self, capability: Capability) -> str:
        """Ask for the model's description, which is free. Raises ProviderError."""
        model = self._models[capability]
        return await probe_model(self._google, model, *(each for each in self._models if self._models[each] == model))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._google.aclose()
