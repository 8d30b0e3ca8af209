"""Secrets are recognised by their shape, by their field's name, and by having been told of."""

import pytest

from tallyframe import redaction
from tallyframe.redaction import hidden, hide, is_harmless, scrubbed


@pytest.mark.parametrize(
    "secret",
    [
        "tf_AbCdEfGhIjKlMnOpQrSt",
        "AIzaSyA-1234567890_abcdef",
        "AQ.Ab8RN6Kabcdefghijklmn",
        "ya29.a0AfH6SMBx-abc",
        "sk-proj-Ab3_dEf-0123456789abcdefghijklmnop",
        "sk-svcacct-Ab3_dEf-0123456789abcdefghijklmnop",
        "sk-0123456789abcdefABCDEF0123456789",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_keys_and_tokens_are_removed_from_texts(secret: str) -> None:
    assert hidden(f"refused: {secret}, says the vendor") == "refused: [hidden], says the vendor"
    assert not is_harmless({"event": "refused", "path": f"/{secret}"})


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer opaque-value", "Authorization: Bearer [hidden]"),
        ("authorization: bearer sk-proj-short", "authorization: bearer [hidden]"),
        ("consumer 'api_key:123-abc'.", "consumer 'api_key:[hidden]'."),
        ("/a.png?X-Amz-Signature=0aF9&b=1", "/a.png?X-Amz-Signature=[hidden]&b=1"),
        ("postgresql://owner:pass@host/db", "postgresql://[hidden]@host/db"),
    ],
)
def test_what_follows_a_telling_word_is_removed(text: str, left: str) -> None:
    assert hidden(text) == left
    assert not is_harmless({"status": 200, "said": text, "more": "words"})


def test_innocent_texts_stay() -> None:
    text = "tf_short, a task token of 8 steps, task-of-the-century-2026, sk-short and https://host:8000/path"
    assert hidden(text) == text


def test_secrets_that_were_told_are_removed_unless_they_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", set())
    hide(["opensesame", "cup"])
    assert hidden("opensesame opens the cupboard") == "[hidden] opens the cupboard"
    assert not is_harmless({"event": "tried", "word": "opensesame"})


def test_fields_are_scrubbed_by_their_names_at_any_depth() -> None:
    event = {"user": {"password": "x", "token": None}, "said": ["Bearer abc", 7], "dsn": 5}
    assert not any(is_harmless({name: value}) for name, value in event.items())
    assert scrubbed(event) == {
        "user": {"password": "[hidden]", "token": None},
        "said": ["Bearer [hidden]", 7],
        "dsn": "[hidden]",
    }


def test_what_is_harmless_stays() -> None:
    event = {"event": "request", "path": "/v1/projects", "status": 304, "user_id": None, "seconds": 0.5}
    assert is_harmless(event)
    assert scrubbed(event) == event
