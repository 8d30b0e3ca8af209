"""Many orders in one statement: all of them, or none, and the refusal names what all of them cost."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tallyframe.credits import Credits
from tallyframe.db import API_ROLE, Database
from tallyframe.errors import InsufficientCredits
from tallyframe.generations.accept.order import Order
from tallyframe.generations.accept.submit import submit_many
from tallyframe.ids import new_id
from tallyframe.settings import Settings
from tests.conftest import acting_as
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.remains import World
from tests.support.working import Bench


@pytest.fixture
async def api_db(settings: Settings) -> AsyncIterator[Database]:
    """As the API sees the database."""
    async with acting_as(API_ROLE, settings) as database:
        yield database


def orders(member: Member, prices: list[int], **more: Any) -> list[Order]:
    order = {"prompt": "a cup", "aspect_ratio": "1:1", "images": []}
    values: dict[str, Any] = {
        "user_id": member.user.id,
        "account_id": member.user.account_id,
        "max_active": 10_000,
        "max_age": timedelta(hours=1),
    }
    return [Order(**{**values, **more}, operation="image", input=order, credits=Credits(price)) for price in prices]


async def test_all_are_run_in_their_order(alice: Member, bench: Bench, api_db: Database, owner: Any) -> None:
    accepted = await submit_many(api_db.as_user(alice.user.id), orders(alice, [5, 0, 7]))
    assert accepted is not None
    assert await alice.available() == 8
    in_turn = await owner.fetch("SELECT id, credits FROM generations ORDER BY turn")
    assert [tuple(row) for row in in_turn] == [
        (each.generation_id, price) for each, price in zip(accepted, (5, 0, 7), strict=True)
    ]
    assert await bench.drain() == ["succeeded"] * 3


@pytest.mark.parametrize("prices", [[5, 5, 5, 5, 5], [21], [20, 1], [1, 20, 20], [0, 21]])
async def test_a_refusal_names_what_all_need_and_what_is_there(
    prices: list[int], alice: Member, api_db: Database, db: Database, owner: Any, world: World
) -> None:
    before = await world.remains()
    with pytest.raises(InsufficientCredits) as refused:
        await submit_many(api_db.as_user(alice.user.id), orders(alice, prices))
    assert refused.value.data == {"required": sum(prices), "available": 20}
    assert await world.remains() == before
    assert await assert_books_balance(db, owner) == {}


async def test_more_than_may_be_active_are_none(alice: Member, api_db: Database, world: World) -> None:
    before = await world.remains()
    assert await submit_many(api_db.as_user(alice.user.id), orders(alice, [1, 1, 1], max_active=2)) is None
    assert await world.remains() == before
    assert await submit_many(api_db.as_user(alice.user.id), []) == ()


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": new_id()},
        {"account_id": new_id()},
        {"max_active": 9_999},
        {"max_age": timedelta(hours=2)},
        {"new_assets": [{"id": new_id()}]},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_what_one_statement_cant_tell_apart_is_refused(
    alice: Member, api_db: Database, world: World, other: dict[str, Any]
) -> None:
    before = await world.remains()
    first, second = orders(alice, [1, 1])
    with pytest.raises(ValueError, match="placed together"):
        await submit_many(api_db.as_user(alice.user.id), [first, replace(second, **other)])
    assert await world.remains() == before


async def test_the_api_orders_a_hundred_each_with_its_own_words(
    rich: Member, api_db: Database, db: Database, owner: Any
) -> None:
    wanted = [replace(order, metadata={"place": str(place)}) for place, order in enumerate(orders(rich, [20] * 100))]
    accepted = await submit_many(api_db.as_user(rich.user.id), wanted)
    assert accepted is not None
    rows = await owner.fetch("SELECT id, metadata->>'place' AS place FROM generations ORDER BY turn")
    assert [(row["id"], row["place"]) for row in rows] == [
        (each.generation_id, str(place)) for place, each in enumerate(accepted)
    ]
    assert await owner.fetchval("SELECT count(*) FROM outbox WHERE kind = 'run_generation'") == 100
    assert await assert_books_balance(db, owner) == {"pending": 100}
