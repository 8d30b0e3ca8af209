"""What Google's errors mean for videos: when one is ordered, and when a ticket is asked for."""

import pickle
from typing import Any

import httpx2
import pytest
from google.auth.exceptions import GoogleAuthError
from google.genai import errors

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.failures import words
from tallyframe.providers.google.failures import asking_failed, is_about_policy, refused, retry_after
from tallyframe.providers.transport import ResponseTooLarge

INTERNAL, INPUT = FailureCode.INTERNAL, FailureCode.INVALID_INPUT
REJECTED, UNAVAILABLE = FailureCode.PROVIDER_REJECTED, FailureCode.PROVIDER_UNAVAILABLE
LATE, QUOTA = FailureCode.PROVIDER_TIMEOUT, FailureCode.PROVIDER_QUOTA
FINAL, AGAIN = (False, False, False), (True, False, False)  # retryable, in doubt, alarm
DOUBT, ALARM = (False, True, False), (False, False, True)

BAD_KEY = [{"reason": "API_KEY_INVALID"}]
DAILY = [{"violations": [{"quotaId": "RequestsPerDayPerProject"}]}, {"retryDelay": "40s"}]


def api_error(status: int, name: str = "", message: str = "Words.", details: Any = (), **headers: str) -> Exception:
    body = {"error": {"code": status, "status": name, "message": message, "details": list(details)}}
    request = httpx2.Request("POST", "http://google.test", headers={"x-goog-api-key": "canary"})
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    response = httpx2.Response(status, json=body, headers=named, request=request)
    return errors.APIError(status, body, response)


def outcome(error: ProviderError) -> tuple[FailureCode, tuple[bool, bool, bool]]:
    return error.code, (error.retryable, error.in_doubt, error.alarm)


@pytest.mark.parametrize(
    ("error", "code", "image", "video"),
    [
        (api_error(400, "INVALID_ARGUMENT"), INPUT, FINAL, FINAL),
        (api_error(400, "INVALID_ARGUMENT", "Blocked by our policies."), FailureCode.CONTENT_POLICY, FINAL, FINAL),
        (api_error(400, "INVALID_ARGUMENT", details=BAD_KEY), INTERNAL, ALARM, ALARM),
        (api_error(403, "PERMISSION_DENIED"), INTERNAL, ALARM, ALARM),
        (api_error(404, "NOT_FOUND"), INTERNAL, ALARM, ALARM),
        (api_error(302), INTERNAL, ALARM, ALARM),
        (api_error(429, "RESOURCE_EXHAUSTED"), QUOTA, AGAIN, AGAIN),
        (api_error(429, details=DAILY), QUOTA, ALARM, ALARM),
        (api_error(503, "UNAVAILABLE"), UNAVAILABLE, AGAIN, AGAIN),
        (api_error(500, "INTERNAL"), UNAVAILABLE, AGAIN, DOUBT),
        (api_error(502), UNAVAILABLE, AGAIN, DOUBT),
        (api_error(504, "DEADLINE_EXCEEDED"), UNAVAILABLE, AGAIN, DOUBT),
        (api_error(499, "CANCELLED"), UNAVAILABLE, AGAIN, DOUBT),
        (httpx2.ConnectError("refused"), UNAVAILABLE, AGAIN, AGAIN),
        (httpx2.ConnectTimeout("slow"), UNAVAILABLE, AGAIN, AGAIN),
        (httpx2.PoolTimeout("busy"), UNAVAILABLE, AGAIN, AGAIN),
        (httpx2.LocalProtocolError("canary"), INTERNAL, ALARM, ALARM),
        (httpx2.UnsupportedProtocol("Not for x."), INTERNAL, ALARM, ALARM),
        (GoogleAuthError("canary"), INTERNAL, ALARM, ALARM),  # type: ignore[no-untyped-call]
        (httpx2.ReadTimeout("slow"), LATE, DOUBT, DOUBT),
        (httpx2.WriteTimeout("slow"), LATE, DOUBT, DOUBT),
        (TimeoutError(), LATE, DOUBT, DOUBT),
        (httpx2.ReadError("reset"), UNAVAILABLE, DOUBT, DOUBT),
        (httpx2.RemoteProtocolError("cut"), UNAVAILABLE, DOUBT, DOUBT),
        (httpx2.DecodingError("gzip"), REJECTED, DOUBT, DOUBT),
        (ResponseTooLarge("large"), REJECTED, DOUBT, DOUBT),
        (ValueError("canary"), REJECTED, DOUBT, DOUBT),
        (RecursionError("deep"), REJECTED, DOUBT, DOUBT),
        (KeyError("canary"), REJECTED, DOUBT, DOUBT),
    ],
    ids=lambda each: f"{type(each).__name__} {each}" if isinstance(each, Exception) else None,
)
def test_an_order(
    error: Exception, code: FailureCode, image: tuple[bool, bool, bool], video: tuple[bool, bool, bool]
) -> None:
    for_image, for_video = refused(error, billing="image"), refused(error, billing="video")
    assert outcome(for_image) == (code, image)
    assert outcome(for_video) == (code, video)
    assert for_image.operator_message == for_video.operator_message != ""
    assert b"canary" not in pickle.dumps(vars(for_image))


@pytest.mark.parametrize(
    ("error", "code", "alarm"),
    [
        (api_error(400, "INVALID_ARGUMENT", "Odd policy."), UNAVAILABLE, False),
        (api_error(400, "INVALID_ARGUMENT", details=BAD_KEY), INTERNAL, True),
        (api_error(403, "PERMISSION_DENIED"), INTERNAL, True),
        (api_error(409, "ABORTED"), UNAVAILABLE, False),
        (api_error(429, details=DAILY), QUOTA, True),
        (api_error(500, "INTERNAL"), UNAVAILABLE, False),
        (httpx2.ConnectError("refused"), UNAVAILABLE, False),
        (httpx2.ReadError("reset"), UNAVAILABLE, False),
        (httpx2.ReadTimeout("slow"), LATE, False),
        (TimeoutError(), LATE, False),
        (ValueError("no JSON"), UNAVAILABLE, False),
        (KeyError("odd JSON"), UNAVAILABLE, False),
    ],
    ids=lambda each: f"{type(each).__name__} {each}" if isinstance(each, Exception) else None,
)
def test_a_question_that_failed_is_asked_again(error: Exception, code: FailureCode, *, alarm: bool) -> None:
    assert outcome(asking_failed(error)) == (code, (True, False, alarm))


@pytest.mark.parametrize("error", [api_error(404, "NOT_FOUND"), api_error(410), ResponseTooLarge("Too many bytes.")])
def test_a_ticket_that_nobody_knows_is_a_verdict(error: Exception) -> None:
    found = asking_failed(error)
    assert outcome(found) == (REJECTED, FINAL)
    assert "ords." in found.operator_message or found.operator_message == "Too many bytes."


def test_the_wait_is_handed_on() -> None:
    error = api_error(429, details=[{"retryDelay": "40s"}], retry_after="50")
    assert asking_failed(error).retry_after == refused(error, billing="video").retry_after == 50.0
    assert retry_after(errors.APIError(429, {"error": {"details": [{"retryDelay": "1.5s"}]}}, None)) == 1.5


def test_what_we_say_ourselves_is_kept() -> None:
    for error in (ResponseTooLarge("Over 1 MB."), httpx2.UnsupportedProtocol("Over 1 MB.")):
        said = refused(error, billing="image").operator_message
        assert said == f"No usable answer from Google: {type(error).__name__}. Over 1 MB."


@pytest.mark.parametrize(
    ("said", "hide", "shown"),
    [
        (("HTTP 400 :", None, " two\n lines\x00 "), (), "HTTP 400 : two lines"),
        (("Consumer 'api_key:secret-1' is suspended",), (), "Consumer 'api_key:[hidden]' is suspended"),
        (("AIza" + "b" * 35 + " is leaked",), (), "[hidden] is leaked"),
        (("ya29.a0-B and AQ.Ab8" + "c" * 40,), (), "[hidden] and [hidden]"),
        (("decoding failed for " + "iVBORw0K" * 40,), (), "decoding failed for [hidden]"),
        (("Incorrect API key provided: sk-proj-*****c1aT.",), (), "Incorrect API key provided: [hidden]."),
        (("Incorrect API key provided: canary-o***1aT.",), (), "Incorrect API key provided: [hidden]."),
        (("a task-force at risk-management",), (), "a task-force at risk-management"),
        (
            ("a cup: a prompt about a cup", "in a cupboard"),
            ("a cup",),
            "[hidden]: a prompt about [hidden] in a cupboard",
        ),
        (("key-and-more-key",), ("key-and-more", "key-and-more-key", ""), "[hidden]"),
        (("no " * 2000,), (), ("no " * 2000)[:1000]),
    ],
)
def test_words_hold_no_secrets(said: tuple[object, ...], hide: tuple[str, ...], shown: str) -> None:
    assert words(*said, hide=hide) == shown


@pytest.mark.parametrize(
    ("message", "is_policy"),
    [
        (
            "The prompt could not be submitted. It contains sensitive words that violate our Responsible AI practices.",
            True,
        ),
        ("This request was blocked by the safety filter.", True),
        ("Your prompt goes against our usage guidelines.", True),
        ("Unsupported aspect ratio: 2:1.", False),
        ('Unknown name "safetySetting": Cannot find field.', False),
    ],
)
def test_policy_is_told_by_the_words(message: str, *, is_policy: bool) -> None:
    assert is_about_policy(message) is is_policy
