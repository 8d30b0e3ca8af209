"""Pictures looked at by OpenAI: what is sent of them, when they are read, and what is never sent."""

import pytest
from PIL import Image

from tallyframe.errors import FailureCode, GenerationError
from tallyframe.providers.base import Media
from tallyframe.providers.openai.offers import MOST_PICTURES
from tallyframe.providers.openai.provider import SEEN_PICTURE, OpenAI
from tests.support.crafted import write
from tests.support.openai import MODEL, FakeOpenAI
from tests.support.openai_asking import INSTRUCTIONS, PROMPT, SCRIPT, access, asked, failing, looking, new_call
from tests.support.tasks import Given
from tests.support.vendor import Vendor

INVALID = (FailureCode.INVALID_INPUT, False, False, False)
MISSING = GenerationError(FailureCode.STORAGE_UNAVAILABLE, retryable=True)


def drawn(kind: str, colour: str = "teal", size: tuple[int, int] = (12, 8)) -> Media:
    return Media(write(Image.new("RGB", size, colour), kind), f"image/{kind.lower()}", *size)


CAT, HAT, BAG = drawn("PNG", "gray"), drawn("JPEG", "red"), drawn("WEBP", "lime")


class Gone(Given):
    """A picture that can't be read."""

    async def read(self) -> Media:
        raise MISSING


async def test_the_vendor_gets_the_very_pictures_behind_the_words(made: OpenAI, fake: FakeOpenAI) -> None:
    call = new_call()
    answer = await made.start(looking(*map(Given, (CAT, HAT, BAG, CAT))), call)
    assert answer.value == SCRIPT
    (wanted,) = fake.asked
    assert (wanted.instructions, wanted.prompt, wanted.name) == (INSTRUCTIONS, PROMPT, "Script")
    assert list(wanted.pictures) == [(each.content_type, each.data) for each in (CAT, HAT, BAG, CAT)]
    assert (call.usage.input_tokens, call.usage.output_tokens) == (120, 45)


async def test_each_picture_is_read_once_and_its_address_is_kept_to_ourselves(made: OpenAI, server: Vendor) -> None:
    pictures = [Given(CAT, "https://cdn.example.com/cat.png?signature=1"), Given(HAT, "http://127.0.0.1:1/hat.jpg")]
    await asked(made, looking(*pictures))
    assert [picture.reads for picture in pictures] == [1, 1]
    (sent,) = server.requests
    assert b"cdn.example.com" not in sent.body
    assert b"127.0.0.1:1" not in sent.body


async def test_pictures_can_come_without_words(made: OpenAI, fake: FakeOpenAI) -> None:
    await asked(made, looking(Given(CAT), prompt=""))
    assert (fake.asked[0].prompt, len(fake.asked[0].pictures)) == ("", 1)


async def test_as_many_large_pictures_as_are_offered_are_made_to_fit(
    made: OpenAI, server: Vendor, fake: FakeOpenAI
) -> None:
    noise = Image.effect_noise((2500, 1250), 60).convert("RGB")
    large = Media(write(noise, "PNG", compress_level=0), "image/png", 2500, 1250)
    assert len(large.data) > SEEN_PICTURE.max_bytes
    assert made.offers["vision"].max_images == MOST_PICTURES == 10
    await asked(made, looking(*[Given(large)] * 10))
    assert [kind for kind, _ in fake.asked[0].pictures] == ["image/jpeg"] * 10
    assert len(server.requests[0].body) < 50_000_000


async def test_too_many_pictures_and_none_are_refused_before_they_are_read(made: OpenAI, server: Vendor) -> None:
    picture = Given(CAT)
    await failing(made.start(looking(*[picture] * 11), new_call()), INVALID)
    await failing(made.start(looking(), new_call()), INVALID)
    assert picture.reads == 0
    assert server.requests == []


async def test_a_picture_that_no_decoder_reads_is_the_orders_fault(made: OpenAI, server: Vendor) -> None:
    await failing(made.start(looking(Given(Media(b"GIF89a", "image/gif", 1, 1))), new_call()), INVALID)
    assert server.requests == []


async def test_a_picture_that_is_gone_is_no_failure_of_openai_s(made: OpenAI, server: Vendor) -> None:
    with pytest.raises(GenerationError) as caught:
        await made.start(looking(Given(CAT), Gone(HAT)), new_call())
    assert caught.value is MISSING
    assert server.requests == []


async def test_vision_has_a_model_of_its_own(server: Vendor, fake: FakeOpenAI) -> None:
    fake.models = (MODEL, "gpt-5.4")
    both = OpenAI(access(server.url), {"text": MODEL, "vision": "gpt-5.4"})
    await asked(both, looking(Given(CAT)))
    await both.aclose()
    assert fake.asked[0].model == "gpt-5.4"
