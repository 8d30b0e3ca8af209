"""When Google's adapters read pictures, and what they check before: what can't be made is neither read nor sent."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from google.auth.exceptions import RefreshError
from google.oauth2.credentials import Credentials

from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.providers.base import ImageTask, Media, Provider, Task, TextTask, Ticket, VideoTask, VisionTask
from tallyframe.providers.google.client import GoogleAccess
from tallyframe.providers.google.gemini import Gemini
from tallyframe.providers.google.omni import OmniVideos, omni_google
from tallyframe.providers.google.veo import VeoVideos, veo_google
from tests.support.google import MODEL
from tests.support.google_all import KEY, FakeGoogle, google
from tests.support.google_asking import CAT, INSTRUCTIONS, Script, first_try, outcome
from tests.support.google_text import TEXT_MODEL
from tests.support.tasks import Given
from tests.support.vendor import answer

Make = Callable[[GoogleAccess, Credentials | None], Provider]

MODELS: dict[Any, str] = {"image": MODEL, "text": TEXT_MODEL, "vision": TEXT_MODEL}


def gemini(access: GoogleAccess, credentials: Credentials | None) -> Provider:
    return Gemini(access, MODELS, credentials=credentials)


def omni(access: GoogleAccess, credentials: Credentials | None) -> Provider:
    return OmniVideos(omni_google(access, credentials=credentials), "gemini-omni-1.1-flash", 1.0)


def veo(access: GoogleAccess, credentials: Credentials | None) -> Provider:
    return VeoVideos(veo_google(access, credentials=credentials), "veo-3.1-generate-preview", 1.0)


def image(*pictures: Given) -> ImageTask:
    return ImageTask("a cup", "1:1", pictures)


def video(*pictures: Given) -> VideoTask:
    return VideoTask("a cup", "9:16", 6, pictures)


def text(*pictures: Given) -> TextTask[Script]:
    return TextTask(INSTRUCTIONS, "a cup", Script, inputs=pictures)


def vision(*pictures: Given) -> VisionTask[Script]:
    return VisionTask(INSTRUCTIONS, "a cup", Script, pictures)


WITH_PICTURES = [(gemini, image), (gemini, vision), (omni, video), (veo, video)]


@asynccontextmanager
async def running(make: Make) -> AsyncIterator[tuple[Provider, FakeGoogle]]:
    async with google() as fake:
        provider = make(GoogleAccess(KEY, fake.server.url, timeout=20.0), None)
        yield provider, fake
        await provider.aclose()
    assert fake.complaints == []


@pytest.mark.parametrize(("make", "task"), WITH_PICTURES)
async def test_a_picture_is_read_once_when_the_order_is_placed(make: Make, task: Callable[..., Task]) -> None:
    async with running(make) as (provider, _):
        given = Given(CAT)
        await provider.start(task(given), first_try())
        assert given.reads == 1


@pytest.mark.parametrize("make", [omni, veo])
async def test_a_ticket_is_collected_without_reading_anything(make: Make) -> None:
    async with running(make) as (provider, fake):
        fake.omni.runs = fake.veo.runs = 2
        given = Given(CAT)
        answered = await provider.start(video(given), first_try())
        while isinstance(answered, Ticket):
            answered = await provider.collect(answered.value, video(given), first_try())
        assert isinstance(answered, Media)
        assert given.reads == 1


@pytest.mark.parametrize(
    ("make", "task", "said"),
    [
        (gemini, replace(image(), aspect_ratio="2:1"), "an aspect ratio of 1:1, 9:16, 16:9, 4:5, 3:4; 0 to 4 pictures"),
        (gemini, image(*[Given(CAT)] * 5), "0 to 4 pictures"),
        (gemini, text(Given(CAT)), "0 to 0 pictures"),
        (gemini, vision(), "1 to 10 pictures"),
        (gemini, vision(*[Given(CAT)] * 11), "1 to 10 pictures"),
        (omni, replace(video(Given(CAT)), aspect_ratio="1:1"), "an aspect ratio of 9:16, 16:9"),
        (omni, replace(video(Given(CAT)), duration_seconds=11), "a length of 4, 5, 6, 7, 8, 9, 10 seconds"),
        (omni, video(*[Given(CAT)] * 2), "0 to 1 pictures"),
        (veo, replace(video(Given(CAT)), duration_seconds=5), "a length of 4, 6, 8 seconds; 0 to 1 pictures"),
        (veo, replace(video(Given(CAT)), aspect_ratio="4:5"), "an aspect ratio of 9:16, 16:9"),
        (veo, video(*[Given(CAT)] * 2), "0 to 1 pictures"),
    ],
)
async def test_what_is_not_offered_is_neither_read_nor_sent(make: Make, task: Task, said: str) -> None:
    async with running(make) as (provider, fake):
        with pytest.raises(ProviderError) as caught:
            await provider.start(task, first_try())
        assert outcome(caught.value) == (FailureCode.INVALID_INPUT, (False, False, False))
        assert said in caught.value.message
        assert fake.server.requests == []
        assert [each.reads for each in task.inputs if isinstance(each, Given)] == [0] * len(task.inputs)


@pytest.mark.parametrize(("make", "task"), [(gemini, video), (omni, image), (omni, text), (veo, vision), (veo, image)])
async def test_a_task_that_came_to_the_wrong_adapter_is_an_alarm(make: Make, task: Callable[..., Task]) -> None:
    async with running(make) as (provider, fake):
        wrong, given = task(), Given(CAT)
        for ask in (provider.start(task(given), first_try()), provider.collect("v1_int0001", wrong, first_try())):
            with pytest.raises(ProviderError) as caught:
                await ask
            assert outcome(caught.value) == (FailureCode.INTERNAL, (False, False, True))
        assert given.reads == 0
        assert fake.server.requests == []


async def test_a_capability_without_a_model_is_an_alarm() -> None:
    async with google() as fake:
        provider = Gemini(GoogleAccess(KEY, fake.server.url), {"text": TEXT_MODEL})
        assert set(provider.offers) == {"text"}
        for ask in (provider.start(vision(Given(CAT)), first_try()), provider.probe("image")):
            with pytest.raises(ProviderError) as caught:
                await ask
            assert outcome(caught.value) == (FailureCode.INTERNAL, (False, False, True))
        await provider.aclose()
        assert fake.server.requests == []


@pytest.mark.parametrize(("make", "task"), WITH_PICTURES)
async def test_without_a_token_no_picture_is_read(
    make: Make, task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RefreshError("revoked")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Credentials, "refresh", fail)
    async with google() as fake:
        access = GoogleAccess("", fake.server.url, vertex=True, project="p1")
        provider = make(access, Credentials(None))  # type: ignore[no-untyped-call]
        given = Given(CAT)
        with pytest.raises(ProviderError) as caught:
            await provider.start(task(given), first_try())
        assert outcome(caught.value) == (FailureCode.INTERNAL, (False, False, True))
        await provider.aclose()
        assert given.reads == 0
        assert fake.server.requests == []


class Gone(Given):
    async def read(self) -> Media:
        raise GenerationError(FailureCode.STORAGE_UNAVAILABLE, retryable=True)


@pytest.mark.parametrize(("make", "task"), WITH_PICTURES)
async def test_a_picture_that_cant_be_read_now_leaves_no_doubt(make: Make, task: Callable[..., Task]) -> None:
    async with running(make) as (provider, fake):
        with pytest.raises(GenerationError) as caught:
            await provider.start(task(Gone(CAT)), first_try())
        assert (caught.value.code, caught.value.retryable) == (FailureCode.STORAGE_UNAVAILABLE, True)
        assert not isinstance(caught.value, ProviderError)
        assert fake.server.requests == []


async def test_the_parts_of_gemini_share_one_client_that_is_closed_once() -> None:
    async with running(gemini) as (provider, fake):
        for task in (image(Given(CAT)), text(), vision(Given(CAT))):
            await provider.start(task, first_try())
        assert (len(fake.gemini.orders), len(fake.text.orders)) == (1, 2)
        assert [await provider.probe(each) for each in provider.offers] == [
            *(f"{model} is there: A model" for model in MODELS.values()),
        ]
        await provider.aclose()
        fake.before = lambda _request: answer({})
        asked = len(fake.server.requests)
        for task in (image(), text()):
            with pytest.raises(ProviderError):
                await provider.start(task, first_try())
        assert len(fake.server.requests) == asked
