"""How the tests of Google's videos order and collect them, and look at what is raised."""

import traceback
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, Media, Provider, Ticket, VideoTask
from tallyframe.providers.google.client import GoogleAccess
from tallyframe.providers.google.omni import OmniVideos, omni_google
from tallyframe.providers.google.veo import VeoVideos, veo_google
from tests.support.drawn import RED, picture
from tests.support.google_videos import KEY, FakeOmni, FakeVeo
from tests.support.tasks import Given
from tests.support.vendor import Vendor, vendor

PROMPT = "a canary-coloured cat surfing at dawn"
FRAME = Media(picture(RED, "PNG", (90, 160)), "image/png", 90, 160)
TOO_MUCH = 200 * 2**20  # bytes: more than any answer may have

#: code, retryable, in doubt, alarm
Expected = tuple[FailureCode, bool, bool, bool]
INVALID: Expected = (FailureCode.INVALID_INPUT, False, False, False)
POLICY: Expected = (FailureCode.CONTENT_POLICY, False, False, False)
REJECTED: Expected = (FailureCode.PROVIDER_REJECTED, False, False, False)
OURS: Expected = (FailureCode.INTERNAL, False, False, True)
QUOTA: Expected = (FailureCode.PROVIDER_QUOTA, True, False, False)
DAILY: Expected = (FailureCode.PROVIDER_QUOTA, False, False, True)
UNAVAILABLE: Expected = (FailureCode.PROVIDER_UNAVAILABLE, True, False, False)
LOST: Expected = (FailureCode.PROVIDER_UNAVAILABLE, False, True, False)
GARBLED: Expected = (FailureCode.PROVIDER_REJECTED, False, True, False)
TIMEOUT: Expected = (FailureCode.PROVIDER_TIMEOUT, False, True, False)
ASK_LATER: Expected = (FailureCode.PROVIDER_TIMEOUT, True, False, False)
ASK_WITH_ALARM: Expected = (FailureCode.INTERNAL, True, False, True)


def video(seconds: int = 6, frame: Media | None = None, aspect_ratio: str = "9:16") -> VideoTask:
    return VideoTask(PROMPT, aspect_ratio, seconds, (Given(frame),) if frame else ())


def try_of(attempt: int = 1) -> Call:
    return Call(f"gen-1:video:{attempt}", attempt)


def access(url: str, **over: Any) -> GoogleAccess:
    return GoogleAccess(**{"api_key": KEY, "base_url": url, "timeout": 20.0, **over})


@asynccontextmanager
async def omni(fake: FakeOmni, **over: Any) -> AsyncIterator[tuple[OmniVideos, Vendor]]:
    """Serve `fake`, and give an adapter that talks to it. At the end, no request may have been wrong."""
    async with vendor(fake.answer) as server:
        videos = OmniVideos(omni_google(access(server.url, **over)), fake.model, poll_seconds=3.0)
        yield videos, server
        await videos.aclose()
    assert fake.complaints == []


@asynccontextmanager
async def veo(fake: FakeVeo, **over: Any) -> AsyncIterator[tuple[VeoVideos, Vendor]]:
    """Serve `fake`, and give an adapter that talks to it. At the end, no request may have been wrong."""
    async with vendor(fake.answer) as server:
        videos = VeoVideos(veo_google(access(server.url, **over)), fake.model, poll_seconds=7.0)
        yield videos, server
        await videos.aclose()
    assert fake.complaints == []


async def ordered(videos: Provider, order: VideoTask | None = None) -> str:
    """Order, and return the ticket's value."""
    ticket = await videos.start(order or video(), try_of())
    assert isinstance(ticket, Ticket)
    return ticket.value


async def collected(videos: Provider, ticket: str) -> Media:
    media = await videos.collect(ticket, video(), try_of())
    assert isinstance(media, Media)
    return media


async def failing(call: Awaitable[object], expected: Expected) -> ProviderError:
    """Return the error that a call raises, having checked what it means and that it tells no secret."""
    with pytest.raises(ProviderError) as caught:
        await call
    error = caught.value
    assert (error.code, error.retryable, error.in_doubt, error.alarm) == expected, error.operator_message
    tell_tales = [str(error), repr(error), repr(error.args), error.message, error.operator_message]
    for told in (*tell_tales, *traceback.format_exception(error)):
        assert KEY not in told
        assert PROMPT not in told
    assert error.__suppress_context__ or error.__context__ is None
    assert 0 < len(error.operator_message) <= 1000
    return error
