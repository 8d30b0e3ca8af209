"""Videos by Omni: what is sent, and what comes of it."""

import base64
from io import BytesIO

import pytest
from PIL import Image

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Media, Provider, Ticket
from tallyframe.providers.google.omni import OmniVideos, omni_google
from tests.support.google_filming import FRAME, PROMPT, access, collected, omni, ordered, try_of, video
from tests.support.google_videos import KEY, FakeOmni, film
from tests.support.vendor import answer


async def test_order_is_sent_as_documented_and_gives_a_ticket() -> None:
    async with omni(FakeOmni()) as (videos, server):
        call = try_of()
        made = await videos.start(video(8), call)
        assert made == Ticket("v1_int0001", 3.0)
        assert call.usage.request_id == "v1_int0001"
        (request,) = server.requests
        assert (request.method, request.target) == ("POST", "/v1/interactions")
        assert request.headers["x-goog-api-key"] == KEY
        assert request.json == {
            "model": "gemini-omni-1.1-flash",
            "background": True,
            "store": True,
            "input": PROMPT,
            "response_format": {
                "type": "video",
                "aspect_ratio": "9:16",
                "resolution": "720p",
                "duration": "8s",
                "delivery": "uri",
            },
        }


async def test_first_frame_is_sent_before_the_prompt() -> None:
    async with omni(FakeOmni()) as (videos, server):
        await ordered(videos, video(frame=FRAME))
        sent = server.requests[0].json
        data = base64.b64encode(FRAME.data).decode()
        assert sent["input"] == [
            {
                "type": "user_input",
                "content": [
                    {"type": "image", "data": data, "mime_type": "image/png"},
                    {"type": "text", "text": PROMPT},
                ],
            }
        ]
        assert sent["generation_config"] == {"video_config": {"task": "image_to_video"}}


async def test_large_first_frame_is_made_smaller() -> None:
    large = Image.effect_noise((1500, 2400), 250).convert("RGB")
    out = BytesIO()
    large.save(out, "PNG", compress_level=1)
    async with omni(FakeOmni()) as (videos, server):
        await ordered(videos, video(frame=Media(out.getvalue(), "image/png", 1500, 2400)))
        sent = server.requests[0].json["input"][0]["content"][0]
        assert sent["mime_type"] == "image/jpeg"
        with Image.open(BytesIO(base64.b64decode(sent["data"]))) as picture:
            assert (picture.format, picture.size) == ("JPEG", (800, 1280))


async def test_a_later_instance_collects_by_the_ticket_alone() -> None:
    fake = FakeOmni(runs=2)
    async with omni(fake) as (videos, server):
        ticket = await ordered(videos)
        restarted: Provider = OmniVideos(omni_google(access(server.url)), "another-model", 3.0)
        for _ in range(2):
            assert await restarted.collect(ticket, video(), try_of(2)) == Ticket(ticket, 3.0)
        call = try_of(2)
        media = await restarted.collect(ticket, video(), call)
        assert media == Media(film(), "video/mp4", 90, 160, 1.0)
        assert (call.usage.input_tokens, call.usage.output_tokens) == (270, 34752)
        assert (call.usage.seconds, call.usage.request_id) == (1.0, ticket)
        assert [request.target for request in server.requests[1:]] == [
            *[f"/v1/interactions/{ticket}?stream=false"] * 3,
            "/v1/files/vid0001:download?alt=media",
        ]
        assert fake.paid == 1
        await restarted.aclose()


async def test_inline_result_is_taken_too() -> None:
    part = {"type": "video", "mime_type": "video/mp4", "data": base64.b64encode(film()).decode()}
    ending = {"steps": [{"type": "model_output", "content": [{"type": "text", "text": "Here it is."}, part]}]}
    async with omni(FakeOmni(ending=ending)) as (videos, server):
        assert (await collected(videos, await ordered(videos))).data == film()
        assert server.asked("GET", "/files/") == []


@pytest.mark.parametrize("status", ["queued", "in_progress", "requires_continuation", "dreaming", "", 7, None])
async def test_status_that_says_no_end_is_still_running(status: object) -> None:
    fake = FakeOmni()
    async with omni(fake) as (videos, _):
        ticket = await ordered(videos)
        fake.instead["poll"].append(answer({"id": ticket, "status": status, "usage": "none", "steps": 5}))
        assert await videos.collect(ticket, video(), try_of()) == Ticket(ticket, 3.0)


async def test_cancel_stops_what_runs_and_says_no_to_the_rest() -> None:
    fake = FakeOmni(runs=1)
    async with omni(fake) as (videos, server):
        ticket, done = await ordered(videos), await ordered(videos)
        assert await videos.cancel(ticket)
        with pytest.raises(ProviderError) as caught:
            await collected(videos, ticket)
        assert (caught.value.code, caught.value.retryable) == (FailureCode.PROVIDER_REJECTED, False)
        await videos.collect(done, video(), try_of())
        await collected(videos, done)
        assert not await videos.cancel(done)
        assert not await videos.cancel("v1_unknown")
        for ended in ("completed", "failed", "incomplete"):
            fake.instead["cancel"].append(answer({"id": done, "status": ended}))
            assert not await videos.cancel(done)
        asked = len(server.requests)
        assert not await videos.cancel("v1_x/../../models")
        assert len(server.requests) == asked


async def test_probe_asks_for_the_model() -> None:
    async with omni(FakeOmni()) as (videos, server):
        assert await videos.probe("video") == "gemini-omni-1.1-flash is there: A model"
        assert [(request.method, request.target) for request in server.requests] == [
            ("GET", "/v1/models/gemini-omni-1.1-flash")
        ]


async def test_a_later_model_makes_longer_videos() -> None:
    fake = FakeOmni(model="gemini-omni-1.2-flash", longest=15)
    async with omni(fake) as (videos, _):
        assert videos.offers["video"].aspect_ratios == ("9:16", "16:9")
        assert (videos.offers["video"].seconds[0], videos.offers["video"].seconds[-1]) == (4, 15)
        await ordered(videos, video(15, aspect_ratio="16:9"))
        assert fake.paid == 1
