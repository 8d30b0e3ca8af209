"""OpenAI: what calls mean that got no whole answer, and where neither key nor prompt ever go."""

import asyncio
import gzip
import logging
import socket
import time

import httpx2
import pytest
from openai import APIConnectionError

from tallyframe.providers.openai.client import MOST_BYTES
from tallyframe.providers.openai.failures import refused
from tallyframe.providers.openai.provider import OpenAI
from tests.support.openai import KEY, FakeOpenAI, completed, completion, failure
from tests.support.openai_asking import (
    AGAIN,
    GARBLED,
    LATE,
    LOST,
    OURS,
    POLICY,
    PROMPT,
    SCRIPT,
    SORRY,
    Expected,
    access,
    asked,
    failing,
    new_call,
    provider,
    text,
)
from tests.support.streaming import dripping, flooding
from tests.support.vendor import DROP, Reply, Vendor, hang, vendor

TIMEOUT = 1.0  # seconds: the request must be sent in time on a busy machine, too


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (DROP, LOST),
        (Reply(200, b'{"choices": []}', cut_after=5), LOST),
        (Reply(500, b'{"error": {}}', cut_after=5), LOST),
        (Reply(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}), GARBLED),
        (Reply(200, pad_to=MOST_BYTES + 1), GARBLED),
        (Reply(500, pad_to=MOST_BYTES + 1), GARBLED),
    ],
    ids=["drop", "cut", "500 and cut", "gzip", "large", "500 and large"],
)
async def test_an_answer_that_did_not_come_whole_is_in_doubt(
    made: OpenAI, server: Vendor, fake: FakeOpenAI, reply: Reply, expected: Expected
) -> None:
    fake.replies.append(reply)
    await failing(made.start(text(), new_call()), expected)
    assert len(server.requests) == 1


async def test_an_endless_answer_is_cut_at_the_limit() -> None:
    async with flooding() as stream:
        made = provider(stream.url, max_bytes=2**20)
        error = await failing(made.start(text(), new_call()), GARBLED)
        assert "more than 1,048,576 bytes" in error.operator_message
        await made.aclose()
    assert stream.sent < 20 * 2**20


async def test_no_answer_in_time_is_in_doubt(server: Vendor, fake: FakeOpenAI) -> None:
    fake.replies.append(hang())
    slow = provider(server.url, timeout=TIMEOUT)
    await failing(slow.start(text(), new_call()), LATE)
    await slow.aclose()


async def test_a_slow_drip_ends_at_the_deadline() -> None:
    async with dripping() as stream:
        slow = provider(stream.url, timeout=TIMEOUT)
        started = time.monotonic()
        await failing(slow.start(text(), new_call()), LATE)
        assert TIMEOUT <= time.monotonic() - started < TIMEOUT + 10  # of the 20 that it would drip
        await asyncio.wait_for(stream.gone.wait(), 2)
        await slow.aclose()


async def test_a_connection_that_is_refused_leaves_no_doubt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    away = provider(f"http://127.0.0.1:{port}")
    await failing(away.start(text(), new_call()), AGAIN)
    await away.aclose()


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (httpx2.ConnectTimeout("slow"), AGAIN),
        (httpx2.PoolTimeout("busy"), AGAIN),
        (httpx2.WriteTimeout("slow"), LATE),
        (httpx2.UnsupportedProtocol("The key is for a, not for b."), OURS),
        (httpx2.LocalProtocolError(KEY), OURS),
        (ConnectionResetError(KEY), LOST),
        (None, LOST),
    ],
)
def test_a_broken_connection_means_what_the_transport_says(cause: Exception | None, expected: Expected) -> None:
    error = APIConnectionError(request=httpx2.Request("POST", "http://openai.test"))
    error.__cause__ = cause
    found = refused(error)
    assert (found.code, found.retryable, found.in_doubt, found.alarm) == expected
    assert found.operator_message.startswith("No usable answer from OpenAI: ")
    assert KEY not in found.operator_message


async def test_redirects_lead_nowhere(made: OpenAI, server: Vendor, fake: FakeOpenAI) -> None:
    async with vendor(lambda _: completed(completion(SCRIPT))) as thief:
        for status in (301, 302, 303, 307, 308):
            fake.replies.append(Reply(status, b"", {"Location": f"{thief.url}/v1/chat/completions"}))
            await failing(made.start(text(), new_call()), OURS)
        assert thief.requests == []
    assert len(server.requests) == 5


async def test_a_canceled_order_stays_canceled(served: tuple[OpenAI, Vendor], fake: FakeOpenAI) -> None:
    made, server = served
    fake.replies.append(hang())
    order = asyncio.create_task(made.start(text(), new_call()))
    async with asyncio.timeout(5):
        while not server.requests:
            await asyncio.sleep(0.01)
    order.cancel()
    with pytest.raises(asyncio.CancelledError):
        await order


async def test_the_logs_hold_neither_key_nor_words(
    made: OpenAI, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("openai").setLevel(logging.DEBUG)
    replies = [DROP, failure(500, None, f"{KEY}: {PROMPT}"), completed(completion(None, refusal=SORRY))]
    fake.replies.extend(replies)
    for expected in (LOST, AGAIN, POLICY):
        await failing(made.start(text(), new_call()), expected)
    await asked(made, text())
    written = caplog.text + "".join(capfd.readouterr())
    assert "chat/completions" in written
    assert "canary" not in written


def test_an_access_shows_no_key() -> None:
    assert KEY not in repr(access("http://127.0.0.1"))
