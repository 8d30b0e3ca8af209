"""Images by Gemini's generateContent: one request, one picture, no tickets.

Facts: a request takes up to 14 pictures of 7 MB each inline. An answer can take a minute and can be a JPEG.
"""

from collections.abc import Mapping

from google.genai import types

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, ImageTask, Offer, Task
from tallyframe.providers.google.calls import accepted, get_ready, probe_model
from tallyframe.providers.google.candidates import picture_in
from tallyframe.providers.google.client import Google
from tallyframe.providers.google.generate_content import fitted, generate, user_content
from tallyframe.providers.google.offers import offer_of
from tallyframe.providers.media_threads import MEDIA_THREADS
from tallyframe.providers.received import received_image

SIZES = ("", "512", "1K", "2K", "4K")  # "": the model's own choice

_WITHOUT_SIZES = "gemini-2.5-"  # models of this line answer 400 to a size


class GeminiImages:
    """Makes an image from a prompt and up to four pictures. `size` is one of `SIZES`; raises ValueError for others."""

    name: str = "gemini"
    repeatable: bool = False

    def __init__(self, google: Google, model: str, size: str = "1K") -> None:
        if size not in SIZES:
            raise ValueError(f"The size of Gemini's images is one of {', '.join(SIZES[1:])}, or empty.")
        self._model = model
        self.offers: Mapping[Capability, Offer] = {"image": offer_of("image", model)}
        self._google = google
        self._size = None if _WITHOUT_SIZES in model else size or None

    async def start(self, task: Task, call: Call) -> Answer:
        """Have the image made: a PNG, JPEG or WebP, whatever the model gives. Raises ProviderError."""
        order = accepted(task, ImageTask, self.offers)
        await get_ready(self._google)
        hide = (self._google.access.api_key, order.prompt)
        answer = await generate(
            self._google,
            model=self._model,
            content=user_content(order.prompt, await fitted(order.inputs)),
            config={
                "response_modalities": ["IMAGE"],
                "image_config": types.ImageConfig(aspect_ratio=order.aspect_ratio, image_size=self._size),
            },
            usage=call.usage,
            hide=hide,
        )
        return await MEDIA_THREADS.run(received_image, picture_in(answer, hide=hide))

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:  # noqa: ARG002 - the port
        """Raise ProviderError: no ticket is ever given, so this one is of somebody else."""
        raise ProviderError(FailureCode.PROVIDER_REJECTED, operator_message="Gemini's images have no tickets.")

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Say no: a request that is under way can't be stopped, and is billed."""
        return False

    async def probe(self, capability: Capability) -> str:  # noqa: ARG002 - the port
        """Ask for the model's description, which is free. Raises ProviderError."""
        return await probe_model(self._google, self._model, "image")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._google.aclose()
