"""Images by Gemini's generateContent: one request, one picture, no tickets.

Facts: POST {version}/models/{model}:generateContent takes up to 14 pictures of 7 MB each inline and about 20 MB in all,
and is not billed when it ends with an error. An answer can take a minute and can be a JPEG.
"""

import asyncio
from collections.abc import Mapping, Sequence

from google.genai import types

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, ImageTask, Media, Offer, Task, of_kind
from tallyframe.providers.fitting import INPUT_PICTURE, fit
from tallyframe.providers.google.calls import get_ready, probe_model
from tallyframe.providers.google.candidates import note_usage, picture_in, read_answer
from tallyframe.providers.google.client import Google
from tallyframe.providers.google.failures import refused
from tallyframe.providers.google.offers import offer_of
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
        self._offer = offer_of("image", model)
        self.offers: Mapping[Capability, Offer] = {"image": self._offer}
        self._google = google
        self._size = None if _WITHOUT_SIZES in model else size or None

    async def start(self, task: Task, call: Call) -> Answer:
        """Have the image made: a PNG, JPEG or WebP, whatever the model gives. Raises ProviderError."""
        order = of_kind(task, ImageTask)
        _check(order, self._offer)
        pictures = [await fit(await picture.read(), INPUT_PICTURE) for picture in order.inputs]
        body = await self._generate(order, pictures)
        answer = read_answer(body)
        note_usage(answer, call.usage)
        return await asyncio.to_thread(received_image, picture_in(answer, hide=self._secrets(order.prompt)))

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:  # noqa: ARG002 - the port
        """Raise ProviderError: no ticket is ever given, so this one is of somebody else."""
        raise ProviderError(FailureCode.PROVIDER_REJECTED, operator_message="Gemini's images have no tickets.")

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Say no: a request that is under way can't be stopped, and is billed."""
        return False

    async def probe(self, capability: Capability) -> str:  # noqa: ARG002 - the port
        """Ask for the model's description, which is free. Raises ProviderError."""
        return await probe_model(self._google, self._model, setting="TALLYFRAME_IMAGE_MODEL")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._google.aclose()

    async def _generate(self, order: ImageTask, pictures: Sequence[Media]) -> str:
        """Send the order once, and return the body that came with 200."""
        await get_ready(self._google)
        try:
            async with self._google.deadline():
                response = await self._google.client.aio.models.generate_content(
                    model=self._model,
                    contents=_contents(order.prompt, pictures),
                    config=self._config(order.aspect_ratio),
                )
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
            raise refused(error, billing="image", hide=self._secrets(order.prompt)) from None
        sent_back = response.sdk_http_response
        return (sent_back and sent_back.body) or ""

    def _config(self, aspect_ratio: str) -> types.GenerateContentConfig:
        return types.GenerateContentConfig(
            response_modalities=["IMAGE"],
            image_config=types.ImageConfig(aspect_ratio=aspect_ratio, image_size=self._size),
            should_return_http_response=True,  # the body as it came
            automatic_continuation=False,  # one order, one request, one bill
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )

    def _secrets(self, *prompt: str) -> tuple[str, ...]:
        return (self._google.access.api_key, *prompt)


def _contents(prompt: str, pictures: Sequence[Media]) -> types.Content:
    """Put the pictures first: the prompt speaks about them."""
    parts = [types.Part.from_bytes(data=each.data, mime_type=each.content_type) for each in pictures]
    return types.Content(role="user", parts=[*parts, types.Part.from_text(text=prompt)])


def _check(order: ImageTask, offered: Offer) -> None:
    """Raise ProviderError for what Google would refuse, before anything is sent."""
    if order.aspect_ratio not in offered.aspect_ratios:
        said = f"The aspect ratio must be one of {', '.join(offered.aspect_ratios)}."
        raise ProviderError(FailureCode.INVALID_INPUT, said, operator_message=said)
