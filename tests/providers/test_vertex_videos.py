"""Omni and Veo in Vertex mode: with a project and an access token, or with a key alone. Results come inline."""

import time

import pytest
from google.auth.exceptions import RefreshError, TransportError
from google.oauth2.credentials import Credentials

from tallyframe.providers.base import Ticket
from tallyframe.providers.google.client import GoogleAccess
from tallyframe.providers.google.omni import OmniVideos, omni_google
from tallyframe.providers.google.veo import VeoVideos, veo_google
from tests.support.google_filming import (
    FRAME,
    OURS,
    POLICY,
    PROMPT,
    REJECTED,
    UNAVAILABLE,
    Expected,
    access,
    collected,
    failing,
    ordered,
    try_of,
    video,
)
from tests.support.google_videos import KEY, FakeOmni, FakeVeo, film
from tests.support.vendor import vendor

TOKEN = "ya29.canary-token-of-a-test"
PROJECT = "projects/a-project/locations/us-central1"
OMNI = "gemini-omni-1.1-flash-preview"
VEO = "veo-3.1-generate-001"


class Moody(Credentials):
    """Credentials whose token is to be fetched, which takes time or fails."""

    def __init__(self, error: Exception | None = None, seconds: float = 0.0) -> None:
        super().__init__(None)  # type: ignore[no-untyped-call]
        self.error, self.seconds = error, seconds

    def refresh(self, request: object) -> None:
        time.sleep(self.seconds)
        if self.error:
            raise self.error
        self.token = TOKEN


def with_token(token: str) -> Credentials:
    return Credentials(token)  # type: ignore[no-untyped-call]


def in_project(url: str, timeout: float = 5.0) -> GoogleAccess:
    return access(url, api_key="", vertex=True, project="a-project", location="us-central1", timeout=timeout)


async def test_omni_is_asked_at_its_only_location_and_delivers_inline() -> None:
    fake = FakeOmni(token=TOKEN, base="/v1beta1/projects/a-project/locations/global", model=OMNI, runs=1)
    async with vendor(fake.answer) as server:
        videos = OmniVideos(omni_google(in_project(server.url), credentials=with_token(TOKEN)), OMNI, 3.0)
        ticket = await ordered(videos, video(frame=FRAME))
        assert await videos.collect(ticket, video(), try_of()) == Ticket(ticket, 3.0)
        assert (await collected(videos, ticket)).data == film()
        assert not await videos.cancel(ticket)
        assert await videos.probe("video") == f"{OMNI} is there: A model"
        await videos.aclose()
        assert server.requests[0].json["response_format"] == {
            "type": "video",
            "aspect_ratio": "9:16",
            "resolution": "720p",
            "duration": "6s",
        }
        one = f"/v1beta1/projects/a-project/locations/global/interactions/{ticket}"
        assert [request.target for request in server.requests[1:]] == [
            *[f"{one}?stream=false"] * 2,
            f"{one}/cancel",
            f"/v1beta1/publishers/google/models/{OMNI}",
        ]
    assert (fake.complaints, fake.paid) == ([], 1)


async def test_veo_is_sent_as_documented_and_asked_by_post() -> None:
    fake = FakeVeo(token=TOKEN, base=f"/v1beta1/{PROJECT}", model=VEO, runs=1)
    async with vendor(fake.answer) as server:
        videos = VeoVideos(veo_google(in_project(server.url), credentials=with_token(TOKEN)), VEO, 7.0)
        ticket = await ordered(videos, video(8))
        assert ticket == f"{PROJECT}/publishers/google/models/{VEO}/operations/op0001"
        assert await videos.collect(ticket, video(), try_of()) == Ticket(ticket, 7.0)
        assert (await collected(videos, ticket)).data == film()
        assert not await videos.cancel(ticket)
        assert await videos.probe("video") == f"{VEO} is there: A model"
        await videos.aclose()
        assert [(request.target, request.body and request.json) for request in server.requests] == [
            (
                f"/v1beta1/{PROJECT}/publishers/google/models/{VEO}:predictLongRunning",
                {
                    "instances": [{"prompt": PROMPT}],
                    "parameters": {"sampleCount": 1, "durationSeconds": 8, "aspectRatio": "9:16", "resolution": "720p"},
                },
            ),
            *[
                (
                    f"/v1beta1/{PROJECT}/publishers/google/models/{VEO}:fetchPredictOperation",
                    {"operationName": ticket},
                )
            ]
            * 2,
            (f"/v1beta1/publishers/google/models/{VEO}", b""),
        ]
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {TOKEN}"}
    assert (fake.complaints, fake.paid) == ([], 1)


async def test_both_take_a_key_without_a_project() -> None:
    veo_fake = FakeVeo(base="/v1beta1", model=VEO)
    async with vendor(veo_fake.answer) as server:
        videos = VeoVideos(veo_google(access(server.url, vertex=True)), VEO)
        assert (await collected(videos, await ordered(videos, video(frame=FRAME)))).data == film()
        await videos.aclose()
    omni_fake = FakeOmni(base="/v1beta1", model=OMNI)
    async with vendor(omni_fake.answer) as server:
        others = OmniVideos(omni_google(access(server.url, vertex=True)), OMNI)
        assert (await collected(others, await ordered(others))).data == film()
        await others.aclose()
    assert veo_fake.complaints == omni_fake.complaints == []


RAI = "Support code 58061214."


@pytest.mark.parametrize(
    ("ending", "expected", "said"),
    [
        ({"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [RAI]}, POLICY, RAI),
        ({"videos": [{"gcsUri": "gs://bucket/a.mp4", "mimeType": "video/mp4"}]}, REJECTED, "Unset the bucket"),
        ({"videos": []}, REJECTED, "without a video"),
        ({"videos": [{"bytesBase64Encoded": "AAAA"}]}, REJECTED, "can't be used"),
        ({"error": {"code": 3, "message": "It violates the usage guidelines."}}, POLICY, "guidelines"),
    ],
)
async def test_end_of_veo_without_a_video_is_final(ending: dict[str, object], expected: Expected, said: str) -> None:
    fake = FakeVeo(token=TOKEN, base=f"/v1beta1/{PROJECT}", model=VEO, ending=ending)
    async with vendor(fake.answer) as server:
        videos = VeoVideos(veo_google(in_project(server.url), credentials=with_token(TOKEN)), VEO)
        ticket = await ordered(videos)
        error = await failing(videos.collect(ticket, video(), try_of()), expected)
        assert said in error.operator_message
        assert error.spent is (said in {"Unset the bucket", "can't be used"})  # it was made, and will be billed
        await videos.aclose()


async def test_a_wrong_token_is_ours_to_mend() -> None:
    fake = FakeVeo(token=TOKEN, base=f"/v1beta1/{PROJECT}", model=VEO)
    async with vendor(fake.answer) as server:
        videos = VeoVideos(veo_google(in_project(server.url), credentials=with_token("another")), VEO)
        await failing(videos.start(video(), try_of()), OURS)
        await videos.aclose()
    assert fake.paid == 0


async def test_without_a_token_nothing_is_in_doubt() -> None:
    fake = FakeVeo(token=TOKEN, base=f"/v1beta1/{PROJECT}", model=VEO)
    async with vendor(fake.answer) as server:
        for credentials, expected in (
            (Moody(RefreshError(f"invalid_grant {KEY}")), OURS),  # type: ignore[no-untyped-call]
            (Moody(TransportError(KEY, retryable=True)), UNAVAILABLE),  # type: ignore[no-untyped-call]
            (Moody(seconds=0.6), UNAVAILABLE),
        ):
            google = veo_google(in_project(server.url, timeout=0.3), credentials=credentials)
            videos = VeoVideos(google, VEO)
            await failing(videos.start(video(), try_of()), expected)
            others = OmniVideos(omni_google(in_project(server.url, timeout=0.3), credentials=credentials), OMNI)
            credentials.token = None
            await failing(others.start(video(), try_of()), expected)
            await videos.aclose()
            await others.aclose()
        assert server.requests == []
