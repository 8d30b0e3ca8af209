"""Videos by Veo: order a long-running operation, ask by its name, fetch the file.

Facts: POST {version}/{model}:predictLongRunning gives {"name": …}. The Developer API is asked with GET {version}/{name}
and delivers through the Files API; Vertex is asked with POST {resource}:fetchPredictOperation and delivers inside the
answer. Neither API stops an operation. google-genai 3.4.0 orders videos in Vertex mode only, but takes "models/…" there
as the path that it is: so in Vertex mode with the Developer API's address and key, it sends what that API documents.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from google.auth.credentials import Credentials
from google.genai import types

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, Offer, Task, Ticket, VideoTask, of_kind
from tallyframe.providers.failures import words
from tallyframe.providers.fitting import FIRST_FRAME, fit
from tallyframe.providers.google.calls import Unreadable, accepted, get_ready, probe_model
from tallyframe.providers.google.client import Google, GoogleAccess
from tallyframe.providers.google.downloads import fetch_video, inline_video
from tallyframe.providers.google.failures import asking_failed, is_about_policy, refused
from tallyframe.providers.google.offers import offer_of

_RESOLUTION = "720p"
_NAME = re.compile(  # the SDK puts it into the path as it is
    r"(?:(?:projects/[\w.:-]{1,64}/locations/[\w-]{1,32}/)?publishers/google/)?"
    r"models/[\w.-]{1,128}/operations/[\w-]{1,128}",
    re.ASCII,
)
_INVALID = 3  # google.rpc.Code, as are these
#: Why an operation has failed; the ticket is worth nothing then, whatever the code.
_CODES = {
    _INVALID: FailureCode.INVALID_INPUT,
    4: FailureCode.PROVIDER_TIMEOUT,
    8: FailureCode.PROVIDER_QUOTA,
    13: FailureCode.PROVIDER_UNAVAILABLE,
    14: FailureCode.PROVIDER_UNAVAILABLE,
}


def veo_google(access: GoogleAccess, *, credentials: Credentials | None = None) -> Google:
    """Return the way to Veo: the Developer API has it in v1beta only."""
    return Google(access, "" if access.vertex else "v1beta", credentials=credentials)


class VeoVideos:
    """Makes a video from a prompt and, if given, its first frame. `google` is from `veo_google`.

    `poll_seconds` lie between two looks at a ticket. A ticket is the operation's name; any instance for the same
    account can collect it.
    """

    name: str = "veo"
    repeatable: bool = False

    def __init__(self, google: Google, model: str, poll_seconds: float = 10.0) -> None:
        self._model = model
        self.offers: Mapping[Capability, Offer] = {"video": offer_of("video", model)}
        self._google = google
        self._orders = google
        if not google.access.vertex:
            in_vertex_mode = replace(google.access, vertex=True, base_url=google.base_url)
            self._orders = Google(in_vertex_mode, google.api_version)
        self._poll_seconds = poll_seconds

    async def start(self, task: Task, call: Call) -> Answer:
        """Order the video and give its ticket. Raises ProviderError."""
        order = accepted(task, VideoTask, self.offers)
        await get_ready(self._orders)
        image = None
        if order.inputs:
            frame = await fit(await order.inputs[0].read(), FIRST_FRAME)
            image = types.Image(image_bytes=frame.data, mime_type=frame.content_type)
        source = types.GenerateVideosSource(prompt=order.prompt, image=image)
        try:
            async with self._orders.deadline():
                operation = await self._orders.client.aio.models.generate_videos(
                    model=self._model if self._google.access.vertex else f"models/{self._model}",
                    source=source,
                    config=types.GenerateVideosConfig(
                        number_of_videos=1,
                        duration_seconds=order.duration_seconds,
                        aspect_ratio=order.aspect_ratio,
                        resolution=_RESOLUTION,
                    ),
                )
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
            raise refused(error, billing="video", hide=self._secrets(order)) from None
        name = operation.name or ""
        if not _is_name(name):
            raise refused(Unreadable(), billing="video")
        call.usage.request_id = name
        return Ticket(name, self._poll_seconds)

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        """Give the MP4, or the ticket again while the work goes on. Raises ProviderError."""
        order = of_kind(task, VideoTask)
        hide = self._secrets(order)
        if not _is_name(ticket):
            raise ProviderError(FailureCode.PROVIDER_REJECTED, operator_message="This is no ticket of Veo's.")
        try:
            async with self._google.deadline():
                await self._google.ready()
                asked = types.GenerateVideosOperation.model_validate({"name": ticket})
                operation = await self._google.client.aio.operations.get(asked)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
            raise asking_failed(error, hide=hide) from None
        call.usage.request_id = ticket
        if not operation.done:
            return Ticket(ticket, self._poll_seconds)
        film = _film_of(operation, hide=hide)
        if film.video_bytes:
            media = await inline_video(film.video_bytes)
        else:
            media = await fetch_video(self._google, film.uri or "", hide=hide)
        call.usage.seconds = media.duration_seconds
        return media

    async def cancel(self, ticket: str) -> bool:  # noqa: ARG002 - the port
        """Say no: Google has no way to stop an operation of Veo's."""
        return False

    async def probe(self, capability: Capability) -> str:  # noqa: ARG002 - the port
        """Ask for the model's description, which is free. Raises ProviderError."""
        return await probe_model(self._google, self._model, "video")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._orders.aclose()
        await self._google.aclose()

    def _secrets(self, order: VideoTask) -> tuple[str, ...]:
        return (self._google.access.api_key, order.prompt)


def _film_of(operation: types.GenerateVideosOperation, *, hide: Iterable[str]) -> types.Video:
    """Return the video of an operation that is done. Raises ProviderError (final) if it has none."""
    if operation.error:
        number, message = operation.error.get("code"), str(operation.error.get("message") or "")
        found = _CODES.get(number) if isinstance(number, int) else None
        found = found or FailureCode.PROVIDER_REJECTED
        if found in {FailureCode.INVALID_INPUT, FailureCode.PROVIDER_REJECTED} and is_about_policy(message):
            found = FailureCode.CONTENT_POLICY
        said = words(f"Operation failed, code {number}:", message, hide=hide)
        raise ProviderError(found, operator_message=said)
    made = operation.response
    for sample in (made and made.generated_videos) or []:
        if sample.video and (sample.video.uri or sample.video.video_bytes):
            return sample.video
    reasons = (made and made.rai_media_filtered_reasons) or []
    filtered = bool(reasons or (made and made.rai_media_filtered_count))
    code = FailureCode.CONTENT_POLICY if filtered else FailureCode.PROVIDER_REJECTED
    said = "The video was filtered out." if filtered else "The operation is done, without a video."
    raise ProviderError(code, operator_message=words(said, *reasons, hide=hide))


def _is_name(value: str) -> bool:
    return bool(_NAME.fullmatch(value)) and ".." not in value
