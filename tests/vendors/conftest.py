"""Whole processes against servers that answer as the vendors do, in the vendors' place."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tallyframe.settings import Settings, load_settings
from tests.support.google_all import KEY, FakeGoogle, google


@pytest.fixture
async def fake() -> AsyncIterator[FakeGoogle]:
    """Google, on loopback."""
    async with google() as running:
        yield running
    assert running.complaints == []


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path, fake: FakeGoogle) -> Settings:
    return load_settings(
        database_url=database_url,
        redis_url=redis_url,
        data_dir=tmp_path / "data",
        public_url="http://testserver",
        lease_seconds=3,
        heartbeat_seconds=1,
        gemini_api_key=KEY,
        gemini_base_url=fake.server.url,
        video_providers="omni, veo",
        provider_poll=0.1,
        provider_timeout=2,
        max_retries=1,
        metrics_max_age=0,
        database_pool_size=8,
    )
