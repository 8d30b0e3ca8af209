"""The test cards and tickets of the offline provider."""

import asyncio
import base64
import time

import pytest

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, ImageOrder, Media, Ticket, VideoOrder
from tallyframe.providers.offline import OfflineProvider, tickets
from tallyframe.providers.offline.cards import read_cards

FIRST = Call("gen-1-try-1", 1)


class Clock:
    """Seconds since the epoch that pass only when told."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def image(prompt: str) -> ImageOrder:
    return ImageOrder(prompt, "1:1")


def video(prompt: str) -> VideoOrder:
    return VideoOrder(prompt, "1:1", 1)


async def refusal(prompt: str, call: Call = FIRST) -> ProviderError:
    """The error of an image order, having checked that a video order fails alike."""
    with pytest.raises(ProviderError) as of_image:
        await OfflineProvider().make_image(image(prompt), call)
    with pytest.raises(ProviderError) as of_video:
        await OfflineProvider().make_video(video(prompt), call)
    assert (of_image.value.code, of_image.value.message) == (of_video.value.code, of_video.value.message)
    return of_image.value


@pytest.mark.parametrize("code", list(FailureCode))
async def test_fail_card_is_a_final_verdict(code: FailureCode) -> None:
    error = await refusal(f"A cup [fail:{code}]")
    assert (error.code, error.retryable) == (code, False)


async def test_empty_card_says_there_is_no_result() -> None:
    error = await refusal("[empty] A cup")
    assert (error.code, error.retryable) == (FailureCode.PROVIDER_REJECTED, False)
    assert "no result" in error.message


async def test_flaky_card_fails_retryably_then_works() -> None:
    for attempt in (1, 2):
        error = await refusal("A cup [flaky:2]", Call(f"try-{attempt}", attempt))
        assert (error.code, error.retryable) == (FailureCode.PROVIDER_UNAVAILABLE, True)
    assert isinstance(await OfflineProvider().make_image(image("A cup [flaky:2]"), Call("try-3", 3)), Media)


async def test_flaky_comes_before_fail() -> None:
    prompt = "[fail:content_policy] [flaky:1]"
    assert (await refusal(prompt)).retryable
    assert (await refusal(prompt, Call("try-2", 2))).code == FailureCode.CONTENT_POLICY


@pytest.mark.parametrize(
    "card",
    [
        *("[fail:nonsense]", "[fail]", "[fail:]", "[flaky:x]", "[flaky:-1]", "[flaky:1.5]", "[empty:1]"),
        *("[delay]", "[delay:soon]", "[delay:-1]", "[delay:nan]", "[delay:inf]", "[hang:]", "[hang:nan]"),
    ],
)
async def test_malformed_cards_name_the_known_ones_and_not_the_prompt(card: str) -> None:
    error = await refusal(f"secret {card}")
    assert (error.code, error.retryable) == (FailureCode.INVALID_INPUT, False)
    assert all(code in error.message for code in FailureCode)
    assert "secret" not in error.message
    assert "nonsense" not in error.message


def test_cards_are_taken_out_of_the_prompt() -> None:
    cards = read_cards("A [red] cup[delay:2.5] on [FAIL: Content_Policy ] a [failing:1] table [hang:9999]")
    assert cards.prompt == "A [red] cup on a [failing:1] table"
    assert (cards.delay, cards.hang, cards.fail) == (2.5, 600.0, FailureCode.CONTENT_POLICY)


async def test_hang_card_holds_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr("tallyframe.providers.offline.provider.asyncio.sleep", nap)
    await OfflineProvider().make_video(video("A cup [hang:7.5]"), FIRST)
    assert (await refusal("[hang:1] [fail:internal]")).code == FailureCode.INTERNAL
    assert naps == [7.5, 1.0, 1.0]


async def test_hang_card_takes_real_time_and_can_be_canceled() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await OfflineProvider().make_image(image("[hang:60]"), FIRST)


async def test_delay_card_gives_a_ticket_until_the_time_has_come() -> None:
    clock = Clock()
    order = image("A cup [delay:8]")
    ticket = await OfflineProvider(clock).make_image(order, FIRST)
    assert isinstance(ticket, Ticket)
    assert ticket.poll_after == 5.0
    clock.now += 6.5
    assert await OfflineProvider(clock).collect_image(ticket.value, order, FIRST) == Ticket(ticket.value, 1.5)
    clock.now += 1.49
    assert await OfflineProvider(clock).collect_image(ticket.value, order, FIRST) == Ticket(ticket.value, 0.1)
    clock.now += 0.01
    late = await OfflineProvider(clock).collect_image(ticket.value, order, Call("gen-1-try-2", 2))
    assert late == await OfflineProvider().make_image(image("A cup"), FIRST)


async def test_delay_then_fail_shows_when_collected() -> None:
    clock = Clock()
    asked = OfflineProvider(clock)
    prompt = "A cup [fail:provider_quota] [delay:3]"
    of_image, of_video = await asked.make_image(image(prompt), FIRST), await asked.make_video(video(prompt), FIRST)
    assert isinstance(of_image, Ticket)
    assert isinstance(of_video, Ticket)
    assert of_video.poll_after == 3.0
    assert isinstance(await asked.collect_video(of_video.value, video(prompt), FIRST), Ticket)
    clock.now += 3
    with pytest.raises(ProviderError) as image_error:
        await asked.collect_image(of_image.value, image(prompt), FIRST)
    with pytest.raises(ProviderError) as video_error:
        await asked.collect_video(of_video.value, video(prompt), FIRST)
    assert image_error.value.code == video_error.value.code == FailureCode.PROVIDER_QUOTA


async def test_a_ticket_is_good_in_any_process() -> None:
    order = video("A cup [delay:0.1] [flaky:1]")
    ticket = await OfflineProvider().make_video(order, Call("try-2", 2))
    assert isinstance(ticket, Ticket)
    await asyncio.sleep(ticket.poll_after + 0.01)
    assert isinstance(await OfflineProvider().collect_video(ticket.value, order, Call("try-2", 2)), Media)


@pytest.mark.parametrize(
    "value",
    [
        *("", "!", "é", "bm9uc2Vuc2U=", "W10=", "[" * 9999),
        *(
            base64.urlsafe_b64encode(text).decode()
            for text in (b'{"key":"k"}', b'{"key":1,"ready":1}', b'{"key":"k","ready":true}', b"\xff", b"[" * 99_999)
        ),
    ],
)
async def test_bad_tickets_are_internal_errors(value: str) -> None:
    for collected in (
        OfflineProvider().collect_image(value, image("A cup"), FIRST),
        OfflineProvider().collect_video(value, video("A cup"), FIRST),
    ):
        with pytest.raises(ProviderError) as error:
            await collected
        assert (error.value.code, error.value.retryable) == (FailureCode.INTERNAL, False)


def test_a_ticket_carries_its_time() -> None:
    now_ms = round(time.time() * 1000)
    assert tickets.ready_at_ms(tickets.issue("schlüssel/1", now_ms)) == now_ms
