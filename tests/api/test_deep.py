"""JSON that is nested without end, and numbers that JSON hasn't: refused by every way in, before anything walks it."""

import pytest

from tests.support.cast import Member
from tests.support.remains import World, problem

JSON = {"Content-Type": "application/json"}
ORDER = '{"operation": "image", "input": {"prompt": "a cup", "odd": %s}}'
DEEP = "[" * 900 + "]" * 900
BODIES = {
    "51 levels": (ORDER % ("[" * 50 + "]" * 50), "50 levels"),
    "900 lists": (ORDER % DEEP, "50 levels"),
    "900 objects": (ORDER % ('{"a":' * 900 + "1" + "}" * 900), "50 levels"),
    "30,000 lists": (ORDER % ("[" * 30_000 + "]" * 30_000), "nested too deep"),
    "nothing else": ("[" * 30_000, "nested too deep"),
    "metadata": ('{"operation": "image", "metadata": {"a": ' + DEEP + "}}", "must be a string"),
    "another field": ('{"operation": ' + DEEP + "}", "must be a string"),
    "NaN": (ORDER % "[NaN]", "finite"),
    "Infinity": (ORDER % "1e400", "finite"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_an_order_is_refused_with_what_is_wrong(case: str, alice: Member, world: World) -> None:
    body, said = BODIES[case]
    before = await world.remains()
    answer = await alice.http.post("/v1/generations", content=body, headers=JSON | {"Idempotency-Key": "a key"})
    assert said in problem(answer, 422, "validation_failed", case)["detail"]
    assert await world.remains() == before


async def test_50_levels_are_left_to_the_operation(alice: Member) -> None:
    answer = await alice.http.post("/v1/generations", content=ORDER % ("[" * 49 + "]" * 49), headers=JSON)
    assert problem(answer, 422, "validation_failed")["errors"][0]["pointer"] == "/input/odd"
