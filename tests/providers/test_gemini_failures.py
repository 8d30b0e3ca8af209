"""Images by Gemini: what every answer with 200 that has no picture means."""

from typing import Any

import pytest

from tallyframe.errors import FailureCode
from tallyframe.providers.base import ImageTask
from tallyframe.providers.google.gemini import Gemini
from tests.support.google import FakeGemini, candidate, inline
from tests.support.google_asking import (
    AGAIN,
    FINAL,
    PROMPT,
    REJECTED,
    Outcome,
    fails,
    outcome,
)
from tests.support.vendor import answer

ORDER = ImageTask(PROMPT, "1:1")


@pytest.fixture
def fake() -> FakeGemini:
    return FakeGemini()


@pytest.mark.parametrize(
    ("body", "code", "expected", "said"),
    [
        ({"candidates": []}, REJECTED, AGAIN, "finishReason None"),
        ({}, REJECTED, AGAIN, "finishReason None"),
        ({"candidates": [{}]}, REJECTED, AGAIN, "finishReason None"),
        ({"candidates": None, "promptFeedback": None, "usageMetadata": None}, REJECTED, AGAIN, "finishReason None"),
        (candidate({"text": f"I can't draw {PROMPT}."}), REJECTED, AGAIN, "finishReason STOP: I can't draw [hidden]."),
        (candidate({"text": "So far"}, reason="MAX_TOKENS"), REJECTED, FINAL, "finishReason MAX_TOKENS: So far"),
        (candidate(inline(b"")), REJECTED, AGAIN, "finishReason STOP"),
        (candidate({**inline(b"x"), "thought": True}), REJECTED, AGAIN, "finishReason STOP"),
        (candidate({"inlineData": {"data": "=%="}}), REJECTED, AGAIN, "no base64"),
        (candidate({"inlineData": {"data": "é" * 8}}), REJECTED, AGAIN, "no base64"),
        (candidate(inline(b"%PDF-1.7 and more")), REJECTED, AGAIN, "neither JPEG, PNG nor WebP"),
        (candidate(inline(b"\x89PNG\r\n\x1a\n" + bytes(40))), REJECTED, AGAIN, "damaged"),
    ],
)
async def test_an_answer_without_a_picture(
    gemini: Gemini, fake: FakeGemini, body: Any, code: FailureCode, expected: Outcome, said: str
) -> None:
    fake.replies.append(answer(body))
    error = await fails(gemini, ORDER)
    assert outcome(error) == (code, expected)
    assert said in error.operator_message
