"""Gemini as one provider: images have an adapter, text and vision another, and both share one client."""

from collections.abc import Mapping

from google.auth.credentials import Credentials

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, Offer, Provider, Task
from tallyframe.providers.google.client import Google, GoogleAccess
from tallyframe.providers.google.gemini_images import GeminiImages
from tallyframe.providers.google.gemini_text import GeminiText


class Gemini:
    """Makes images, writes, and tells what is in pictures; `models` has the model of each capability that is used.

    `image_size` is one of `gemini_images.SIZES`. Raises ValueError if the access can't work whatever Google says.
    """

    name: str = "gemini"
    repeatable: bool = False

    def __init__(
        self,
        access: GoogleAccess,
        models: Mapping[Capability, str],
        image_size: str = "1K",
        *,
        credentials: Credentials | None = None,
    ) -> None:
        self._google = Google(access, credentials=credentials)
        self._parts: dict[Capability, Provider] = {}
        if "image" in models:
            self._parts["image"] = GeminiImages(self._google, models["image"], image_size)
        in_words: Mapping[Capability, str] = {each: models[each] for each in models if each in {"text", "vision"}}
        if in_words:
            self._parts |= dict.fromkeys(in_words, GeminiText(self._google, in_words))
        self.offers: Mapping[Capability, Offer] = {each: part.offers[each] for each, part in self._parts.items()}

    async def start(self, task: Task, call: Call) -> Answer:
        """Send the order once. Raises ProviderError."""
        return await self._part(task.capability).start(task, call)

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        """Raise ProviderError: Gemini gives no tickets."""
        return await self._part(task.capability).collect(ticket, task, call)

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Say no: a request that is under way can't be stopped, and is billed."""
        return False

    async def probe(self, capability: Capability) -> str:
        """Ask for the model's description, which is free. Raises ProviderError."""
        return await self._part(capability).probe(capability)

    async def aclose(self) -> None:
        """Close the connections, which all parts share."""
        await self._google.aclose()

    def _part(self, capability: Capability) -> Provider:
        part = self._parts.get(capability)
        if part is None:
            said = f"A {capability} task came to Gemini, which has no model for it."
            raise ProviderError(FailureCode.INTERNAL, alarm=True, operator_message=said)
        return part
