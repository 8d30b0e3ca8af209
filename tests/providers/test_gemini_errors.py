"""Gemini's images, text and vision: what every error means, and that nothing secret is in what is raised or logged."""

import asyncio
import gzip
import logging
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tallyframe.catalog import Capability
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Task
from tallyframe.providers.google.gemini import Gemini
from tests.support.google import KEY, FakeGemini, candidate
from tests.support.google_asking import (
    AGAIN,
    ALARM,
    CAPABILITIES,
    DOUBT,
    FINAL,
    INPUT,
    INTERNAL,
    LATE,
    POLICY,
    PROMPT,
    QUOTA,
    REJECTED,
    UNAVAILABLE,
    Outcome,
    fails,
    fake_of,
    first_try,
    gemini_at,
    outcome,
    task_of,
)
from tests.support.google_wire import bad_key, failure, quota
from tests.support.streaming import dripping
from tests.support.vendor import DROP, Reply, Vendor, answer, hang

TIMEOUT = 1.0  # seconds: the request must be sent in time on a busy machine, too
#: JSON, but nothing that Google would say.
NOTHING: tuple[Any, ...] = ([], None, "x", 7)
CANDIDATES: tuple[Any, ...] = (1, {}, [1], [{"content": 1}])


@pytest.fixture(params=CAPABILITIES)
def capability(request: pytest.FixtureRequest) -> Capability:
    found: Capability = request.param
    return found


@pytest.fixture
def task(capability: Capability) -> Task:
    return task_of(capability)


@pytest.fixture
def fake(capability: Capability) -> FakeGemini:
    return fake_of(capability)


def refusal(reason: str) -> Any:
    return candidate(reason=reason, message=f"Unable to show the generated image of {PROMPT}.")


@pytest.mark.parametrize(
    ("reason", "code", "expected"),
    [
        *((reason, POLICY, FINAL) for reason in ("SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII")),
        *((reason, POLICY, FINAL) for reason in ("IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR", "LANGUAGE", "RECITATION")),
        *((reason, POLICY, FINAL) for reason in ("IMAGE_RECITATION", "ESCALATION")),
        ("PUP_LIMITED_DISABLED", INTERNAL, ALARM),
        *((reason, REJECTED, AGAIN) for reason in ("NO_IMAGE", "IMAGE_OTHER", "OTHER", "MALFORMED_RESPONSE", "STOP")),
        *((reason, REJECTED, AGAIN) for reason in ("MISSING_THOUGHT_SIGNATURE", "CONTINUATION", "A_REASON_OF_2031")),
        ("MAX_TOKENS", REJECTED, FINAL),
    ],
)
async def test_a_finish_reason_is_a_verdict(
    gemini: Gemini, task: Task, server: Vendor, fake: FakeGemini, reason: str, code: FailureCode, expected: Outcome
) -> None:
    fake.replies.append(answer(refusal(reason)))
    call = first_try()
    error = await fails(gemini, task, call)
    assert outcome(error) == (code, expected)
    assert error.operator_message == f"finishReason {reason}: Unable to show the generated image of [hidden]."
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.request_id) == (528, None, "resp-0002")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "reason",
    ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "JAILBREAK", "MODEL_ARMOR", "NEW_IN_2031"],
)
async def test_a_blocked_prompt_is_the_policy(gemini: Gemini, task: Task, fake: FakeGemini, reason: str) -> None:
    feedback = {"blockReason": reason, "blockReasonMessage": "Not this."}
    fake.replies.append(answer({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 9}}))
    call = first_try()
    error = await fails(gemini, task, call)
    assert outcome(error) == (POLICY, FINAL)
    assert error.operator_message == f"blockReason {reason}: Not this."
    assert call.usage.input_tokens == 9


@pytest.mark.parametrize("body", [*NOTHING, *({"candidates": odd} for odd in CANDIDATES)])
async def test_json_that_is_no_answer_leaves_a_doubt(gemini: Gemini, task: Task, fake: FakeGemini, body: Any) -> None:
    fake.replies.append(answer(body))
    error = await fails(gemini, task)
    assert outcome(error) == (REJECTED, DOUBT)
    assert "no generateContent answer" in error.operator_message


@pytest.mark.parametrize(
    ("reply", "code", "expected", "wait"),
    [
        (failure(400, "INVALID_ARGUMENT", f"Bad {PROMPT} {KEY} {'aB3/' * 30}"), INPUT, FINAL, None),
        (failure(400, "INVALID_ARGUMENT", "The prompt violates our usage policy."), POLICY, FINAL, None),
        (bad_key(), INTERNAL, ALARM, None),
        (failure(400, "FAILED_PRECONDITION", "User location is not supported."), INTERNAL, ALARM, None),
        (failure(401, "UNAUTHENTICATED", "No."), INTERNAL, ALARM, None),
        (failure(403, "PERMISSION_DENIED", f"Consumer 'api_key:{KEY}' suspended"), INTERNAL, ALARM, None),
        (failure(404, "NOT_FOUND", "No such model."), INTERNAL, ALARM, None),
        (failure(413, "INVALID_ARGUMENT", "Too large."), INPUT, FINAL, None),
        (failure(409, "ABORTED", "Aborted."), REJECTED, FINAL, None),
        (quota("PerMinute", "31s"), QUOTA, AGAIN, 31.0),
        (quota("PerMinute", "31.5s", Retry_After="60"), QUOTA, AGAIN, 60.0),
        (quota("PerMinute", "90s", Retry_After="60"), QUOTA, AGAIN, 90.0),
        (quota("PerMinute", "soon", Retry_After="tomorrow"), QUOTA, AGAIN, None),
        (quota("PerMinute", "999999999s"), QUOTA, AGAIN, 86400.0),
        (quota("PerDay", "31s"), QUOTA, (False, False, True), 31.0),
        (answer({"error": {"code": 429, "details": {}}}, 429), QUOTA, AGAIN, None),
        (
            answer({"error": {"details": [1, {"violations": 7}, {"violations": [3], "reason": []}]}}, 429),
            QUOTA,
            AGAIN,
            None,
        ),
        (answer([{"error": {"code": 429, "message": "Slower.", "status": "X"}}], 429), QUOTA, AGAIN, None),
        (failure(500, "INTERNAL", "An internal error."), UNAVAILABLE, AGAIN, None),
        (Reply(502, b"<html>Bad gateway</html>"), UNAVAILABLE, AGAIN, None),
        (failure(503, "UNAVAILABLE", "The model is overloaded.", Retry_After="7"), UNAVAILABLE, AGAIN, 7.0),
        (failure(504, "DEADLINE_EXCEEDED", "Too late."), UNAVAILABLE, AGAIN, None),
        (Reply(529, b""), UNAVAILABLE, AGAIN, None),
        (failure(499, "CANCELLED", "The caller went away."), UNAVAILABLE, AGAIN, None),
        *((answer(odd, 500), UNAVAILABLE, AGAIN, None) for odd in (*NOTHING, {"error": None}, {"error": "x"})),
        (Reply(302, headers={"Location": "/elsewhere"}), INTERNAL, ALARM, None),
        (Reply(204), REJECTED, DOUBT, None),
    ],
)
async def test_an_http_error(  # noqa: PLR0917  # each a fixture, or a column of the table
    task: Task,
    gemini: Gemini,
    server: Vendor,
    fake: FakeGemini,
    reply: Reply,
    code: FailureCode,
    expected: Outcome,
    wait: Any,
) -> None:
    fake.replies.append(reply)
    error = await fails(gemini, task)
    assert outcome(error) == (code, expected)
    assert error.retry_after == wait
    assert error.operator_message.startswith(f"HTTP {reply.status} ")
    assert "aB3/" not in error.operator_message
    assert len(server.requests) == 1  # no tries of the SDK's own, and no redirect followed


async def test_a_date_says_when_to_try_again(task: Task, gemini: Gemini, fake: FakeGemini) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    for when, least, most in (
        (soon, 95, 100),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("21 Oct 2015 07:28:00 -0000", 0, 0),
    ):
        fake.replies.append(failure(503, "UNAVAILABLE", "Overloaded.", Retry_After=when))
        wait = (await fails(gemini, task)).retry_after
        assert wait is not None
        assert least <= wait <= most


async def test_a_wrong_key_is_checked_for_real(task: Task, server: Vendor) -> None:
    provider = gemini_at(server.url, api_key="another-key")
    for ask in (provider.probe(task.capability), provider.start(task, first_try())):
        with pytest.raises(ProviderError) as caught:
            await ask
        assert outcome(caught.value) == (INTERNAL, ALARM)
        assert "API key not valid" in caught.value.operator_message
    await provider.aclose()


@pytest.mark.parametrize(
    ("reply", "code", "expected"),
    [
        (DROP, UNAVAILABLE, DOUBT),
        (Reply(200, b'{"candidates": []}', cut_after=5), UNAVAILABLE, DOUBT),
        (Reply(200, b"<html>Hello</html>"), REJECTED, DOUBT),
        (Reply(200, b"\xff"), REJECTED, DOUBT),
        (Reply(200, b"[" * 100_000), REJECTED, DOUBT),
        (Reply(200, b""), REJECTED, DOUBT),
        (Reply(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}), REJECTED, DOUBT),
        (Reply(500, b"\xff"), REJECTED, DOUBT),
        (Reply(200, pad_to=200 * 2**20), REJECTED, DOUBT),
    ],
    ids=["drop", "cut", "html", "no UTF-8", "deep", "empty", "gzip", "500 and no UTF-8", "200 MB"],
)
async def test_a_broken_answer(
    task: Task, gemini: Gemini, server: Vendor, fake: FakeGemini, reply: Reply, code: FailureCode, expected: Outcome
) -> None:
    fake.replies.append(reply)
    started = time.monotonic()
    assert outcome(await fails(gemini, task)) == (code, expected)
    assert time.monotonic() - started < 15
    assert len(server.requests) == 1


async def test_no_answer_in_time(task: Task, server: Vendor, fake: FakeGemini) -> None:
    fake.replies.append(hang())
    provider = gemini_at(server.url, timeout=TIMEOUT)
    assert outcome(await fails(provider, task)) == (LATE, DOUBT)
    await provider.aclose()


async def test_a_connection_that_is_refused_leaves_no_doubt(task: Task) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    provider = gemini_at(f"http://127.0.0.1:{port}")
    assert outcome(await fails(provider, task)) == (UNAVAILABLE, AGAIN)
    await provider.aclose()


async def test_a_key_that_is_no_header_is_an_alarm(task: Task, server: Vendor) -> None:
    provider = gemini_at(server.url, api_key=f"{KEY}\r\nX-Other: 1")
    assert outcome(await fails(provider, task)) == (INTERNAL, ALARM)
    await provider.aclose()
    assert server.requests == []


async def test_the_logs_hold_neither_key_nor_prompt(
    task: Task, gemini: Gemini, fake: FakeGemini, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.replies.extend([DROP, failure(500, "INTERNAL", f"{KEY}: {PROMPT}"), answer(refusal("SAFETY"))])
    for _ in range(3):
        await fails(gemini, task)
    await gemini.start(task, first_try())
    written = caplog.text + "".join(capfd.readouterr())
    assert "generateContent" in written
    assert "canary" not in written
    assert "AFC" not in written  # nor of functions that Gemini might call


async def test_a_slow_drip_ends_at_the_deadline(task: Task) -> None:
    async with dripping() as stream:
        provider = gemini_at(stream.url, timeout=TIMEOUT)
        started = time.monotonic()
        assert outcome(await fails(provider, task)) == (LATE, DOUBT)
        assert TIMEOUT <= time.monotonic() - started < TIMEOUT + 10  # of the 20 that it would drip
        await asyncio.wait_for(stream.gone.wait(), 2)
        await provider.aclose()
