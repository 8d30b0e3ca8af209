"""OpenAI: what each answer that is no success means, what it has used, and that no secret is in what is raised."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tallyframe.providers.base import Media
from tallyframe.providers.openai.provider import OpenAI
from tests.support.drawn import GREEN, picture
from tests.support.openai import KEY, MODEL, REQUEST_ID, FakeOpenAI, completed, completion, failure
from tests.support.openai_asking import (
    AGAIN,
    GIVEN_UP,
    INPUT,
    OURS,
    POLICY,
    PROMPT,
    QUOTA,
    REJECTED,
    SCRIPT,
    SORRY,
    UNUSABLE,
    USED_UP,
    Expected,
    asked,
    failing,
    looking,
    new_call,
    provider,
    text,
)
from tests.support.tasks import Given
from tests.support.vendor import DROP, Reply, Vendor, answer

#: JSON, but nothing that OpenAI would say.
ODD: tuple[Any, ...] = ([], None, "x", 7, {"error": None}, {"error": "x"}, {"error": 7})
BILLING = ("credit_balance_exhausted", "organization_spend_limit_exceeded", "project_spend_limit_exceeded")


@pytest.mark.parametrize(
    ("body", "expected", "said"),
    [
        (completion(None, refusal=SORRY), POLICY, "finish_reason stop: I'm sorry, I can't write about [hidden]."),
        (completion(SCRIPT, refusal="No."), POLICY, "finish_reason stop: No."),
        (completion(SCRIPT, "content_filter"), POLICY, "finish_reason content_filter:"),
        (completion('{"title": "So f', "length"), REJECTED, "The answer was cut at the limit on tokens."),
        (completion("", "length"), REJECTED, "The answer was cut at the limit on tokens."),
        (completion(None), UNUSABLE, "The answer can't be used: the answer is empty."),
        (completion("  \n"), UNUSABLE, "The answer can't be used: the answer is empty."),
        (completion(None, "tool_calls"), UNUSABLE, "The answer can't be used: the answer is empty."),
        (completion(f"Here it is: {PROMPT}"), UNUSABLE, "The answer can't be used: its 49 characters are no JSON."),
        (completion("[" * 100_000), UNUSABLE, "The answer can't be used: its 100,000 characters are no JSON."),
        (completion([SCRIPT]), UNUSABLE, "it is not in the form of Script: the whole (model_type)"),
        (
            completion({**SCRIPT, "mood": PROMPT, "scenes": [{"narration": "a" * 81}]}),
            UNUSABLE,
            "mood (literal_error), scenes.0.narration (string_too_long), scenes.0.seconds (missing)",
        ),
        ({**completion(SCRIPT), "choices": []}, UNUSABLE, "the answer is empty"),
        ({**completion(SCRIPT), "choices": None}, UNUSABLE, "the answer is empty"),
        ({**completion(SCRIPT), "choices": "none"}, UNUSABLE, "the answer is empty"),
        ({**completion(SCRIPT), "choices": [{"message": []}]}, UNUSABLE, "the answer is empty"),
        ({**completion(SCRIPT), "choices": [{"message": {"content": [{"type": "text"}]}}]}, UNUSABLE, "is empty"),
    ],
)
async def test_an_answer_that_is_of_no_use(
    made: OpenAI, server: Vendor, fake: FakeOpenAI, body: Any, expected: Expected, said: str
) -> None:
    fake.replies.append(completed(body))
    call = new_call()
    error = await failing(made.start(text(), call), expected)
    assert error.operator_message.endswith(said) or said in error.operator_message
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.request_id) == (120, 45, REQUEST_ID)
    assert len(server.requests) == 1
    assert await asked(made, text()) == SCRIPT


@pytest.mark.parametrize(
    "body",
    [b"<html>Hello</html>", b"", b"\xff", b"null", b"[]", b"7", b'"x"', b'{"choices": [', b"[" * 100_000],
    ids=["html", "empty", "no UTF-8", "null", "list", "number", "text", "cut", "deep"],
)
async def test_a_200_that_is_no_answer_is_asked_for_again(
    made: OpenAI, server: Vendor, fake: FakeOpenAI, body: bytes
) -> None:
    for content_type in ("application/json", "text/html"):
        fake.replies.append(Reply(200, body, {"Content-Type": content_type, "X-Request-Id": REQUEST_ID}))
        call = new_call()
        error = await failing(made.start(text(), call), UNUSABLE)
        assert error.operator_message == f"HTTP 200 with {len(body):,} bytes that are no chat completion."
        assert call.usage.request_id == REQUEST_ID
    assert len(server.requests) == 2


def limited(code: str = "rate_limit_exceeded", kind: str = "requests", **headers: str) -> Reply:
    return failure(429, code, "Rate limit reached for gpt-5.4-mini.", kind=kind, **headers)


def billing(code: str | None, status: int = 429, kind: str = "insufficient_quota") -> Reply:
    return failure(status, code, "You exceeded your current quota.", kind=kind)


@pytest.mark.parametrize(
    ("reply", "expected", "wait"),
    [
        (failure(400, "context_length_exceeded", f"Too long: {PROMPT}", param="messages"), INPUT, None),
        (failure(400, "string_above_max_length", "Too long.", param="messages[1].content"), INPUT, None),
        (failure(400, "content_policy_violation", "Rejected by our safety system."), POLICY, None),
        (failure(400, "moderation_blocked", "Rejected.", kind="image_generation_user_error"), POLICY, None),
        (failure(400, "invalid_prompt", "Flagged as potentially violating our usage policy."), POLICY, None),
        (failure(400, "image_content_policy_violation", "Not this picture."), POLICY, None),
        (failure(400, "invalid_image_url", "Failed to download.", param="url"), INPUT, None),
        (failure(400, "invalid_image_format", f"data:image/png;base64,{'iVBOR' * 40}"), INPUT, None),
        (failure(400, None, "Invalid image.", param="messages[1].content[1].image_url.url"), INPUT, None),
        (failure(400, None, "Invalid schema for response_format 'Script'", param="response_format"), OURS, None),
        (failure(400, None, "Odd schema.", param="response_format.json_schema.schema"), OURS, None),
        (failure(400, "unsupported_value", "No 'system'.", param="messages[0].role"), OURS, None),
        (failure(400, None, "image_url is only for some.", param="messages.[1].content.[1].type"), OURS, None),
        (failure(400, "invalid_value", "max_tokens is too large.", param="max_completion_tokens"), OURS, None),
        (failure(400, "unknown_parameter", "Unknown parameter: 'store'.", param="store"), OURS, None),
        (failure(401, "invalid_api_key", f"Incorrect API key provided: {KEY}."), OURS, None),
        (failure(403, "unsupported_country_region_territory", "Country not supported."), OURS, None),
        (failure(403, None, f"Your organization must be verified. See ?key={KEY}"), OURS, None),
        (failure(404, "model_not_found", f"The model `{MODEL}` does not exist.", param="model"), OURS, None),
        *((Reply(status, b"<html>No</html>"), OURS, None) for status in (404, 405, 407, 410)),
        (failure(402, None, "Pay."), USED_UP, None),
        (failure(408, None, "Timeout."), AGAIN, None),
        (failure(409, None, "Locked."), AGAIN, None),
        (failure(413, None, "Too large."), INPUT, None),
        (failure(418, None, "A teapot."), REJECTED, None),
        (failure(422, None, "Could not process."), UNUSABLE, None),
        (limited(), QUOTA, None),
        (limited(retry_after="20"), QUOTA, 20.0),
        (limited(retry_after_ms="1500", retry_after="2"), QUOTA, 1.5),
        (limited(retry_after_ms="soon", retry_after="2.5"), QUOTA, 2.5),
        (limited(retry_after="tomorrow"), QUOTA, None),
        (limited(retry_after="-3"), QUOTA, None),
        (limited(retry_after="999999999"), QUOTA, 86400.0),
        (limited("slow_down", "rate_limit_error"), QUOTA, None),
        (Reply(429, b""), QUOTA, None),
        (billing("insufficient_quota"), USED_UP, None),
        (billing(None), USED_UP, None),
        *((billing(code), USED_UP, None) for code in BILLING),
        (billing("billing_not_active", kind="billing_not_active"), USED_UP, None),
        (billing("billing_hard_limit_reached", 400, "invalid_request_error"), USED_UP, None),
        (failure(500, "server_error", f"The server had an error with {KEY}", kind="server_error"), AGAIN, None),
        (Reply(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}), AGAIN, None),
        (failure(503, "server_is_overloaded", "Overloaded.", retry_after="7"), AGAIN, 7.0),
        (failure(504, None, "Too late."), AGAIN, None),
        (Reply(529, b"\xff"), AGAIN, None),
        (failure(503, "server_is_overloaded", "Don't.", x_should_retry="false"), GIVEN_UP, None),
        *((answer(odd, 500), AGAIN, None) for odd in ODD),
        (answer({"error": {"message": [PROMPT], "type": {}, "code": 7}}, 500), AGAIN, None),
        (Reply(302, b"302 Found", {"Location": "/elsewhere"}), OURS, None),
        (Reply(204), UNUSABLE, None),
    ],
)
async def test_an_http_error(
    made: OpenAI, server: Vendor, fake: FakeOpenAI, reply: Reply, expected: Expected, wait: float | None
) -> None:
    fake.replies.append(reply)
    call = new_call()
    error = await failing(made.start(text(), call), expected)
    assert error.retry_after == wait
    assert error.operator_message.startswith(f"HTTP {reply.status} " if reply.status != 204 else "HTTP 200 ")
    assert "iVBOR" not in error.operator_message
    assert call.usage.request_id == reply.headers.get("x-request-id")
    assert call.usage.input_tokens is None
    assert len(server.requests) == 1  # no tries of the SDK's own, and no redirect followed


async def test_vision_fails_in_the_same_way(made: OpenAI, fake: FakeOpenAI) -> None:
    given = Given(Media(picture(GREEN), "image/png", 8, 6))
    fake.replies.extend([failure(400, "image_parse_error", "Odd."), completed(completion(None, refusal="No."))])
    await failing(made.start(looking(given), new_call()), INPUT)
    call = new_call()
    await failing(made.start(looking(given), call), POLICY)
    assert (call.usage.input_tokens, call.usage.output_tokens) == (120, 45)


async def test_a_date_says_when_to_try_again(made: OpenAI, fake: FakeOpenAI) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    fake.replies.extend([limited(retry_after=soon), limited(retry_after="Wed, 21 Oct 2015 07:28:00 GMT")])
    wait = (await failing(made.start(text(), new_call()), QUOTA)).retry_after
    assert wait is not None
    assert 95 <= wait <= 100
    assert (await failing(made.start(text(), new_call()), QUOTA)).retry_after == 0.0


async def test_a_wrong_key_is_checked_for_real_and_no_part_of_it_is_told(server: Vendor, fake: FakeOpenAI) -> None:
    wrong = provider(server.url, api_key="canary-of-another-key-c0de")
    for ask in (wrong.probe("text"), wrong.start(text(), new_call())):
        error = await failing(ask, OURS)
        expected = "HTTP 401 invalid_api_key: OpenAI doesn't accept the key in OPENAI_API_KEY."
        assert error.operator_message == expected
    await wrong.aclose()


@pytest.mark.parametrize("capability", ["text", "vision"])
async def test_a_retired_model_is_an_alarm_that_says_what_to_change(
    made: OpenAI, fake: FakeOpenAI, capability: Any
) -> None:
    fake.models = ("gpt-9",)
    assert "HTTP 404 model_not_found" in (await failing(made.start(text(), new_call()), OURS)).operator_message
    said = (await failing(made.probe(capability), OURS)).operator_message
    change = f"TALLYFRAME_{capability.upper()}_MODEL"
    assert said.startswith(f"The model {MODEL} is unknown or retired: change {change}. HTTP 404 model_not_found: The ")


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (answer({"object": "list", "data": []}), UNUSABLE),
        (Reply(200, b"<html>Welcome</html>", {"Content-Type": "text/html"}), UNUSABLE),
        (Reply(200, b"<html>", {"Content-Type": "application/json"}), UNUSABLE),
        (failure(500, None, "No."), AGAIN),
        (limited(), QUOTA),
        (DROP, AGAIN),
    ],
    ids=["list", "html", "no JSON", "500", "429", "drop"],
)
async def test_a_probe_that_fails_leaves_no_doubt(
    made: OpenAI, fake: FakeOpenAI, reply: Reply, expected: Expected
) -> None:
    fake.replies.append(reply)
    await failing(made.probe("text"), expected)
