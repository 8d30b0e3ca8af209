"""Gemini, and the server that it talks to; what that answers is the `fake` of each file."""

from collections.abc import AsyncIterator

import pytest

from tallyframe.providers.google.gemini import Gemini
from tests.support.google import FakeGemini
from tests.support.google_asking import gemini as serving_gemini
from tests.support.vendor import Vendor


@pytest.fixture
async def served(fake: FakeGemini) -> AsyncIterator[tuple[Gemini, Vendor]]:
    async with serving_gemini(fake) as running:
        yield running


@pytest.fixture
def gemini(served: tuple[Gemini, Vendor]) -> Gemini:
    return served[0]


@pytest.fixture
def server(served: tuple[Gemini, Vendor]) -> Vendor:
    return served[1]
