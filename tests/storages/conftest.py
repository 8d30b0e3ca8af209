"""Storages without the pauses that they make for the sake of real services and processes."""

from datetime import timedelta

import pytest

from tallyframe.storages import s3, s3_client


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_FIRST_PAUSE", timedelta(milliseconds=1))
    monkeypatch.setattr(s3, "_REST", 0)
