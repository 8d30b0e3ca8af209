"""Text and vision by Gemini: what every answer with 200 that is of no use means, and that what it says is not told.

What is not of words alone, such as finish reasons and errors, is in test_gemini_errors.py.
"""

import json
from typing import Any

import pytest

from tallyframe.providers.google.gemini import Gemini
from tests.support.google import candidate
from tests.support.google_asking import (
    AGAIN,
    FINAL,
    POLICY,
    REJECTED,
    SCRIPT,
    Outcome,
    fails,
    first_try,
    looking,
    outcome,
    writing,
)
from tests.support.google_text import FakeGeminiText, written
from tests.support.vendor import Vendor, answer

WHOLE = json.dumps(SCRIPT)
SECRET = "canary of what was written"


@pytest.fixture
def fake() -> FakeGeminiText:
    return FakeGeminiText()


def changed(**over: Any) -> str:
    return json.dumps({**SCRIPT, **over})


ANSWERS: dict[str, tuple[dict[str, Any], Outcome, str]] = {
    "no text": (written(), AGAIN, "finishReason STOP"),
    "empty": (written(""), AGAIN, "finishReason STOP"),
    "blank": (written(" \n "), AGAIN, "the answer is empty"),
    "prose": (written(f"I can't write about the {SECRET}."), AGAIN, "no JSON"),
    "fenced": (written(f"```json\n{WHOLE}\n```"), AGAIN, "no JSON"),
    "cut without a word": (written(WHOLE[:-9]), AGAIN, "no JSON"),
    "deep": (written("[" * 100_000), AGAIN, "no JSON"),
    "two answers": (written(WHOLE, WHOLE), AGAIN, "no JSON"),
    "array": (written(f"[{WHOLE}]"), AGAIN, "not in the form of Script: the whole (model_type)"),
    "null": (written("null"), AGAIN, "the whole (model_type)"),
    "missing": (written('{"title": "Moon"}'), AGAIN, "opening (missing)"),
    "limit ignored": (
        written(changed(opening={"narration": SECRET * 20, "seconds": 4})),
        AGAIN,
        "opening.narration (string_too_long)",
    ),
    "range ignored": (written(changed(opening={"narration": "x", "seconds": 99})), AGAIN, "opening.seconds (less_than"),
    "choice ignored": (written(changed(tone=SECRET)), AGAIN, "tone (literal_error)"),
    "too many": (written(changed(scenes=[SCRIPT["opening"]] * 4)), AGAIN, "scenes (too_long)"),
    "cut": (written(f'{{"title": "{SECRET}', reason="MAX_TOKENS"), FINAL, "finishReason MAX_TOKENS"),
    "cut at its end": (written(WHOLE, reason="MAX_TOKENS"), FINAL, "finishReason MAX_TOKENS"),
    "only thoughts": (written(reason="MAX_TOKENS"), FINAL, "finishReason MAX_TOKENS"),
    "a picture": (candidate({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}), AGAIN, "finishReason STOP"),
    "a call": (candidate({"functionCall": {"name": "x", "args": {}}}), AGAIN, "finishReason STOP"),
}


@pytest.mark.parametrize("task", [writing(), looking()], ids=["text", "vision"])
@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_of_no_use_is_paid_and_says_why(
    gemini: Gemini, server: Vendor, fake: FakeGeminiText, what: str, task: Any
) -> None:
    body, expected, said = ANSWERS[what]
    fake.replies.append(answer(body))
    call = first_try()
    error = await fails(gemini, task, call)
    assert outcome(error) == (REJECTED, expected)
    assert said in error.operator_message
    assert SECRET not in f"{error!r} {error.operator_message} {error.message}"
    assert call.usage.input_tokens == body["usageMetadata"]["promptTokenCount"]
    assert call.usage.request_id == body["responseId"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII"])
async def test_what_the_policy_stops_is_not_taken_and_not_told(
    gemini: Gemini, fake: FakeGeminiText, reason: str
) -> None:
    fake.replies.append(answer(written(WHOLE, SECRET, reason=reason, message="Stopped.")))
    call = first_try()
    error = await fails(gemini, writing(), call)
    assert outcome(error) == (POLICY, FINAL)
    assert error.operator_message == f"finishReason {reason}: Stopped."
    assert (call.usage.input_tokens, call.usage.output_tokens) == (310, 135)


@pytest.mark.parametrize("counts", [None, {}, {"promptTokenCount": "many", "thoughtsTokenCount": None}])
async def test_odd_counts_cost_no_answer(gemini: Gemini, fake: FakeGeminiText, counts: Any) -> None:
    fake.replies.append(answer({**written(WHOLE), "usageMetadata": counts}))
    call = first_try()
    await gemini.start(writing(), call)
    assert (call.usage.input_tokens, call.usage.output_tokens) == (None, None)
