"""The fake vendor answers with the fault that is drawn, and bills the work that it has done, whatever it answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from chaos.products import of_step
from chaos.vendor import BOOK, CALM_FILE, Google, marked
from chaos.vendor_faults import NO_FAULT, Kind, VendorFault, draw_fault
from tests.support.google_all import KEY
from tests.support.google_text import TEXT_MODEL
from tests.support.vendor import Reply, Request

IMAGE = "/v1/models/gemini-3.1-flash-image:generateContent"
TIMEOUT = 4.0


def request(method: str, path: str, body: Any = None) -> Request:
    headers = {"content-type": "application/json", "x-goog-api-key": KEY}
    return Request(method, path, headers, b"" if body is None else json.dumps(body).encode())


def image(marker: str) -> Request:
    config = {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "9:16", "imageSize": "512"}}
    content = {"role": "user", "parts": [{"text": f"a cup {marked(marker)}"}]}
    return request("POST", IMAGE, {"contents": [content], "generationConfig": config})


def video(marker: str) -> Request:
    wanted = {"type": "video", "aspect_ratio": "9:16", "resolution": "720p", "duration": "6s", "delivery": "uri"}
    body = {"model": "gemini-omni-1.1-flash", "background": True, "store": True, "response_format": wanted}
    return request("POST", "/v1/interactions", {**body, "input": f"a cup {marked(marker)}"})


def words(marker: str, step: str = "words") -> Request:
    schema = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
    config = {
        "responseMimeType": "application/json",
        "responseJsonSchema": {**schema, "additionalProperties": False},
        "maxOutputTokens": 100,
    }
    content = {"role": "user", "parts": [{"text": of_step(step, f"a cup {marked(marker)}")}]}
    body = {"contents": [content], "generationConfig": config, "systemInstruction": {"parts": [{"text": "Write."}]}}
    return request("POST", f"/v1/models/{TEXT_MODEL}:generateContent", body)


def marker_for(kind: Kind, name: str, seed: int = 1) -> str:
    """A marker whose first request gets this fault."""
    return next(f"m{n}" for n in range(10_000) if draw_fault(kind, seed, f"m{n}", 1, timeout=TIMEOUT).name == name)


def book(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / BOOK).read_text().splitlines()]


@pytest.fixture
def google(tmp_path: Path) -> Google:
    return Google(1, TIMEOUT, tmp_path)


#: fault → is it paid, and is the answer right
IMAGES: dict[str, tuple[bool, Callable[[Reply], bool]]] = {
    "good": (True, lambda reply: reply.status == 200 and b"inlineData" in reply.body),
    "late": (True, lambda reply: reply.delay > TIMEOUT),
    "dropped": (True, lambda reply: reply.drop),
    "cut": (True, lambda reply: 0 < (reply.cut_after or 0) < len(reply.body)),
    "garbage": (True, lambda reply: reply.status == 200 and b"<html>" in reply.body),
    "empty": (True, lambda reply: reply.status == 200 and b"inlineData" not in reply.body),
    "broken": (True, lambda reply: reply.status == 200 and b"inlineData" in reply.body),
    "500": (False, lambda reply: reply.status == 500),
    "503": (False, lambda reply: reply.status == 503),
    "429": (False, lambda reply: reply.status == 429),
    "hang": (False, lambda reply: reply.drop and reply.delay > TIMEOUT),
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_paid_whenever_the_work_was_done(google: Google, name: str) -> None:
    marker = marker_for("image", name)
    reply = google.answer(image(marker))
    paid, came = IMAGES[name]
    assert came(reply), reply
    (line,) = book(google.folder)
    assert (line["marker"], line["kind"], line["fault"], line["paid"]) == (marker, "image", name, paid)


@pytest.mark.parametrize(
    ("name", "paid", "words_in_it"),
    [
        ("good", True, b"Words about [chaos:"),
        ("broken", True, b"words"),
        ("empty", True, b"STOP"),
        ("500", False, b"500"),
    ],
)
def test_a_text_is_paid_whenever_it_was_written(google: Google, name: str, paid: bool, words_in_it: bytes) -> None:  # noqa: FBT001  # a table
    marker = marker_for("text", name)
    reply = google.answer(words(marker, "plan"))
    assert words_in_it in reply.body
    assert (b"Words about" in reply.body) is (name == "good")
    (line,) = book(google.folder)
    assert (line["marker"], line["kind"], line["step"], line["paid"]) == (marker, "text", "plan", paid)


@pytest.mark.parametrize(
    ("name", "status", "paid"), [("500", 500, False), ("500 paid", 500, True), ("503", 503, False)]
)
def test_a_video_may_be_paid_although_an_error_comes(google: Google, name: str, status: int, paid: bool) -> None:  # noqa: FBT001  # a table
    reply = google.answer(video(marker_for("video", name)))
    assert reply.status == status
    assert [line["paid"] for line in book(google.folder)] == [paid]
    assert len(google.omni.jobs) == paid


#: fault → is it stopped, and is the answer right
CANCELS: dict[str, tuple[bool, Callable[[Reply], bool]]] = {
    "good": (True, lambda reply: b"cancelled" in reply.body),
    "dropped": (True, lambda reply: reply.drop),
    "garbage": (True, lambda reply: b"<html>" in reply.body),
    "500": (False, lambda reply: reply.status == 500),
    "hang": (False, lambda reply: reply.drop and reply.delay > TIMEOUT),
}


@pytest.mark.parametrize("name", CANCELS)
def test_a_film_is_stopped_or_not_whatever_is_said_then(google: Google, name: str) -> None:
    google.answer(video(marker_for("video", "good")))
    ticket = marker_for("cancel", name)
    google.omni.jobs = {ticket: google.omni.jobs.popitem()[1]}
    reply = google.answer(request("POST", f"/v1/interactions/{ticket}/cancel"))
    stopped, came = CANCELS[name]
    assert came(reply), reply
    assert [line["ticket"] for line in book(google.folder) if line["kind"] == "cancel"] == [ticket] * stopped


@pytest.mark.parametrize("gets_stuck", [True, False])
def test_a_film_may_be_stuck_also_for_the_next_vendor(tmp_path: Path, gets_stuck: bool) -> None:  # noqa: FBT001  # a table
    Google(1, TIMEOUT, tmp_path, gets_stuck=gets_stuck).answer(video(marker_for("video", "stuck")))
    (tmp_path / CALM_FILE).touch()
    again = Google(1, TIMEOUT, tmp_path)
    looks = [again.answer(request("GET", "/v1/interactions/v1_int0001?stream=false")) for _ in range(10)]
    assert any(b"completed" in look.body for look in looks) is not gets_stuck
    again.answer(request("POST", "/v1/interactions/v1_int0001/cancel"))
    assert [line["ticket"] for line in book(tmp_path)] == ["v1_int0001"] * (1 + gets_stuck)


def test_a_vendor_that_was_killed_draws_other_faults(tmp_path: Path) -> None:
    answers = set()
    for _ in range(20):
        google = Google(1, TIMEOUT, tmp_path)
        google.answer(video("somebody"))
        reply = google.answer(request("POST", "/v1/interactions/v1_int0001/cancel"))
        answers.add((reply.status, reply.drop, reply.body == b""))
    assert len(answers) > 1


def test_a_film_carries_the_marker_of_its_order(google: Google) -> None:
    (google.folder / CALM_FILE).touch()
    google.answer(video("somebody-1"))
    replies: list[Reply] = []
    while not replies or b"completed" not in replies[-1].body:
        replies.append(google.answer(request("GET", "/v1/interactions/v1_int0001?stream=false")))
        assert len(replies) < 10
    assert b"files/int0001:download" in replies[-1].body
    film = google.answer(request("GET", "/v1/files/int0001:download?alt=media"))
    assert marked("somebody-1").encode() in film.body


def test_what_a_request_has_wrong_is_written_down(google: Google) -> None:
    broken, other = image(marker_for("image", "good")), video(marker_for("video", "good"))
    google.answer(request("POST", IMAGE, {**broken.json, "surprise": 1}))
    google.answer(request("POST", "/v1/interactions", {**other.json, "surprise": 1}))
    lines = book(google.folder)
    assert [line["kind"] for line in lines] == ["image", "complaint", "video", "complaint"]
    assert all("surprise" in line["words"] for line in lines if line["kind"] == "complaint")
    assert not any(line.get("paid") for line in lines)


def test_once_calm_everything_is_good(google: Google) -> None:
    (google.folder / CALM_FILE).touch()
    for name in IMAGES:
        google.answer(image(marker_for("image", name)))
    assert {line["fault"] for line in book(google.folder)} == {NO_FAULT.name}


@pytest.mark.parametrize("kind", get_args(Kind))
def test_faults_are_drawn_from_the_seed(kind: Kind) -> None:
    def drawn(seed: int) -> list[VendorFault]:
        return [draw_fault(kind, seed, "m", number, timeout=TIMEOUT) for number in range(50)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
