"""Videos by Veo through the Developer API: what is sent, and what comes of it."""

import base64

import pytest

from tallyframe.providers.base import Media, Provider, Ticket
from tallyframe.providers.google.veo import VeoVideos, veo_google
from tests.support.google_filming import FRAME, PROMPT, access, collected, ordered, try_of, veo, video
from tests.support.google_videos import DEVELOPER_HOST, KEY, FakeVeo, film
from tests.support.vendor import answer

OPERATION = "models/veo-3.1-generate-preview/operations/op0001"


async def test_order_is_sent_as_documented_and_gives_a_ticket() -> None:
    async with veo(FakeVeo()) as (videos, server):
        call = try_of()
        assert await videos.start(video(8), call) == Ticket(OPERATION, 7.0)
        assert call.usage.request_id == OPERATION
        (request,) = server.requests
        assert (request.method, request.target) == (
            "POST",
            "/v1beta/models/veo-3.1-generate-preview:predictLongRunning",
        )
        assert request.headers["x-goog-api-key"] == KEY
        assert request.json == {
            "instances": [{"prompt": PROMPT}],
            "parameters": {"sampleCount": 1, "durationSeconds": 8, "aspectRatio": "9:16", "resolution": "720p"},
        }


async def test_first_frame_is_sent_in_standard_base64() -> None:
    frame = Media(FRAME.data + b"\xfb\xff\xfe\xfb\xff", "image/png", 90, 160)
    async with veo(FakeVeo()) as (videos, server):
        await ordered(videos, video(4, frame, "16:9"))
        (instance,) = server.requests[0].json["instances"]
        data = base64.b64encode(frame.data).decode()
        assert set(data) & set("+/")
        assert instance == {"prompt": PROMPT, "image": {"bytesBase64Encoded": data, "mimeType": "image/png"}}


async def test_a_later_instance_collects_by_the_ticket_alone() -> None:
    fake = FakeVeo(runs=2)
    async with veo(fake) as (videos, server):
        ticket = await ordered(videos)
        restarted: Provider = VeoVideos(veo_google(access(server.url)), "another-model", 7.0)
        for _ in range(2):
            assert await restarted.collect(ticket, video(), try_of(2)) == Ticket(ticket, 7.0)
        call = try_of(2)
        media = await restarted.collect(ticket, video(), call)
        assert media == Media(film(), "video/mp4", 90, 160, 1.0)
        assert (call.usage.seconds, call.usage.request_id) == (1.0, ticket)
        assert (call.usage.input_tokens, call.usage.output_tokens) == (None, None)
        assert [request.target for request in server.requests[1:]] == [
            *[f"/v1beta/{ticket}"] * 3,
            "/v1beta/files/vid0001:download?alt=media",
        ]
        assert fake.paid == 1
        await restarted.aclose()


async def test_of_several_samples_the_one_with_a_video_is_taken() -> None:
    sample = {"video": {"uri": f"{DEVELOPER_HOST}/v1beta/files/vid0001"}}
    ending = {"generateVideoResponse": {"raiMediaFilteredCount": 1, "generatedSamples": [{}, {"video": {}}, sample]}}
    async with veo(FakeVeo(ending=ending)) as (videos, _):
        assert (await collected(videos, await ordered(videos))).data == film()


@pytest.mark.parametrize("body", [{}, {"name": OPERATION}, {"done": False}, [1], None])
async def test_answer_that_says_no_end_is_still_running(body: object) -> None:
    fake = FakeVeo()
    async with veo(fake) as (videos, _):
        ticket = await ordered(videos)
        fake.instead["poll"].append(answer(body))
        assert await videos.collect(ticket, video(), try_of()) == Ticket(ticket, 7.0)


async def test_an_operation_cant_be_stopped() -> None:
    async with veo(FakeVeo()) as (videos, server):
        assert not await videos.cancel(OPERATION)
        assert server.requests == []


async def test_probe_asks_for_the_model() -> None:
    async with veo(FakeVeo()) as (videos, server):
        assert await videos.probe("video") == "veo-3.1-generate-preview is there: A model"
        assert [(request.method, request.target) for request in server.requests] == [
            ("GET", "/v1beta/models/veo-3.1-generate-preview")
        ]
        assert (videos.offers["video"].aspect_ratios, videos.offers["video"].seconds) == (("9:16", "16:9"), (4, 6, 8))


async def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders go through a client in Vertex mode, which would like to read all of this."""
    monkeypatch.setenv("GOOGLE_API_KEY", "of-somebody-else")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "a-project")
    monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v1alpha")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")
    async with veo(FakeVeo()) as (videos, server):
        await collected(videos, await ordered(videos))
        assert [request.path.split(":")[0] for request in server.requests] == [
            "/v1beta/models/veo-3.1-generate-preview",
            f"/v1beta/{OPERATION}",
            "/v1beta/files/vid0001",
        ]


async def test_a_path_in_front_of_the_address_is_kept() -> None:
    fake = FakeVeo()
    async with veo(fake) as (_, server):
        videos = VeoVideos(veo_google(access(f"{server.url}/proxy/")), fake.model)
        with pytest.raises(Exception, match="internal"):
            await videos.start(video(), try_of())
        assert server.requests[-1].path == "/proxy/v1beta/models/veo-3.1-generate-preview:predictLongRunning"
        await videos.aclose()
