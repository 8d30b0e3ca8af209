"""Images by Gemini: what is sent, and what is made of a success."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.oauth2.credentials import Credentials
from PIL import Image

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, ImageTask, Media, Provider
from tallyframe.providers.google.client import Google, GoogleAccess
from tallyframe.providers.google.gemini_images import GeminiImages
from tests.support.crafted import chunk, write
from tests.support.crafted_png import broken
from tests.support.google import KEY, MODEL, FakeGemini, candidate, drawn, inline
from tests.support.tasks import Given
from tests.support.vendor import Vendor, answer, vendor

CAT = Media(drawn(8, 8, "PNG", "gray"), "image/png", 8, 8)
HAT = Media(drawn(8, 4, "JPEG", "red"), "image/jpeg", 8, 4)
NOISE = Media(write(Image.effect_noise((40, 40), 90), "PNG"), "image/png", 40, 40)


@pytest.fixture
def fake() -> FakeGemini:
    return FakeGemini()


@pytest.fixture
async def server(fake: FakeGemini) -> AsyncIterator[Vendor]:
    async with vendor(fake.answer) as running:
        yield running
    assert fake.complaints == []


@pytest.fixture
async def gemini(server: Vendor) -> AsyncIterator[GeminiImages]:
    provider = GeminiImages(Google(GoogleAccess(KEY, server.url, timeout=20.0)), MODEL)
    yield provider
    await provider.aclose()


def given(*pictures: Media) -> tuple[Given, ...]:
    return tuple(map(Given, pictures))


async def make(provider: Provider, order: ImageTask, call: Call | None = None) -> Media:
    made = await provider.start(order, call or Call("gen-1-try-1", 1))
    assert isinstance(made, Media)
    return made


async def test_two_pictures_and_a_prompt_are_sent_as_documented(gemini: GeminiImages, server: Vendor) -> None:
    await make(gemini, ImageTask("put the hat on the cat", "16:9", given(CAT, HAT)))
    (sent,) = server.requests
    assert (sent.method, sent.target) == ("POST", f"/v1/models/{MODEL}:generateContent")
    assert sent.headers["x-goog-api-key"] == KEY
    assert "authorization" not in sent.headers
    assert sent.json == {
        "contents": [
            {
                "parts": [
                    {"inlineData": {"data": in_url_alphabet(CAT), "mime_type": "image/png"}},
                    {"inlineData": {"data": in_url_alphabet(HAT), "mime_type": "image/jpeg"}},
                    {"text": "put the hat on the cat"},
                ],
                "role": "user",
            }
        ],
        "generationConfig": {
            "responseModalities": ["IMAGE"],
            "imageConfig": {"aspectRatio": "16:9", "imageSize": "1K"},
        },
    }


def in_url_alphabet(picture: Media) -> str:
    return base64.urlsafe_b64encode(picture.data).decode()


async def test_the_vendor_gets_the_very_pictures(gemini: GeminiImages, fake: FakeGemini) -> None:
    await make(gemini, ImageTask("hats", "1:1", given(CAT, HAT, CAT, HAT)))
    shown = [(each.content_type, each.data) for each in (CAT, HAT, CAT, HAT)]
    assert list(fake.orders[0].pictures) == shown


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        *(("1:1", (1024, 1024)), ("9:16", (576, 1024)), ("16:9", (1024, 576))),
        *(("4:5", (819, 1024)), ("3:4", (768, 1024))),
    ],
)
async def test_each_offered_ratio_is_made(gemini: GeminiImages, ratio: str, size: tuple[int, int]) -> None:
    assert ratio in gemini.offers["image"].aspect_ratios
    made = await make(gemini, ImageTask("a cup", ratio))
    assert (made.content_type, made.width, made.height, made.duration_seconds) == ("image/png", *size, None)


async def test_what_was_used_is_noted(gemini: GeminiImages, fake: FakeGemini) -> None:
    call, thinking = Call("gen-1-try-1", 1), Call("gen-2-try-1", 1)
    await make(gemini, ImageTask("a cup", "1:1"), call)
    assert (call.usage.input_tokens, call.usage.output_tokens, call.usage.request_id) == (528, 1290, "resp-0001")
    body = candidate(inline(drawn()))
    body["usageMetadata"] = {"promptTokenCount": 12, "candidatesTokenCount": 1120, "thoughtsTokenCount": 300}
    fake.replies.append(answer(body))
    await make(gemini, ImageTask("a cup", "1:1"), thinking)
    assert (thinking.usage.input_tokens, thinking.usage.output_tokens) == (12, 1420)


@pytest.mark.parametrize("counts", [None, {}, {"promptTokenCount": "many", "candidatesTokenCount": None}])
async def test_odd_counts_cost_no_picture(gemini: GeminiImages, fake: FakeGemini, counts: Any) -> None:
    fake.replies.append(answer({**candidate(inline(drawn())), "usageMetadata": counts}))
    call = Call("gen-1-try-1", 1)
    await make(gemini, ImageTask("a cup", "1:1"), call)
    assert (call.usage.input_tokens, call.usage.output_tokens) == (None, None)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("claimed", ["image/png", "image/jpeg", "application/octet-stream"])
async def test_the_type_is_that_of_the_bytes(gemini: GeminiImages, fake: FakeGemini, kind: str, claimed: str) -> None:
    data = drawn(30, 20, kind)
    fake.replies.append(answer(candidate(inline(data, claimed))))
    assert await make(gemini, ImageTask("a cup", "1:1")) == Media(data, f"image/{kind.lower()}", 30, 20)


async def test_a_picture_with_a_damaged_extra_is_paid_for_once(
    gemini: GeminiImages, fake: FakeGemini, server: Vendor
) -> None:
    plain = drawn(30, 20)
    data = plain[:33] + broken(chunk(b"tEXt", b"Software\0model")) + plain[33:]
    fake.replies.append(answer(candidate(inline(data))))
    assert await make(gemini, ImageTask("a cup", "1:1")) == Media(data, "image/png", 30, 20)
    assert len(server.requests) == 1


async def test_the_last_picture_that_is_no_thought_is_taken(gemini: GeminiImages, fake: FakeGemini) -> None:
    first, last, thought = (drawn(30, 20, "PNG", colour) for colour in ("red", "lime", "blue"))
    parts = [inline(first), {"text": "and better:"}, inline(last), {**inline(thought), "thought": True}, inline(b"")]
    fake.replies.append(answer(candidate(*parts)))
    assert (await make(gemini, ImageTask("a cup", "1:1"))).data == last


async def test_either_base64_is_read_and_unknown_fields_are_none_of_ours(
    gemini: GeminiImages, fake: FakeGemini
) -> None:
    written = in_url_alphabet(NOISE).rstrip("=")
    assert {"-", "_"} <= set(written)
    blob = {"mime_type": "image/png", "data": written, "new": 1}
    body = candidate({"inline_data": blob, "thoughtSignature": "c2ln", "new": []}, reason="NEWER_THAN_US")
    fake.replies.append(answer({**body, "promptFeedback": {"safetyRatings": []}, "new": {"a": None}}))
    assert (await make(gemini, ImageTask("a cup", "1:1"))).data == NOISE.data


@pytest.mark.parametrize(
    ("model", "size", "sent"),
    [
        *((MODEL, "4K", {"imageSize": "4K"}), (MODEL, "", {}), ("gemini-2.5-flash-image", "1K", {})),
        ("gemini-3-pro-image", "2K", {"imageSize": "2K"}),
    ],
)
async def test_the_size_is_sent_where_there_is_one(
    server: Vendor, fake: FakeGemini, model: str, size: str, sent: dict[str, str]
) -> None:
    fake.model = model
    fake.replies.append(answer(candidate(inline(drawn()))))
    provider = GeminiImages(Google(GoogleAccess(KEY, server.url)), model, size)
    await make(provider, ImageTask("a cup", "1:1"))
    await provider.aclose()
    assert server.requests[0].json["generationConfig"]["imageConfig"] == {"aspectRatio": "1:1", **sent}


async def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="512, 1K, 2K, 4K"):
        GeminiImages(Google(GoogleAccess(KEY)), MODEL, "1k")


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (ImageTask("a cup", "2:1"), "1:1, 9:16, 16:9, 4:5, 3:4"),
        (ImageTask("a cup", "1:1", given(Media(bytes(7_000_001), "image/png", 1, 1))), "can't be read"),
    ],
)
async def test_what_google_would_refuse_is_not_sent(
    gemini: GeminiImages, server: Vendor, order: ImageTask, said: str
) -> None:
    with pytest.raises(ProviderError, match=said) as caught:
        await make(gemini, order)
    assert (caught.value.code, caught.value.retryable) == (FailureCode.INVALID_INPUT, False)
    assert server.requests == []


async def test_four_large_pictures_are_made_to_fit(gemini: GeminiImages, server: Vendor, fake: FakeGemini) -> None:
    noise = Image.effect_noise((1500, 1500), 250).convert("RGB")
    large = Media(write(noise, "PNG", compress_level=0), "image/png", 1500, 1500)
    assert len(large.data) > 6_000_000
    await make(gemini, ImageTask("a cup", "1:1", given(*[large] * 4)))
    assert [kind for kind, _ in fake.orders[0].pictures] == ["image/jpeg"] * 4
    assert len(server.requests[0].body) < 20_000_000


async def test_any_prompt_can_be_sent(gemini: GeminiImages, fake: FakeGemini) -> None:
    for prompt in ('"; }\n\x00', "三个产品 👩🏽‍🚀", "\ud83d alone", "a" * 20_000):
        await make(gemini, ImageTask(prompt, "1:1"))
        assert fake.orders[-1].prompt == prompt


async def test_orders_run_side_by_side(gemini: GeminiImages, fake: FakeGemini) -> None:
    await asyncio.gather(*(make(gemini, ImageTask(f"cup {number}", "1:1")) for number in range(8)))
    assert {order.prompt for order in fake.orders} == {f"cup {number}" for number in range(8)}


async def test_there_are_no_tickets(gemini: GeminiImages, server: Vendor) -> None:
    with pytest.raises(ProviderError) as caught:
        await gemini.collect("gen-1", ImageTask("a cup", "1:1"), Call("gen-1-try-1", 1))
    assert (caught.value.code, caught.value.retryable) == (FailureCode.PROVIDER_REJECTED, False)
    assert await gemini.cancel("gen-1") is False
    assert server.requests == []
    assert gemini.repeatable is False


async def test_a_probe_asks_for_the_model(gemini: GeminiImages, server: Vendor) -> None:
    assert await gemini.probe("image") == f"{MODEL} is there: A model"
    assert [(sent.method, sent.target) for sent in server.requests] == [("GET", f"/v1/models/{MODEL}")]


async def test_a_retired_model_is_an_alarm_that_says_what_to_change(gemini: GeminiImages, fake: FakeGemini) -> None:
    fake.model = "gemini-4-image"
    for ask in (gemini.probe("image"), make(gemini, ImageTask("a cup", "1:1"))):
        with pytest.raises(ProviderError) as caught:
            await ask
        assert (caught.value.code, caught.value.alarm) == (FailureCode.INTERNAL, True)
        assert (caught.value.retryable, caught.value.in_doubt) == (False, False)
        assert f"models/{MODEL} is not found" in caught.value.operator_message
    with pytest.raises(ProviderError, match="internal") as caught:
        await gemini.probe("image")
    assert f"model {MODEL} is unknown or retired: change TALLYFRAME_IMAGE_MODEL." in caught.value.operator_message


@pytest.mark.parametrize(
    ("project", "base", "credentials"),
    [
        ("", "/v1beta1/publishers/google", None),
        ("p1", "/v1beta1/projects/p1/locations/europe-west4/publishers/google", Credentials("token-1")),  # type: ignore[no-untyped-call]
    ],
)
async def test_in_vertex_mode(project: str, base: str, credentials: Credentials | None) -> None:
    fake = FakeGemini(base=base, token="token-1" if project else "")
    async with vendor(fake.answer) as server:
        access = GoogleAccess(
            "" if project else KEY, server.url, vertex=True, project=project, location="europe-west4" if project else ""
        )
        provider = GeminiImages(Google(access, credentials=credentials), MODEL)
        made = await make(provider, ImageTask("put the hat on the cat", "4:5", given(CAT, HAT)))
        assert await provider.probe("image") == f"{MODEL} is there: A model"
        await provider.aclose()
    assert (made.width, made.height) == (819, 1024)
    assert fake.complaints == []
    assert json.loads(server.requests[0].body)["generationConfig"]["imageConfig"]["imageSize"] == "1K"
