"""What every provider must do, built as a worker builds it. A new one joins by a line in PROVIDERS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import BaseModel, Field

from tallyframe.catalog import CAPABILITIES, Capability
from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.providers.base import (
    Answer,
    Call,
    Data,
    ImageTask,
    Media,
    Provider,
    Task,
    TextTask,
    Ticket,
    VideoTask,
    VisionTask,
)
from tallyframe.providers.registry import build_providers, offers
from tallyframe.settings import Settings, load_settings
from tests.support.drawn import GREEN, picture
from tests.support.google_all import KEY, FakeGoogle, google
from tests.support.tasks import Given
from tests.support.vendor import DROP, Reply, Request, hang

#: Who is tested, per capability.
PROVIDERS: dict[Capability, tuple[str, ...]] = {
    "image": ("offline", "gemini"),
    "video": ("offline", "omni", "veo"),
    "text": ("offline", "gemini"),
    "vision": ("offline", "gemini"),
}
EVERY = [(capability, name) for capability in CAPABILITIES for name in PROVIDERS[capability]]
ONLINE = [(capability, name) for capability, name in EVERY if name != "offline"]
WITH_INPUTS = [(capability, name) for capability, name in EVERY if capability != "text"]
#: Offline gives a ticket for whatever a card delays; other vendors take the card for a part of the prompt.
WITH_TICKETS = [(capability, name) for capability, name in EVERY if capability == "video" or name == "offline"]
LATER = "a cup [delay:600]"

PICTURE = Media(picture(GREEN), "image/png", 8, 6)


class Note(BaseModel):
    """What text and vision are asked for here."""

    title: str = Field(min_length=1, max_length=40)
    points: list[str] = Field(min_length=1, max_length=5)
    rating: int = Field(ge=1, le=10)


class Gone:
    """A picture whose storage is away."""

    async def read(self) -> Media:
        raise GenerationError(FailureCode.STORAGE_UNAVAILABLE, retryable=True)

    async def public_url(self) -> str | None:
        return None


Build = Callable[..., Provider]

#: Seconds for an answer that doesn't come. The request must get there in that time, however busy the machine is.
IMPATIENT = 3


@pytest.fixture
async def fake() -> AsyncIterator[FakeGoogle]:
    async with google() as running:
        yield running


@pytest.fixture
async def build(fake: FakeGoogle) -> AsyncIterator[Callable[..., Provider]]:
    """Make the provider of that capability and name; other settings as named. All are closed at the end."""
    made: list[Provider] = []

    def make(capability: Capability, name: str, **more: Any) -> Provider:
        made.append(build_providers(configured(fake, capability, name, **more))[capability][0])
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


def configured(fake: FakeGoogle, capability: Capability, name: str, **more: Any) -> Settings:
    address = {"gemini_api_key": KEY, "gemini_base_url": fake.server.url}
    limits = {"provider_timeout": 20, "provider_poll": 0.05}
    nobody_else = {f"{each}_providers": "offline" for each in CAPABILITIES}
    return load_settings(**{**nobody_else, f"{capability}_providers": name, **address, **limits, **more})


@asynccontextmanager
async def nowhere() -> AsyncIterator[str]:
    """An address where nobody listens."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    yield url


def task_of(capability: Capability, provider: Provider, *inputs: Any, prompt: str = "a cup") -> Task:
    """A task that fits the provider's offer, with these inputs."""
    offer = provider.offers[capability]
    match capability:
        case "image":
            return ImageTask(prompt, offer.aspect_ratios[0], inputs)
        case "video":
            return VideoTask(prompt, "9:16", offer.seconds[0], inputs)
        case "text":
            return TextTask("Write a note.", prompt, Note)
        case "vision":
            return VisionTask("Look, and write a note.", prompt, Note, inputs or (Given(PICTURE),))


async def finish(provider: Provider, answer: Answer, task: Task, call: Call | None = None) -> Media | Data:
    async with asyncio.timeout(30):
        while isinstance(answer, Ticket):
            await asyncio.sleep(answer.poll_after)
            answer = await provider.collect(answer.value, task, call or Call("key", 1))
    return answer


async def order(provider: Provider, task: Task, call: Call | None = None) -> Media | Data:
    """Order, and wait for the result."""
    call = call or Call("key", 1)
    return await finish(provider, await provider.start(task, call), task, call)


@pytest.mark.parametrize(("capability", "name"), EVERY)
async def test_it_is_what_the_settings_name(capability: Capability, name: str, build: Build, fake: FakeGoogle) -> None:
    provider = build(capability, name)
    assert provider.name == name
    offer = provider.offers[capability]
    assert offer == offers(configured(fake, capability, name))[capability][0]
    assert offer.model
    assert bool(offer.aspect_ratios) is (capability in {"image", "video"})
    assert bool(offer.seconds) is (capability == "video")
    assert provider.repeatable is (name == "offline")


@pytest.mark.parametrize(("capability", "name"), EVERY)
async def test_it_makes_what_is_ordered(capability: Capability, name: str, build: Build) -> None:
    provider, call = build(capability, name), Call("key", 1)
    task = task_of(capability, provider)
    assert task.fits(provider.offers[capability])
    made = await order(provider, task, call)
    if isinstance(made, Data):
        assert Note.model_validate(made.value).model_dump() == made.value
        assert capability in {"text", "vision"}
    else:
        assert made.content_type.startswith(capability)
        assert made.data
        assert min(made.width or 0, made.height or 0) > 0
        assert (made.duration_seconds is not None) is (capability == "video")
    if capability in {"text", "vision"} or name in {"gemini", "omni"}:
        assert call.usage.output_tokens
        assert call.usage.input_tokens
    if name in {"gemini", "omni"}:
        assert call.usage.request_id


@pytest.mark.parametrize(("capability", "name"), WITH_INPUTS)
async def test_it_reads_each_picture_once(capability: Capability, name: str, build: Build, fake: FakeGoogle) -> None:
    provider = build(capability, name)
    inputs = [Given(PICTURE) for _ in range(1 if capability == "video" else 2)]
    await order(provider, task_of(capability, provider, *inputs))
    assert {each.reads for each in inputs} == {1}
    assert fake.complaints == []


@pytest.mark.parametrize(("capability", "name"), WITH_INPUTS)
async def test_nothing_is_ordered_without_its_picture(
    capability: Capability, name: str, build: Build, fake: FakeGoogle
) -> None:
    provider = build(capability, name)
    with pytest.raises(GenerationError) as error:
        await order(provider, task_of(capability, provider, Gone()))
    assert (error.value.code, error.value.retryable) == (FailureCode.STORAGE_UNAVAILABLE, True)
    assert [request for request in fake.server.requests if request.method == "POST"] == []


@pytest.mark.parametrize(("capability", "name"), WITH_TICKETS)
async def test_asking_for_what_is_not_ready_reads_no_picture(
    capability: Capability, name: str, build: Build, fake: FakeGoogle
) -> None:
    fake.omni.runs = fake.veo.runs = 1000
    provider, given = build(capability, name), Given(PICTURE)
    task = task_of(capability, provider, given, prompt=LATER)
    ticket = await provider.start(task, Call("key", 1))
    assert isinstance(ticket, Ticket)
    read_for_the_order = given.reads
    for _ in range(3):
        assert isinstance(await build(capability, name).collect(ticket.value, task, Call("key", 1)), Ticket)
    assert given.reads == read_for_the_order


@pytest.mark.parametrize("name", PROVIDERS["video"])
async def test_another_instance_collects_a_ticket(name: str, build: Build, fake: FakeGoogle) -> None:
    fake.omni.runs = fake.veo.runs = 2
    task = task_of("video", build("video", name))
    ticket = await build("video", name).start(task, Call("key", 1))
    assert isinstance(ticket, Ticket)
    assert 0 < len(ticket.value) < 2000
    assert ticket.poll_after > 0
    film = await finish(build("video", name), ticket, task)
    assert isinstance(film, Media)
    assert film.content_type == "video/mp4"
    assert len(fake.creates()) == (0 if name == "offline" else 1)


@pytest.mark.parametrize(("capability", "name"), EVERY)
async def test_it_says_whether_it_could_stop(capability: Capability, name: str, build: Build) -> None:
    provider = build(capability, name)
    answer = await provider.start(task_of(capability, provider), Call("key", 1))
    ticket = answer.value if isinstance(answer, Ticket) else "none"
    assert await provider.cancel(ticket) in {True, False}


@pytest.mark.parametrize(("capability", "name"), EVERY)
async def test_its_probe_is_free_and_says_something(
    capability: Capability, name: str, build: Build, fake: FakeGoogle
) -> None:
    assert 0 < len(await build(capability, name).probe(capability)) < 200
    assert [request for request in fake.server.requests if request.method == "POST"] == []


@pytest.mark.parametrize(("capability", "name"), ONLINE)
async def test_a_vendor_that_cant_be_reached_has_taken_nothing(
    capability: Capability, name: str, build: Callable[..., Provider]
) -> None:
    async with nowhere() as url:
        provider = build(capability, name, gemini_base_url=url)
        with pytest.raises(ProviderError) as error:
            await provider.start(task_of(capability, provider), Call("key", 1))
    assert (error.value.code, error.value.retryable, error.value.in_doubt) == (
        FailureCode.PROVIDER_UNAVAILABLE,
        True,
        False,
    )


@pytest.mark.parametrize("reply", [DROP, hang()], ids=["dropped", "hangs"])
@pytest.mark.parametrize(("capability", "name"), ONLINE)
async def test_an_order_without_an_answer_is_in_doubt(
    capability: Capability, name: str, reply: Reply, build: Build, fake: FakeGoogle
) -> None:
    provider = build(capability, name, provider_timeout=IMPATIENT)
    fake.before = lambda _request: reply
    with pytest.raises(ProviderError) as error:
        await provider.start(task_of(capability, provider), Call("key", 1))
    assert (error.value.in_doubt, error.value.retryable) == (True, False)
    assert len(fake.server.requests) == 1


@pytest.mark.parametrize(("capability", "name"), ONLINE)
async def test_a_bad_key_is_for_the_operator(
    capability: Capability, name: str, build: Callable[..., Provider], fake: FakeGoogle
) -> None:
    provider = build(capability, name, gemini_api_key="another-key-0000")
    for attempt in (provider.start(task_of(capability, provider), Call("key", 1)), provider.probe(capability)):
        with pytest.raises(ProviderError) as error:
            await attempt
        assert error.value.alarm
        assert error.value.code is FailureCode.INTERNAL
        assert "another-key-0000" not in f"{error.value!r} {error.value.operator_message}"


@pytest.mark.parametrize("reply", [DROP, hang(), Reply(500), Reply(200, b"no")], ids=["drop", "hang", "500", "babble"])
@pytest.mark.parametrize("name", [name for name in PROVIDERS["video"] if name != "offline"])
async def test_asking_that_fails_is_no_verdict(name: str, reply: Reply, build: Build, fake: FakeGoogle) -> None:
    provider = build("video", name, provider_timeout=IMPATIENT)
    task = task_of("video", provider)
    ticket = await provider.start(task, Call("key", 1))
    assert isinstance(ticket, Ticket)

    def only_polls(request: Request) -> Reply | None:
        return reply if request.method == "GET" else None

    fake.before = only_polls
    with pytest.raises(ProviderError) as error:
        await provider.collect(ticket.value, task, Call("key", 1))
    assert error.value.retryable
    fake.before = lambda _request: None
    assert isinstance(await finish(provider, ticket, task), Media)
