"""What the doctor asks providers: each model once, with a line for each capability that it serves."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tallyframe.doctor import Finding, examine
from tallyframe.settings import Settings, load_settings
from tests.support.google_all import KEY, FakeGoogle, google

NOBODY = "redis://127.0.0.1:1/0"  # neither of the two is asked for here
LINES = {
    "provider gemini (image)": "gemini-3.1-flash-image: gemini-3.1-flash-image is there: A model",
    "provider omni (video)": "gemini-omni-1.1-flash: gemini-omni-1.1-flash is there: A model",
    "provider veo (video)": "veo-3.1-generate-preview: veo-3.1-generate-preview is there: A model",
    "provider gemini (text)": "gemini-3.8-flash: gemini-3.8-flash is there: A model",
    "provider gemini (vision)": "gemini-3.8-flash: gemini-3.8-flash is there: A model",
}


@pytest.fixture
async def fake() -> AsyncIterator[FakeGoogle]:
    async with google() as running:
        yield running


def configured(fake: FakeGoogle, folder: Path, **more: Any) -> Settings:
    names = {"image_providers": "gemini", "video_providers": "omni,veo"}
    words = {"text_providers": "gemini", "vision_providers": "gemini"}
    places = {"database_url": "postgresql://127.0.0.1:1/none", "redis_url": NOBODY, "data_dir": folder}
    return load_settings(
        **{**names, **words, **places, "gemini_api_key": KEY, "gemini_base_url": fake.server.url, **more}
    )


async def of_providers(settings: Settings) -> list[Finding]:
    return [finding async for finding in examine(settings) if finding.name.startswith("provider ")]


async def test_each_provider_has_a_line_per_capability(fake: FakeGoogle, tmp_path: Path) -> None:
    found = await of_providers(configured(fake, tmp_path))
    assert {finding.name: finding.words for finding in found} == LINES
    assert [finding.name for finding in found] == list(LINES)
    assert all(finding.is_well for finding in found)


async def test_a_model_is_asked_for_once_and_nothing_is_bought(fake: FakeGoogle, tmp_path: Path) -> None:
    await of_providers(configured(fake, tmp_path))
    asked = sorted((sent.method, sent.path.rsplit("/", 1)[-1]) for sent in fake.server.requests)
    assert asked == sorted({("GET", line.split(":")[0]) for line in LINES.values()})
    await of_providers(configured(fake, tmp_path, vision_model="gemini-3.5-flash-lite"))
    later = [sent.path.rsplit("/", 1)[-1] for sent in fake.server.requests[len(asked) :]]
    assert sorted(later) == sorted([*(model for _, model in asked), "gemini-3.5-flash-lite"])


async def test_an_unknown_model_is_wrong_for_all_that_it_serves(fake: FakeGoogle, tmp_path: Path) -> None:
    unknown = {"text_model": "gemini-9-flash", "vision_model": "gemini-9-flash"}
    found = await of_providers(configured(fake, tmp_path, **unknown))
    wrong = {finding.name: finding.words for finding in found if not finding.is_well}
    assert set(wrong) == {"provider gemini (text)", "provider gemini (vision)"}
    for said in wrong.values():
        assert said.startswith("gemini-9-flash: The model gemini-9-flash is unknown or retired: change ")
        assert "change TALLYFRAME_TEXT_MODEL and TALLYFRAME_VISION_MODEL." in said


async def test_a_bad_key_is_not_shown(fake: FakeGoogle, tmp_path: Path) -> None:
    found = await of_providers(configured(fake, tmp_path, gemini_api_key="another-key-0000"))
    assert len(found) == len(LINES)
    for finding in found:
        assert not finding.is_well
        assert "API key not valid" in finding.words
        assert "another-key-0000" not in finding.words
