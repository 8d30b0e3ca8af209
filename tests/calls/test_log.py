"""The log of vendor calls: one row per call, with what it was for, what came of it and what it cost."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from tallyframe.calls.cost import cost_micros
from tallyframe.calls.gate import Record
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.generations.end.withdraw import withdraw
from tallyframe.providers.base import Ticket, Usage
from tallyframe.settings.values import VendorPrice
from tests.support.calling import Desk
from tests.support.cast import Member
from tests.support.scripted import QUICKLY, Scripted, among, failing, final
from tests.support.working import Bench

LOG = "SELECT kind, attempt, status, error_code FROM ai_operations WHERE provider = $1 ORDER BY id"


async def told(owner: Any, vendor: Scripted) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch(LOG, vendor.name)]


async def test_an_order_with_all_that_is_known_of_it(desk: Desk) -> None:
    price = VendorPrice(input=Decimal("0.5"), output=Decimal(60))
    gate = desk.gate(prices={desk.provider.model: price})
    async with desk.calling(gate, attempt=3) as record:
        [running] = await desk.rows()
        assert (running["status"], running["duration_ms"]) == ("running", None)
        await asyncio.sleep(0.05)
        record.usage.input_tokens, record.usage.output_tokens, record.usage.request_id = 1000, 1290, "req-1"
    [row] = await desk.rows()
    expected = {
        "generation_id": desk.generation_id,
        "operation": "image",
        "kind": "order",
        "attempt": 3,
        "model": desk.provider.model,
        "status": "succeeded",
        "error_code": None,
        "error": None,
        "input_tokens": 1000,
        "output_tokens": 1290,
        "video_seconds": None,
        "cost_micros": 500 + 77_400,
        "vendor_request_id": "req-1",
    }
    assert {name: row[name] for name in expected} == expected
    assert 50 <= row["duration_ms"] < 5000
    assert row["created_at"] == running["created_at"]


async def test_a_film_from_order_to_delivery(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted(
        "film", make=[Ticket("t-1", 0.01)], collect=[Ticket("t-1", 0.01), Ticket("t-1", 0.01)], usage=Usage(seconds=6.0)
    )
    await alice.order(kind="video")
    assert (await bench.drain(bench.runner(providers=among(vendor))))[-1] == "succeeded"
    waiting = ("collect", 1, "waiting", None)
    assert await told(owner, vendor) == [
        ("order", 1, "accepted", None),
        waiting,
        waiting,
        ("collect", 1, "succeeded", None),
    ]
    seconds = await owner.fetchval("SELECT video_seconds FROM ai_operations WHERE provider = 'film' ORDER BY id DESC")
    assert seconds == 6.0


async def test_failures_by_their_code_and_each_try_by_its_number(alice: Member, bench: Bench, owner: Any) -> None:
    asked_again = failing(FailureCode.PROVIDER_QUOTA, operator_message="slow down")
    vendor = Scripted("moody", make=[asked_again, final(operator_message="not this")])
    await alice.order()
    assert await bench.drain(bench.runner(providers=among(vendor), retry=QUICKLY)) == ["retried", "failed"]
    assert await told(owner, vendor) == [
        ("order", 1, "failed", "provider_quota"),
        ("order", 2, "failed", "provider_rejected"),
    ]
    words = await owner.fetch("SELECT error FROM ai_operations WHERE provider = 'moody' ORDER BY id")
    assert [row["error"] for row in words] == ["slow down", "not this"]


async def test_a_failed_question_is_a_failed_call(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("shy", make=[Ticket("t-1", 0.01)], collect=[failing()])
    await alice.order(kind="video")
    await bench.drain(bench.runner(providers=among(vendor), retry=QUICKLY))
    assert await told(owner, vendor) == [
        ("order", 1, "accepted", None),
        ("collect", 1, "failed", "provider_unavailable"),
        ("collect", 1, "succeeded", None),
    ]


async def test_stopping_a_vendor_is_a_call_too(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("stoppable", make=[Ticket("t-1", 60)])
    project = await alice.order(kind="video")
    runner = bench.runner(providers=among(vendor))
    [generation_id] = await bench.due()
    await runner.run(generation_id)
    await alice.http.post(f"/v1/projects/{project['id']}/cancel")
    await withdraw(runner.dependencies, generation_id)
    assert await told(owner, vendor) == [("order", 1, "accepted", None), ("cancel", 1, "succeeded", None)]


async def test_a_doubt_is_told_apart_from_a_failure(desk: Desk) -> None:
    await desk.fail(desk.gate(), error=final(FailureCode.PROVIDER_TIMEOUT, in_doubt=True, operator_message="lost"))
    [row] = await desk.rows()
    assert (row["status"], row["error_code"], row["error"]) == ("in_doubt", "provider_timeout", "lost")


async def test_what_nobody_heard_the_end_of_is_abandoned(desk: Desk) -> None:
    gate = desk.gate()
    task = await desk.start(gate, asyncio.Event())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ZeroDivisionError):
        await desk.call(gate, ZeroDivisionError("a prompt"))
    for row in await desk.rows():
        assert (row["status"], row["error_code"], row["error"]) == ("abandoned", None, None)
        assert row["duration_ms"] is not None


async def test_what_a_failed_call_has_used_is_told_too(desk: Desk) -> None:
    price = {desk.provider.model: VendorPrice(output=Decimal(2))}

    async def refuse(record: Record) -> None:
        record.usage.output_tokens = 7
        raise final(FailureCode.CONTENT_POLICY)

    with pytest.raises(ProviderError):
        await desk.call(desk.gate(prices=price), refuse)
    [row] = await desk.rows()
    assert (row["status"], row["output_tokens"], row["cost_micros"]) == ("failed", 7, 14)


M = 1_000_000


@pytest.mark.parametrize(
    ("price", "usage", "cost"),
    [
        ({"input": "0.30", "output": "30"}, Usage(1290, 0), 387),
        ({"input": "0.30", "output": "30"}, Usage(M, M), 30_300_000),
        ({"second": "0.40"}, Usage(seconds=8.0), 3_200_000),
        ({"input": "1", "second": "0.15"}, Usage(input_tokens=10, seconds=0.1), 15_010),
        ({"input": "0.1"}, Usage(input_tokens=5), 1),  # 0.5 is rounded up
        ({"input": "0.1"}, Usage(input_tokens=4), 0),
        ({"input": "0.1"}, Usage(input_tokens=15), 2),
        ({"second": "0.00001"}, Usage(seconds=0.35), 4),  # a float would say 3.4999999999999996
        ({"output": "2"}, Usage(input_tokens=100), 0),
        ({}, Usage(1, 1, 1.0), 0),
        ({"input": "1"}, Usage(), None),
        ({"input": "1"}, Usage(request_id="req-1"), None),
    ],
)
def test_what_a_call_costs(price: dict[str, str], usage: Usage, cost: int | None) -> None:
    assert cost_micros(VendorPrice.model_validate(price), usage) == cost


async def test_the_cost_of_a_model_without_a_price_is_not_known(desk: Desk) -> None:
    gate = desk.gate(prices={"another": VendorPrice(input=Decimal(1))})
    async with desk.calling(gate) as record:
        record.usage.input_tokens = 5
    [row] = await desk.rows()
    assert (row["input_tokens"], row["cost_micros"]) == (5, None)
