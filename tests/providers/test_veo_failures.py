"""Veo at its worst: every failure has one meaning, an order is sent once, and nothing secret is told."""

import logging
import socket
import time
from typing import Any

import pytest

from tallyframe.errors import FailureCode
from tallyframe.providers.google.veo import VeoVideos, veo_google
from tests.support.google_filming import (
    ASK_LATER,
    ASK_WITH_ALARM,
    DAILY,
    GARBLED,
    INVALID,
    LOST,
    OURS,
    POLICY,
    PROMPT,
    QUOTA,
    REJECTED,
    TIMEOUT,
    TOO_MUCH,
    UNAVAILABLE,
    Expected,
    access,
    collected,
    failing,
    ordered,
    try_of,
    veo,
    video,
)
from tests.support.google_videos import KEY, FakeVeo
from tests.support.google_wire import bad_key, failure, quota
from tests.support.vendor import DROP, Reply, answer, hang

JSON = {"Content-Type": "application/json"}
REFUSED_ORDERS: dict[str, tuple[Reply, Expected]] = {
    "invalid": (failure(400, "INVALID_ARGUMENT", f"`negativePrompt` is wrong in {PROMPT} by {KEY}."), INVALID),
    "policy": (failure(400, "INVALID_ARGUMENT", "This violates the usage guidelines."), POLICY),
    "bad key": (bad_key(), OURS),
    "billing": (failure(400, "FAILED_PRECONDITION", "Enable billing."), OURS),
    "401": (failure(401, "UNAUTHENTICATED", "No credentials."), OURS),
    "403": (failure(403, "PERMISSION_DENIED", "The key was leaked."), OURS),
    "404": (failure(404, "NOT_FOUND", "The model is retired."), OURS),
    "quota": (quota(), QUOTA),
    "daily quota": (quota("PerDay"), DAILY),
    "quota in an array": (Reply(429, b"[" + quota().body + b"]", JSON), QUOTA),
    "503": (failure(503, "UNAVAILABLE", "Overloaded."), UNAVAILABLE),
    "500": (failure(500, "INTERNAL", "An internal error."), LOST),
    "502": (Reply(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}), LOST),
    "504": (failure(504, "DEADLINE_EXCEEDED", "Too late."), LOST),
    "redirect": (Reply(307, b"", {"Location": "http://127.0.0.1:9/"}), OURS),
}
LOST_ORDERS: dict[str, tuple[Reply, Expected]] = {
    "dropped": (DROP, LOST),
    "cut": (Reply(200, b'{"name": "models/a/o', JSON, cut_after=9), LOST),
    "garbage": (Reply(200, b"{nope", JSON), GARBLED),
    "html": (Reply(200, b"<html>", {"Content-Type": "text/html"}), GARBLED),
    "empty": (Reply(200, b"", JSON), GARBLED),
    "array": (answer([1, 2]), GARBLED),
    "number": (answer(5), GARBLED),
    "no name": (answer({}), GARBLED),
    "odd name": (answer({"name": 5}), GARBLED),
    "name with a path": (answer({"name": "models/a/operations/../../files/x:download?alt=media"}), GARBLED),
    "name of another thing": (answer({"name": "files/vid0001"}), GARBLED),
    "too large": (Reply(200, b'{"name": "models/a/operations/b"}', JSON, pad_to=TOO_MUCH), GARBLED),
}


@pytest.mark.parametrize("what", REFUSED_ORDERS)
async def test_refused_order(what: str) -> None:
    reply, expected = REFUSED_ORDERS[what]
    fake = FakeVeo()
    fake.instead["create"].append(reply)
    async with veo(fake) as (videos, server):
        error = await failing(videos.start(video(), try_of()), expected)
        assert f"HTTP {reply.status}" in error.operator_message
        assert error.retry_after == (31.0 if reply.status == 429 else None)
        assert (len(server.requests), fake.paid) == (1, 0)


@pytest.mark.parametrize("what", LOST_ORDERS)
async def test_order_with_a_lost_answer_is_in_doubt(what: str) -> None:
    reply, expected = LOST_ORDERS[what]
    fake = FakeVeo()
    fake.lost.append(reply)
    async with veo(fake) as (videos, server):
        await failing(videos.start(video(), try_of()), expected)
        assert (len(server.requests), fake.paid) == (1, 1)


async def test_order_that_hangs_is_in_doubt() -> None:
    fake = FakeVeo()
    fake.lost.append(hang())
    async with veo(fake, timeout=4.0) as (videos, server):
        started = time.monotonic()
        await failing(videos.start(video(), try_of()), TIMEOUT)
        assert time.monotonic() - started < 15
        assert (len(server.requests), fake.paid) == (1, 1)


async def test_order_that_was_never_sent_may_be_sent_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        videos = VeoVideos(veo_google(access(f"http://127.0.0.1:{free.getsockname()[1]}")), "veo-3.1-generate-preview")
        await failing(videos.start(video(), try_of()), UNAVAILABLE)
        await failing(videos.collect("models/a/operations/b", video(), try_of()), UNAVAILABLE)
        await failing(videos.probe("video"), UNAVAILABLE)
        await videos.aclose()


ASKING: dict[str, tuple[Reply, Expected]] = {
    "500": (failure(500, "INTERNAL", "An internal error."), UNAVAILABLE),
    "503": (failure(503, "UNAVAILABLE", "Overloaded."), UNAVAILABLE),
    "504": (failure(504, "DEADLINE_EXCEEDED", "Too late."), UNAVAILABLE),
    "400": (failure(400, "INVALID_ARGUMENT", "Try another time."), UNAVAILABLE),
    "quota": (quota(), QUOTA),
    "bad key": (bad_key(), ASK_WITH_ALARM),
    "403": (failure(403, "PERMISSION_DENIED", "The key was leaked."), ASK_WITH_ALARM),
    "dropped": (DROP, UNAVAILABLE),
    "cut": (Reply(200, b'{"name": "models/a', JSON, cut_after=9), UNAVAILABLE),
    "garbage": (Reply(200, b"{nope", JSON), UNAVAILABLE),
    "html": (Reply(200, b"<html>", {"Content-Type": "text/html"}), UNAVAILABLE),
    "number": (answer(5), UNAVAILABLE),
    "odd end": (answer({"done": "perhaps"}), UNAVAILABLE),
    "odd error": (answer({"done": True, "error": "boo"}), UNAVAILABLE),
    "hangs": (hang(), ASK_LATER),
    "too large": (Reply(200, b"{}", JSON, pad_to=TOO_MUCH), REJECTED),
    "404": (failure(404, "NOT_FOUND", "Operation not found."), REJECTED),
}


@pytest.mark.parametrize("what", ASKING)
async def test_failed_question_is_no_verdict_unless_it_can_never_be_answered(what: str) -> None:
    reply, expected = ASKING[what]
    fake = FakeVeo()
    fake.instead["poll"].append(reply)
    async with veo(fake) as (videos, server):
        ticket = await ordered(videos)
        asking = VeoVideos(veo_google(access(server.url, timeout=4.0 if reply.delay else 20.0)), fake.model)
        await failing(asking.collect(ticket, video(), try_of()), expected)
        await asking.aclose()
        assert len(server.requests) == 2
        if expected[1]:
            assert (await collected(videos, ticket)).duration_seconds == 1.0
        assert fake.paid == 1


@pytest.mark.parametrize(
    "ticket",
    [
        *("", "op0001", "models/a/operations/", "models/../operations/x", "models/a/operations/b?x=1"),
        *("files/vid0001", "models/a/operations/b/../../c", "https://example.org/models/a/operations/b"),
    ],
)
async def test_ticket_of_another_kind_is_never_asked_for(ticket: str) -> None:
    async with veo(FakeVeo()) as (videos, server):
        await failing(videos.collect(ticket, video(), try_of()), REJECTED)
        assert server.requests == []


async def test_unknown_ticket_is_a_verdict() -> None:
    async with veo(FakeVeo()) as (videos, _):
        await failing(videos.collect("models/a/operations/b", video(), try_of()), REJECTED)


def final(code: FailureCode) -> Expected:
    return code, False, False, False


RAI = "The video was blocked by usage guideline 58061214."
VERDICTS: dict[str, tuple[dict[str, Any], Expected, str]] = {
    "filtered": (
        {"generateVideoResponse": {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": [RAI]}},
        POLICY,
        "58061214",
    ),
    "filtered without a reason": ({"generateVideoResponse": {"raiMediaFilteredCount": 1}}, POLICY, "filtered out"),
    "empty": ({"generateVideoResponse": {}}, REJECTED, "without a video"),
    "no samples": ({"generateVideoResponse": {"generatedSamples": []}}, REJECTED, "without a video"),
    "odd samples": ({"generateVideoResponse": {"generatedSamples": "abc"}}, REJECTED, "without a video"),
    "nothing": ({}, REJECTED, "without a video"),
    "internal": (
        {"error": {"code": 13, "message": "Boom."}},
        final(FailureCode.PROVIDER_UNAVAILABLE),
        "code 13: Boom.",
    ),
    "unavailable": ({"error": {"code": 14}}, final(FailureCode.PROVIDER_UNAVAILABLE), "code 14"),
    "exhausted": ({"error": {"code": 8, "message": "No more."}}, final(FailureCode.PROVIDER_QUOTA), "No more."),
    "deadline": ({"error": {"code": 4, "message": "Late."}}, final(FailureCode.PROVIDER_TIMEOUT), "Late."),
    "invalid": ({"error": {"code": 3, "message": "The image is too small."}}, INVALID, "too small"),
    "policy": ({"error": {"code": 3, "message": "This contains sensitive words."}}, POLICY, "sensitive"),
    "unknown code": ({"error": {"code": 99, "message": "What?"}}, REJECTED, "code 99"),
    "odd code": ({"error": {"code": "x", "message": ["y"]}}, REJECTED, "code x"),
    "repeats the prompt": ({"error": {"code": 3, "message": f"{PROMPT}? {KEY}"}}, INVALID, "[hidden]? [hidden]"),
    "elsewhere": (
        {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": "https://example.org/files/a"}}]}},
        REJECTED,
        "not in the Files API",
    ),
}


@pytest.mark.parametrize("what", VERDICTS)
async def test_end_without_a_video_is_final(what: str) -> None:
    ending, expected, said = VERDICTS[what]
    async with veo(FakeVeo(ending=ending)) as (videos, server):
        ticket = await ordered(videos)
        error = await failing(videos.collect(ticket, video(), try_of()), expected)
        assert said in error.operator_message
        assert (len(server.asked("POST", "/")), server.asked("GET", "/files/")) == (1, [])


async def test_failed_probe_says_what_to_do() -> None:
    fake = FakeVeo()
    fake.instead["probe"].extend([failure(404, "NOT_FOUND", "Retired."), failure(500, "INTERNAL", "Boom."), bad_key()])
    async with veo(fake) as (videos, _):
        error = await failing(videos.probe("video"), OURS)
        assert "change TALLYFRAME_VIDEO_MODEL" in error.operator_message
        await failing(videos.probe("video"), UNAVAILABLE)
        await failing(videos.probe("video"), OURS)


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_DEBUG", "1")
    caplog.set_level(logging.DEBUG)
    fake = FakeVeo()
    fake.instead["create"].append(failure(500, "INTERNAL", "Boom."))
    async with veo(fake) as (videos, _):
        await failing(videos.start(video(), try_of()), LOST)
        await collected(videos, await ordered(videos))
    assert KEY not in caplog.text
    assert PROMPT not in caplog.text
