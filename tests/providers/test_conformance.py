"""What every provider must do, built as a worker builds it. A new one joins by a line in IMAGES or VIDEOS."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, ImageOrder, Media, Provider, Ticket, VideoOrder
from tallyframe.providers.registry import build_providers, offers
from tallyframe.settings import Settings, load_settings
from tests.support.drawn import GREEN, picture
from tests.support.google_all import KEY, FakeGoogle, google
from tests.support.vendor import DROP, Reply, Request, hang

IMAGES = ("offline", "gemini")
VIDEOS = ("offline", "omni", "veo")
ONLINE = [("image", "gemini"), ("video", "omni"), ("video", "veo")]

Build = Callable[..., Any]


@pytest.fixture
async def fake() -> AsyncIterator[FakeGoogle]:
    async with google() as running:
        yield running


@pytest.fixture
async def build(fake: FakeGoogle) -> AsyncIterator[Build]:
    """Make the provider of that kind and name; other settings as named. All are closed at the end."""
    made: list[Provider] = []

    def make(kind: str, name: str, **more: Any) -> Any:
        provider = getattr(build_providers(configured(fake, kind, name, **more)), kind)[0]
        made.append(provider)
        return provider

    yield make
    for provider in made:
        await provider.aclose()


def configured(fake: FakeGoogle, kind: str, name: str, **more: Any) -> Settings:
    address = {"gemini_api_key": KEY, "gemini_base_url": fake.server.url}
    limits = {"provider_timeout": 1, "provider_poll": 0.05}
    return load_settings(**{f"{kind}_providers": name, **address, **limits, **more})


@asynccontextmanager
async def nowhere() -> AsyncIterator[str]:
    """An address where nobody listens."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    yield url


def order(kind: str, provider: Provider, **changes: Any) -> Any:
    if kind == "image":
        return replace(ImageOrder("a cup", provider.offer.aspect_ratios[0]), **changes)
    return replace(VideoOrder("a cup", "9:16", provider.offer.seconds[0]), **changes)


async def make(kind: str, provider: Any, wanted: Any, call: Call | None = None) -> Media | Ticket:
    given: Media | Ticket = await getattr(provider, f"make_{kind}")(wanted, call or Call("key", 1))
    return given


async def finish(kind: str, provider: Any, answer: Media | Ticket, wanted: Any, call: Call | None = None) -> Media:
    async with asyncio.timeout(10):
        while isinstance(answer, Ticket):
            await asyncio.sleep(answer.poll_after)
            answer = await getattr(provider, f"collect_{kind}")(answer.value, wanted, call or Call("key", 1))
    return answer


EVERY = [*(("image", name) for name in IMAGES), *(("video", name) for name in VIDEOS)]


@pytest.mark.parametrize(("kind", "name"), EVERY)
async def test_it_is_what_the_settings_name(kind: str, name: str, build: Build, fake: FakeGoogle) -> None:
    provider = build(kind, name)
    assert provider.name == name
    assert provider.model
    assert provider.offer == getattr(offers(configured(fake, kind, name)), kind)[0]
    assert bool(provider.offer.seconds) or kind == "image"
    assert provider.repeatable is (name == "offline")


@pytest.mark.parametrize(("kind", "name"), EVERY)
async def test_it_makes_what_is_ordered(kind: str, name: str, build: Build) -> None:
    provider, call = build(kind, name), Call("key", 1)
    wanted = order(kind, provider)
    made = await finish(kind, provider, await make(kind, provider, wanted, call), wanted, call)
    assert made.content_type.startswith(kind)
    assert made.data
    assert min(made.width, made.height) > 0
    assert (made.duration_seconds is not None) is (kind == "video")
    if name in {"gemini", "omni"}:
        assert call.usage.output_tokens
        assert call.usage.request_id


@pytest.mark.parametrize(("kind", "name"), EVERY)
async def test_it_takes_pictures(kind: str, name: str, build: Build, fake: FakeGoogle) -> None:
    provider = build(kind, name)
    given = Media(picture(GREEN), "image/png", 8, 6)
    wanted = order(kind, provider, **({"pictures": (given, given)} if kind == "image" else {"first_frame": given}))
    assert (await finish(kind, provider, await make(kind, provider, wanted), wanted)).data
    assert fake.complaints == []


@pytest.mark.parametrize("name", VIDEOS)
async def test_another_instance_collects_a_ticket(name: str, build: Build, fake: FakeGoogle) -> None:
    fake.omni.runs = fake.veo.runs = 2
    wanted = order("video", build("video", name))
    ticket = await make("video", build("video", name), wanted)
    assert isinstance(ticket, Ticket)
    assert 0 < len(ticket.value) < 2000
    assert ticket.poll_after > 0
    assert (await finish("video", build("video", name), ticket, wanted)).content_type == "video/mp4"
    assert len(fake.creates()) == (0 if name == "offline" else 1)


@pytest.mark.parametrize(("kind", "name"), EVERY)
async def test_it_says_whether_it_could_stop(kind: str, name: str, build: Build) -> None:
    provider = build(kind, name)
    answer = await make(kind, provider, order(kind, provider))
    ticket = answer.value if isinstance(answer, Ticket) else "none"
    assert await provider.cancel(ticket) in {True, False}


@pytest.mark.parametrize(("kind", "name"), EVERY)
async def test_its_probe_is_free_and_says_something(kind: str, name: str, build: Build, fake: FakeGoogle) -> None:
    assert 0 < len(await build(kind, name).probe()) < 200
    assert fake.creates() == []
    assert fake.gemini.orders == []


@pytest.mark.parametrize(("kind", "name"), ONLINE)
async def test_a_vendor_that_cant_be_reached_has_taken_nothing(kind: str, name: str, build: Build) -> None:
    async with nowhere() as url:
        provider = build(kind, name, gemini_base_url=url)
        with pytest.raises(ProviderError) as error:
            await make(kind, provider, order(kind, provider))
    assert (error.value.code, error.value.retryable, error.value.in_doubt) == (
        FailureCode.PROVIDER_UNAVAILABLE,
        True,
        False,
    )


@pytest.mark.parametrize("reply", [DROP, hang(5)], ids=["dropped", "hangs"])
@pytest.mark.parametrize(("kind", "name"), ONLINE)
async def test_an_order_without_an_answer_is_in_doubt(
    kind: str, name: str, reply: Reply, build: Build, fake: FakeGoogle
) -> None:
    provider = build(kind, name)
    fake.before = lambda _request: reply
    with pytest.raises(ProviderError) as error:
        await make(kind, provider, order(kind, provider))
    assert (error.value.in_doubt, error.value.retryable) == (True, False)
    assert len(fake.server.requests) == 1


@pytest.mark.parametrize(("kind", "name"), ONLINE)
async def test_a_bad_key_is_for_the_operator(kind: str, name: str, build: Build, fake: FakeGoogle) -> None:
    provider = build(kind, name, gemini_api_key="another-key-0000")
    for attempt in (make(kind, provider, order(kind, provider)), provider.probe()):
        with pytest.raises(ProviderError) as error:
            await attempt
        assert error.value.alarm
        assert error.value.code is FailureCode.INTERNAL
        assert "another-key-0000" not in f"{error.value!r} {error.value.operator_message}"


@pytest.mark.parametrize("reply", [DROP, hang(5), Reply(500), Reply(200, b"no")], ids=["drop", "hang", "500", "babble"])
@pytest.mark.parametrize("name", ["omni", "veo"])
async def test_asking_that_fails_is_no_verdict(name: str, reply: Reply, build: Build, fake: FakeGoogle) -> None:
    provider = build("video", name)
    wanted = order("video", provider)
    ticket = await make("video", provider, wanted)
    assert isinstance(ticket, Ticket)

    def only_polls(request: Request) -> Reply | None:
        return reply if request.method == "GET" else None

    fake.before = only_polls
    with pytest.raises(ProviderError) as error:
        await provider.collect_video(ticket.value, wanted, Call("key", 1))
    assert error.value.retryable
    fake.before = lambda _request: None
    assert (await finish("video", provider, ticket, wanted)).data
