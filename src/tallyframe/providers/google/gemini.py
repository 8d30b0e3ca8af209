"""Gemini as one provider: each capability has an adapter of its own."""

from collections.abc import Mapping

from tallyframe.catalog import Capability
from tallyframe.providers.base import Answer, Call, Offer, Provider, Task
from tallyframe.providers.google.client import Google, GoogleAccess
from tallyframe.providers.google.gemini_images import GeminiImages


class Gemini:
    """Makes images, and writes; `models` has the model of each capability that is used."""

    name: str = "gemini"
    repeatable: bool = False

    def __init__(self, access: GoogleAccess, models: Mapping[Capability, str], image_size: str = "1K") -> None:
        self._parts: dict[Capability, Provider] = {}
        if "image" in models:
            self._parts["image"] = GeminiImages(Google(access), models["image"], image_size)
        self.offers: Mapping[Capability, Offer] = {each: part.offers[each] for each, part in self._parts.items()}

    async def start(self, task: Task, call: Call) -> Answer:
        """Send the order once. Raises ProviderError."""
        return await self._parts[task.capability].start(task, call)

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        """Raise ProviderError: Gemini gives no tickets."""
        return await self._parts[task.capability].collect(ticket, task, call)

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Say no: a request that is under way can't be stopped, and is billed."""
        return False

    async def probe(self, capability: Capability) -> str:
        """Ask for the model's description, which is free. Raises ProviderError."""
        return await self._parts[capability].probe(capability)

    async def aclose(self) -> None:
        """Close the connections."""
        for part in {id(part): part for part in self._parts.values()}.values():
            await part.aclose()
