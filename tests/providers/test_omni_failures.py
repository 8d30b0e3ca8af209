"""Omni at its worst: every failure has one meaning, an order is sent once, and nothing secret is told."""

import logging
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tallyframe.providers.google.omni import OmniVideos, omni_google
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
    omni,
    ordered,
    try_of,
    video,
)
from tests.support.google_videos import KEY, FakeOmni
from tests.support.google_wire import bad_key, failure, interactions_error, quota, refusal
from tests.support.streaming import dripping
from tests.support.vendor import DROP, Reply, answer, hang

JSON = {"Content-Type": "application/json"}
REFUSED_ORDERS: dict[str, tuple[Reply, Expected]] = {
    "invalid": (interactions_error("Unsupported duration."), INVALID),
    "repeats the prompt": (interactions_error(f"What is {PROMPT}, {KEY}?"), INVALID),
    "safety": (interactions_error("The input was blocked for safety reasons, see our policy."), POLICY),
    "numeric 400": (failure(400, "INVALID_ARGUMENT", "Request contains an invalid argument."), INVALID),
    "bad key": (bad_key(), OURS),
    "billing": (failure(400, "FAILED_PRECONDITION", "Enable billing."), OURS),
    "401": (failure(401, "UNAUTHENTICATED", "No credentials."), OURS),
    "403": (failure(403, "PERMISSION_DENIED", "The key was leaked."), OURS),
    "404": (failure(404, "NOT_FOUND", "The model is retired."), OURS),
    "409": (interactions_error("Conflict.", 409, "aborted"), REJECTED),
    "422": (interactions_error("Unprocessable.", 422), REJECTED),
    "quota": (quota(), QUOTA),
    "daily quota": (quota("PerDay"), DAILY),
    "quota in an array": (Reply(429, b"[" + quota().body + b"]", JSON), QUOTA),
    "503": (failure(503, "UNAVAILABLE", "Overloaded."), UNAVAILABLE),
    "500": (failure(500, "INTERNAL", "An internal error."), LOST),
    "500 in words": (interactions_error("An internal error.", 500, "internal"), LOST),
    "502": (Reply(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}), LOST),
    "504": (failure(504, "DEADLINE_EXCEEDED", "Too late."), LOST),
    "redirect": (Reply(302, b"", {"Location": "http://127.0.0.1:9/"}), OURS),
}
LOST_ORDERS: dict[str, tuple[Reply, Expected]] = {
    "dropped": (DROP, LOST),
    "cut": (Reply(200, b'{"id": "v1_int0001"', JSON, cut_after=9), LOST),
    "garbage": (Reply(200, b"{nope", JSON), GARBLED),
    "html": (Reply(200, b"<html>", {"Content-Type": "text/html"}), GARBLED),
    "empty": (Reply(200, b"", JSON), GARBLED),
    "array": (answer([1, 2]), GARBLED),
    "null": (answer(None), GARBLED),
    "no id": (answer({"status": "in_progress"}), GARBLED),
    "id with a path": (answer({"id": "v1_a/../../files?x", "status": "in_progress"}), GARBLED),
    "201": (answer({"id": "v1_int0001", "status": "in_progress"}, 201), GARBLED),
    "too large": (Reply(200, b'{"id": "v1_int0001"}', JSON, pad_to=TOO_MUCH), GARBLED),
}


@pytest.mark.parametrize("what", REFUSED_ORDERS)
async def test_refused_order(what: str) -> None:
    reply, expected = REFUSED_ORDERS[what]
    fake = FakeOmni()
    fake.instead["create"].append(reply)
    async with omni(fake) as (videos, server):
        error = await failing(videos.start(video(), try_of()), expected)
        assert f"HTTP {reply.status}" in error.operator_message
        assert error.retry_after == (31.0 if reply.status == 429 else None)
        assert (len(server.requests), fake.paid) == (1, 0)


@pytest.mark.parametrize("what", LOST_ORDERS)
async def test_order_with_a_lost_answer_is_in_doubt(what: str) -> None:
    reply, expected = LOST_ORDERS[what]
    fake = FakeOmni()
    fake.lost.append(reply)
    async with omni(fake) as (videos, server):
        await failing(videos.start(video(), try_of()), expected)
        assert (len(server.requests), fake.paid) == (1, 1)


async def test_order_that_hangs_is_in_doubt() -> None:
    fake = FakeOmni()
    fake.lost.append(hang())
    async with omni(fake, timeout=4.0) as (videos, server):
        started = time.monotonic()
        await failing(videos.start(video(), try_of()), TIMEOUT)
        assert time.monotonic() - started < 15
        assert (len(server.requests), fake.paid) == (1, 1)


async def test_order_that_drips_ends_at_the_deadline() -> None:
    async with dripping() as stream:
        videos = OmniVideos(omni_google(access(stream.url, timeout=0.4)), "gemini-omni-1.1-flash")
        started = time.monotonic()
        await failing(videos.start(video(), try_of()), TIMEOUT)
        assert time.monotonic() - started < 15
        await videos.aclose()


async def test_order_that_was_never_sent_may_be_sent_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        videos = OmniVideos(omni_google(access(f"http://127.0.0.1:{free.getsockname()[1]}")), "gemini-omni-1.1-flash")
        await failing(videos.start(video(), try_of()), UNAVAILABLE)
        await failing(videos.collect("v1_int0001", video(), try_of()), UNAVAILABLE)
        await failing(videos.cancel("v1_int0001"), UNAVAILABLE)
        await failing(videos.probe("video"), UNAVAILABLE)
        await videos.aclose()


@pytest.mark.parametrize("header", ["90", "date"])
async def test_the_longer_wait_counts(header: str) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    fake = FakeOmni()
    fake.instead["create"].append(quota(delay="12.5s", Retry_After=later if header == "date" else header))
    async with omni(fake) as (videos, _):
        error = await failing(videos.start(video(), try_of()), QUOTA)
        assert error.retry_after == pytest.approx(90, abs=3)


ASKING: dict[str, tuple[Reply, Expected]] = {
    "500": (failure(500, "INTERNAL", "An internal error."), UNAVAILABLE),
    "503": (failure(503, "UNAVAILABLE", "Overloaded."), UNAVAILABLE),
    "504": (failure(504, "DEADLINE_EXCEEDED", "Too late."), UNAVAILABLE),
    "400 in other words": (interactions_error("Try another time."), UNAVAILABLE),
    "quota": (quota(), QUOTA),
    "bad key": (bad_key(), ASK_WITH_ALARM),
    "403": (failure(403, "PERMISSION_DENIED", "The key was leaked."), ASK_WITH_ALARM),
    "dropped": (DROP, UNAVAILABLE),
    "cut": (Reply(200, b'{"id": "v1_int0001"', JSON, cut_after=9), UNAVAILABLE),
    "garbage": (Reply(200, b"{nope", JSON), UNAVAILABLE),
    "html": (Reply(200, b"<html>", {"Content-Type": "text/html"}), UNAVAILABLE),
    "array": (answer([1]), UNAVAILABLE),
    "null": (answer(None), UNAVAILABLE),
    "hangs": (hang(), ASK_LATER),
    "too large": (Reply(200, b"{}", JSON, pad_to=TOO_MUCH), REJECTED),
    "404": (interactions_error("No such interaction.", 404, "not_found"), REJECTED),
}


@pytest.mark.parametrize("what", ASKING)
async def test_failed_question_is_no_verdict_unless_it_can_never_be_answered(what: str) -> None:
    reply, expected = ASKING[what]
    fake = FakeOmni()
    fake.instead["poll"].append(reply)
    async with omni(fake) as (videos, server):
        ticket = await ordered(videos)
        asking = OmniVideos(omni_google(access(server.url, timeout=4.0 if reply.delay else 20.0)), fake.model)
        await failing(asking.collect(ticket, video(), try_of()), expected)
        await asking.aclose()
        assert len(server.requests) == 2
        if expected[1]:
            assert (await collected(videos, ticket)).duration_seconds == 1.0
        assert fake.paid == 1


@pytest.mark.parametrize("ticket", ["v1_unknown", "", "../models", "v1_a/cancel", "v1_a?x=1", "v1_a#x", "a" * 2000])
async def test_unknown_ticket_is_a_verdict(ticket: str) -> None:
    async with omni(FakeOmni()) as (videos, server):
        error = await failing(videos.collect(ticket, video(), try_of()), REJECTED)
        assert error.spent is (ticket == "v1_unknown")  # what Google doesn't know any more may have been made
        assert len(server.requests) == (1 if ticket == "v1_unknown" else 0)


SAFETY = "Blocked by our safety filter."
NOTHING: list[Any] = []
VERDICTS: dict[str, tuple[dict[str, Any], Expected, str]] = {
    "refusal": (refusal("I can't make this."), POLICY, "I can't make this."),
    "no output": ({"steps": NOTHING}, REJECTED, "without a video"),
    "odd steps": ({"steps": [5, {"type": "model_output", "content": "x"}]}, REJECTED, "without a video"),
    "failed": ({"status": "failed", "errors": [{"code": "internal", "message": "Boom."}]}, REJECTED, "internal Boom."),
    "failed by policy": ({"status": "failed", "errors": [{"code": "blocked", "message": SAFETY}]}, POLICY, SAFETY),
    "failed step": (
        {"status": "failed", "steps": [{"type": "model_output", "error": {"code": 3, "message": SAFETY}}]},
        POLICY,
        SAFETY,
    ),
    "failed without a word": ({"status": "failed", "errors": "?", "steps": None}, REJECTED, "Interaction failed."),
    "cancelled": ({"status": "cancelled"}, REJECTED, "Interaction cancelled."),
    "incomplete": ({"status": "incomplete"}, REJECTED, "Interaction incomplete."),
    "budget": ({"status": "budget_exceeded"}, (DAILY[0], False, False, False), "budget_exceeded"),
    "action": ({"status": "requires_action"}, REJECTED, "requires_action"),
    "bad base64": (
        {"steps": [{"type": "model_output", "content": [{"type": "video", "data": "?not base64?"}]}]},
        REJECTED,
        "base64",
    ),
    "in a bucket": (
        {"steps": [{"type": "model_output", "content": [{"type": "video", "uri": "gs://bucket/a.mp4"}]}]},
        REJECTED,
        "Unset the bucket",
    ),
}


@pytest.mark.parametrize("what", VERDICTS)
async def test_end_without_a_video_is_final(what: str) -> None:
    ending, expected, said = VERDICTS[what]
    fake = FakeOmni(ending=ending)
    async with omni(fake) as (videos, server):
        ticket, call = await ordered(videos), try_of()
        error = await failing(videos.collect(ticket, video(), call), expected)
        assert said in error.operator_message
        assert call.usage.input_tokens in {12, 270}
        assert (len(server.asked("POST", "/")), server.asked("GET", "/files/")) == (1, [])


async def test_failed_probe_and_cancel_say_what_to_do() -> None:
    fake = FakeOmni()
    fake.instead["probe"].extend([failure(404, "NOT_FOUND", "Retired."), quota(), bad_key()])
    fake.instead["cancel"].extend([failure(500, "INTERNAL", "Boom."), bad_key(), quota()])
    async with omni(fake) as (videos, _):
        error = await failing(videos.probe("video"), OURS)
        assert "change TALLYFRAME_VIDEO_MODEL" in error.operator_message
        assert "gemini-omni-1.1-flash" in error.operator_message
        await failing(videos.probe("video"), QUOTA)
        await failing(videos.probe("video"), OURS)
        await failing(videos.cancel("v1_int0001"), UNAVAILABLE)
        await failing(videos.cancel("v1_int0001"), ASK_WITH_ALARM)
        await failing(videos.cancel("v1_int0001"), QUOTA)


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b"null", b'"cancelled"', b'{"status": "in_progress"}', b'{"status": 5}']
)
async def test_an_answer_that_says_nothing_has_stopped_nothing(body: bytes) -> None:
    fake = FakeOmni(runs=1)
    fake.instead["cancel"].append(Reply(200, body, {"Content-Type": "application/json"}))
    async with omni(fake) as (videos, _):
        await videos.start(video(), try_of())
        await failing(videos.cancel("v1_int0001"), UNAVAILABLE)
        assert await videos.cancel("v1_int0001")


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_DEBUG", "1")
    caplog.set_level(logging.DEBUG)
    fake = FakeOmni(runs=1)
    fake.instead["create"].append(failure(500, "INTERNAL", "Boom."))
    async with omni(fake) as (videos, _):
        await failing(videos.start(video(), try_of()), LOST)
        ticket = await ordered(videos)
        await videos.collect(ticket, video(), try_of())
        await collected(videos, ticket)
    assert KEY not in caplog.text
    assert PROMPT not in caplog.text
