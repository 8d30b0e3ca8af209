"""Videos by Gemini Omni through the interactions API: order in the background, ask by id, fetch the file.

Facts: POST {version}/interactions takes snake_case JSON, and without `background` would hold the line for the whole
work. `duration` is a string such as "6s"; what comes inline may have about 4 MB, so the Developer API is told to
deliver by address. Vertex delivers by address only into a bucket, so there it comes inline, whatever its size.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from google.auth.credentials import Credentials
from google.genai.interactions import Interaction

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, Offer, Task, Ticket, VideoTask, of_kind
from tallyframe.providers.fitting import FIRST_FRAME, fit
from tallyframe.providers.google.calls import Unreadable, accepted, get_ready, probe_model
from tallyframe.providers.google.client import Google, GoogleAccess
from tallyframe.providers.google.downloads import fetch_video, unpack_video
from tallyframe.providers.google.interaction_failures import asking_failed, cant_be_stopped, order_failed
from tallyframe.providers.google.interactions import film_of, is_running, note_usage
from tallyframe.providers.google.offers import offer_of

_RESOLUTION = "720p"
_ID = re.compile(r"[A-Za-z0-9][\w.=-]{0,1023}", re.ASCII)  # the SDK puts ids into the path as they are


def omni_google(access: GoogleAccess, *, credentials: Credentials | None = None) -> Google:
    """Return the way to Omni: on Vertex, it is to be had in the location "global" only."""
    return Google(replace(access, location="global" if access.project else ""), credentials=credentials)


class OmniVideos:
    """Makes a video from a prompt and, if given, its first frame. `poll_seconds` lie between two looks at a ticket.

    A ticket is the interaction's id; any instance for the same account can collect it.
    """

    name: str = "omni"
    repeatable: bool = False

    def __init__(self, google: Google, model: str, poll_seconds: float = 5.0) -> None:
        self._model = model
        self.offers: Mapping[Capability, Offer] = {"video": offer_of("video", model)}
        self._google = google
        self._poll_seconds = poll_seconds
        if google.access.api_key:
            _ = google.client.aio.interactions  # loads that part of the SDK now: it takes half a second and 10 MB

    async def start(self, task: Task, call: Call) -> Answer:
        """Order the video and give its ticket. Raises ProviderError."""
        order = accepted(task, VideoTask, self.offers)
        await get_ready(self._google)
        body = await self._body(order)
        try:
            async with self._google.deadline():
                made = await self._google.client.aio.interactions.create(**body)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
            raise order_failed(error, hide=self._secrets(order)) from None
        if not isinstance(made, Interaction) or not _is_id(made.id):
            raise order_failed(Unreadable())
        note_usage(made, call.usage)
        return Ticket(made.id or "", self._poll_seconds)

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        """Give the MP4, or the ticket again while the work goes on. Raises ProviderError."""
        order = of_kind(task, VideoTask)
        hide = self._secrets(order)
        if not _is_id(ticket):
            raise ProviderError(FailureCode.PROVIDER_REJECTED, operator_message="This is no ticket of Omni's.")
        try:
            async with self._google.deadline():
                await self._google.ready()
                found = await self._google.client.aio.interactions.get(ticket)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
            raise asking_failed(error, hide=hide) from None
        if not isinstance(found, Interaction):
            raise asking_failed(Unreadable())
        note_usage(found, call.usage)
        if is_running(found):
            return Ticket(ticket, self._poll_seconds)
        film = film_of(found, hide=hide)
        if film.data:
            media = await unpack_video(film.data)
        else:
            media = await fetch_video(self._google, film.uri or "", hide=hide)
        call.usage.seconds = media.duration_seconds
        return media

    async def cancel(self, ticket: str) -> bool:
        """Stop the work. False: it has ended already, or there is none. Raises ProviderError when nobody knows."""
        if not _is_id(ticket):
            return False
        try:
            async with self._google.deadline():
                await self._google.ready()
                found: object = await self._google.client.aio.interactions.cancel(ticket)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises, none of it may leave: it holds the key
            if cant_be_stopped(error):
                return False
            raise asking_failed(error, hide=self._secrets()) from None
        if not isinstance(found, Interaction) or is_running(found):
            raise asking_failed(Unreadable())  # nobody knows: it goes on, or somebody in between has answered
        return found.status == "cancelled"

    async def probe(self, capability: Capability) -> str:  # noqa: ARG002 - the port
        """Ask for the model's description, which is free. Raises ProviderError."""
        return await probe_model(self._google, self._model, "video")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._google.aclose()

    async def _body(self, order: VideoTask) -> dict[str, Any]:
        wanted = {
            "type": "video",
            "aspect_ratio": order.aspect_ratio,
            "resolution": _RESOLUTION,
            "duration": f"{order.duration_seconds}s",
        }
        if not self._google.access.vertex:
            wanted["delivery"] = "uri"
        body = {"model": self._model, "background": True, "store": True, "response_format": wanted}
        if not order.inputs:
            return {**body, "input": order.prompt}
        frame = await fit(await order.inputs[0].read(), FIRST_FRAME)
        picture = {"type": "image", "data": base64.b64encode(frame.data).decode(), "mime_type": frame.content_type}
        task = {"video_config": {"task": "image_to_video"}}
        return {**body, "input": [picture, {"type": "text", "text": order.prompt}], "generation_config": task}

    def _secrets(self, order: VideoTask | None = None) -> tuple[str, ...]:
        return (self._google.access.api_key, order.prompt if order else "")


def _is_id(value: object) -> bool:
    return isinstance(value, str) and bool(_ID.fullmatch(value)) and ".." not in value
