"""Vision by Gemini: the pictures that are sent, and Vertex mode for all that it writes."""

from io import BytesIO

import pytest
from google.oauth2.credentials import Credentials
from PIL import Image

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Data, Media
from tallyframe.providers.google.client import GoogleAccess
from tallyframe.providers.google.gemini import Gemini
from tests.support.crafted import write
from tests.support.google import KEY
from tests.support.google_asking import (
    CAT,
    HAT,
    INSTRUCTIONS,
    PROMPT,
    Script,
    first_try,
    gemini,
    looking,
    writing,
)
from tests.support.google_text import TEXT_MODEL, FakeGeminiText
from tests.support.vendor import vendor


async def test_the_pictures_are_sent_as_they_are_before_the_prompt() -> None:
    fake = FakeGeminiText()
    async with gemini(fake) as (provider, server):
        made = await provider.start(looking(CAT, HAT, max_output_tokens=700), first_try())
        parts = server.requests[0].json["contents"][0]["parts"]
        assert [next(iter(part)) for part in parts] == ["inlineData", "inlineData", "text"]
    (order,) = fake.orders
    assert order.pictures == (("image/png", CAT.data), ("image/jpeg", HAT.data))
    assert (order.instructions, order.prompt, order.max_output_tokens) == (INSTRUCTIONS, PROMPT, 700)
    assert isinstance(made, Data)
    assert Script.model_validate(made.value).tone == "calm"


@pytest.mark.parametrize(
    ("count", "longest", "most"), [(4, 2048, 3_500_000), (5, 1024, 1_400_000), (10, 1024, 1_400_000)]
)
async def test_large_pictures_are_made_to_fit_side_by_side(count: int, longest: int, most: int) -> None:
    noise = Image.effect_noise((2100, 1400), 250).convert("RGB")
    large = Media(write(noise, "PNG", compress_level=0), "image/png", 2100, 1400)
    fake = FakeGeminiText()
    async with gemini(fake) as (provider, server):
        await provider.start(looking(*[large] * count), first_try())
        assert len(server.requests[0].body) < 20_000_000
    for kind, data in fake.orders[0].pictures:
        with Image.open(BytesIO(data)) as sent:
            assert (kind, max(sent.size)) == ("image/jpeg", longest)
        assert len(data) < most


async def test_a_picture_that_cant_be_used_is_not_sent() -> None:
    async with gemini(FakeGeminiText()) as (provider, server):
        with pytest.raises(ProviderError, match="can't be read") as caught:
            await provider.start(looking(Media(bytes(3_500_001), "image/png", 1, 1)), first_try())
        assert (caught.value.code, caught.value.retryable) == (FailureCode.INVALID_INPUT, False)
        assert server.requests == []


@pytest.mark.parametrize(
    ("project", "base", "credentials"),
    [
        ("", "/v1beta1/publishers/google", None),
        ("p1", "/v1beta1/projects/p1/locations/eu/publishers/google", Credentials("token-1")),  # type: ignore[no-untyped-call]
    ],
)
async def test_in_vertex_mode(project: str, base: str, credentials: Credentials | None) -> None:
    fake = FakeGeminiText(base=base, token="token-1" if project else "")
    async with vendor(fake.answer) as server:
        key, location = ("", "eu") if project else (KEY, "")
        access = GoogleAccess(key, server.url, vertex=True, project=project, location=location)
        provider = Gemini(access, {"text": TEXT_MODEL, "vision": TEXT_MODEL}, credentials=credentials)
        for task in (writing(), looking(CAT, HAT)):
            made = await provider.start(task, first_try())
            assert isinstance(made, Data)
            assert await provider.probe(task.capability) == f"{TEXT_MODEL} is there: A model"
        await provider.aclose()
        assert {("authorization" in sent.headers, "x-goog-api-key" in sent.headers) for sent in server.requests} == {
            (bool(project), not project)
        }
    assert fake.complaints == []
    assert [len(order.pictures) for order in fake.orders] == [0, 2]
    assert server.requests[0].path == f"{base}/models/{TEXT_MODEL}:generateContent"
    assert server.requests[0].json["generationConfig"] == {
        "maxOutputTokens": 4096,
        "responseMimeType": "application/json",
        "responseJsonSchema": fake.orders[0].schema,
        "thinkingConfig": {"thinking_level": "LOW"},
    }
