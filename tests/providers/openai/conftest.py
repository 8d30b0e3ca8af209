"""OpenAI's provider, and the server that it talks to."""

from collections.abc import AsyncIterator

import pytest

from tallyframe.providers.openai.provider import OpenAI
from tests.support.openai import FakeOpenAI
from tests.support.openai_asking import openai
from tests.support.vendor import Vendor


@pytest.fixture
def fake() -> FakeOpenAI:
    return FakeOpenAI()


@pytest.fixture
async def served(fake: FakeOpenAI) -> AsyncIterator[tuple[OpenAI, Vendor]]:
    async with openai(fake) as running:
        yield running


@pytest.fixture
def made(served: tuple[OpenAI, Vendor]) -> OpenAI:
    return served[0]


@pytest.fixture
def server(served: tuple[OpenAI, Vendor]) -> Vendor:
    return served[1]
