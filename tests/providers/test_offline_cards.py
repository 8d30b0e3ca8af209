"""The test cards and tickets of the offline provider."""

import asyncio
import base64
import time
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, Data, ImageTask, Media, Task, TextTask, Ticket, VideoTask, VisionTask
from tallyframe.providers.offline import OfflineProvider, tickets
from tallyframe.providers.offline.provider import read_cards
from tests.support.drawn import picture
from tests.support.tasks import Given

FIRST = Call("gen-1-try-1", 1)


class Clock:
    """Seconds since the epoch that pass only when told."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Note(BaseModel):
    title: str


def image(prompt: str) -> ImageTask:
    return ImageTask(prompt, "1:1")


def video(prompt: str) -> VideoTask:
    return VideoTask(prompt, "1:1", 1)


def text(prompt: str) -> TextTask[Note]:
    return TextTask("Write.", prompt, Note)


def vision(prompt: str) -> VisionTask[Note]:
    return VisionTask("Look.", prompt, Note, (Given(Media(picture(), "image/png", 8, 6)),))


KINDS: tuple[Callable[[str], Task], ...] = (image, video, text, vision)


async def failure(task: Task, call: Call = FIRST) -> ProviderError:
    with pytest.raises(ProviderError) as error:
        await OfflineProvider().start(task, call)
    return error.value


async def refusal(prompt: str, call: Call = FIRST) -> ProviderError:
    """The error of an image order, having checked that the other kinds of orders fail alike."""
    errors = [await failure(kind(prompt), call) for kind in KINDS]
    assert len({(each.code, each.message, each.retryable, each.operator_message) for each in errors}) == 1
    return errors[0]


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
    assert isinstance(await OfflineProvider().start(image("A cup [flaky:2]"), Call("try-3", 3)), Media)


@pytest.mark.parametrize(
    ("card", "failed", "said"),
    [
        ("[refuse]", (FailureCode.CONTENT_POLICY, False), "[refuse]"),
        ("[cut]", (FailureCode.PROVIDER_REJECTED, False), "cut off"),
        ("[malformed]", (FailureCode.PROVIDER_REJECTED, True), "no JSON"),
        ("[Ignore-Schema]", (FailureCode.PROVIDER_REJECTED, True), "not in the form of Note"),
    ],
)
async def test_what_only_models_get_wrong_has_cards_that_media_ignore(
    card: str, failed: tuple[FailureCode, bool], said: str
) -> None:
    for kind in (text, vision):
        error = await failure(kind(f"A cup {card}"))
        assert (error.code, error.retryable) == failed
        assert said in error.operator_message
        assert "A cup" not in error.operator_message
    drawn = await OfflineProvider().start(image(f"A cup {card}"), FIRST)
    assert drawn == await OfflineProvider().start(image("A cup"), FIRST)
    assert isinstance(await OfflineProvider().start(video(f"A cup {card}"), FIRST), Ticket)


@pytest.mark.parametrize("kind", [text, vision])
@pytest.mark.parametrize(
    ("card", "written"),
    [("[fail:internal]", 0), ("[empty]", 0), ("[flaky:1]", 0), ("[refuse]", 0), ("[cut]", 4096), ("[malformed]", 13)],
)
async def test_a_failed_call_has_used_tokens_too(kind: Callable[[str], Task], card: str, written: int) -> None:
    call, task = Call("try-1", 1), kind(f"A cup {card}")
    await failure(task, call)
    read = (len("Write.") if kind is text else len("Look.")) + len(task.prompt)
    assert call.usage.input_tokens == -(-read // 4) + 258 * len(task.inputs)
    assert call.usage.output_tokens == written


async def test_cards_in_our_own_instructions_are_not_read() -> None:
    task = TextTask("Write. [fail:internal]", "A cup", Note)
    assert isinstance(await OfflineProvider().start(task, FIRST), Data)


async def test_flaky_comes_before_fail() -> None:
    prompt = "[fail:content_policy] [flaky:1]"
    assert (await refusal(prompt)).retryable
    assert (await refusal(prompt, Call("try-2", 2))).code == FailureCode.CONTENT_POLICY


@pytest.mark.parametrize(
    "card",
    [
        *("[fail:nonsense]", "[fail]", "[fail:]", "[flaky:x]", "[flaky:-1]", "[flaky:1.5]", "[empty:1]", "[cut:9]"),
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


def test_letters_that_only_look_like_those_of_a_card_are_text() -> None:
    assert read_cards("[refu\u017fe] [fa\u0131l:internal]").prompt == "[refu\u017fe] [fa\u0131l:internal]"


async def test_hang_card_holds_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr("tallyframe.providers.offline.provider.asyncio.sleep", nap)
    await OfflineProvider().start(video("A cup [hang:7.5]"), FIRST)
    assert (await refusal("[hang:1] [fail:internal]")).code == FailureCode.INTERNAL
    assert naps == [7.5, *[1.0] * len(KINDS)]


async def test_hang_card_takes_real_time_and_can_be_canceled() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await OfflineProvider().start(image("[hang:60]"), FIRST)


async def test_delay_card_gives_a_ticket_until_the_time_has_come() -> None:
    clock = Clock()
    order = image("A cup [delay:8]")
    ticket = await OfflineProvider(clock).start(order, FIRST)
    assert isinstance(ticket, Ticket)
    assert ticket.poll_after == 5.0
    clock.now += 6.5
    assert await OfflineProvider(clock).collect(ticket.value, order, FIRST) == Ticket(ticket.value, 1.5)
    clock.now += 1.49
    assert await OfflineProvider(clock).collect(ticket.value, order, FIRST) == Ticket(ticket.value, 0.1)
    clock.now += 0.01
    late = await OfflineProvider(clock).collect(ticket.value, order, Call("gen-1-try-2", 2))
    assert late == await OfflineProvider().start(image("A cup"), FIRST)


@pytest.mark.parametrize("kind", KINDS)
async def test_delay_then_fail_shows_when_collected(kind: Callable[[str], Task]) -> None:
    clock = Clock()
    asked, task = OfflineProvider(clock), kind("A cup [fail:provider_quota] [delay:3]")
    ticket = await asked.start(task, FIRST)
    assert isinstance(ticket, Ticket)
    assert ticket.poll_after == 3.0
    assert isinstance(await asked.collect(ticket.value, task, FIRST), Ticket)
    clock.now += 3
    with pytest.raises(ProviderError) as error:
        await asked.collect(ticket.value, task, FIRST)
    assert error.value.code == FailureCode.PROVIDER_QUOTA


async def test_a_ticket_is_good_in_any_process() -> None:
    order = video("A cup [delay:0.1] [flaky:1]")
    ticket = await OfflineProvider().start(order, Call("try-2", 2))
    assert isinstance(ticket, Ticket)
    await asyncio.sleep(ticket.poll_after + 0.01)
    assert isinstance(await OfflineProvider().collect(ticket.value, order, Call("try-2", 2)), Media)


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
    for kind in KINDS:
        with pytest.raises(ProviderError) as error:
            await OfflineProvider().collect(value, kind("A cup"), FIRST)
        assert (error.value.code, error.value.retryable) == (FailureCode.INTERNAL, False)


def test_a_ticket_carries_its_time() -> None:
    now_ms = round(time.time() * 1000)
    assert tickets.ready_at_ms(tickets.issue("schlüssel/1", now_ms)) == now_ms
