"""Making and closing the providers that the settings name."""

from typing import Any

import httpx2
import pytest

from tallyframe.providers.registry import build_providers, close_providers, offers
from tallyframe.settings import load_settings

GOOGLE: dict[str, Any] = {
    "gemini_api_key": "a-key",
    "image_providers": "gemini",
    "video_providers": "omni,veo",
    "text_providers": "gemini",
    "vision_providers": "gemini",
}


async def test_a_provider_is_made_once_for_all_that_it_serves() -> None:
    providers = build_providers(load_settings(**GOOGLE))
    assert {each: [one.name for one in serving] for each, serving in providers.items()} == {
        "image": ["gemini"],
        "video": ["omni", "veo"],
        "text": ["gemini"],
        "vision": ["gemini"],
    }
    assert providers["image"][0] is providers["text"][0] is providers["vision"][0]
    await close_providers(providers)


async def test_what_is_offered_is_what_the_providers_offer() -> None:
    settings = load_settings(**GOOGLE, text_model="gemini-3.5-flash-lite")
    providers = build_providers(settings)
    assert offers(settings) == {each: tuple(one.offers[each] for one in serving) for each, serving in providers.items()}
    assert offers(settings)["text"][0].model == "gemini-3.5-flash-lite"
    await close_providers(providers)


async def test_every_client_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[httpx2.AsyncClient] = []
    close = httpx2.AsyncClient.aclose

    async def note(self: httpx2.AsyncClient) -> None:
        closed.append(self)
        await close(self)

    providers = build_providers(load_settings(**GOOGLE))
    monkeypatch.setattr(httpx2.AsyncClient, "aclose", note)
    await close_providers(providers)
    assert len(closed) == len(set(map(id, closed))) == 4  # Gemini's, Omni's, and Veo's two
