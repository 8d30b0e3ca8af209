"""Medians, spread, ratios, and whether a target is met."""

from collections.abc import Awaitable, Callable

import pytest

from bench.report import show
from bench.rounds import interleave
from bench.rows import Against, Target, row


def test_a_rate_is_compared_round_by_round() -> None:
    found = row("accept", "rate", "per s", [100.0, 50.0, 90.0], Against("pgbench", [200.0, 200.0, 100.0]))
    assert (found.value, found.peer_value, found.ratio) == (90.0, 200.0, 0.5)
    assert found.spread == pytest.approx(50 / 90)
    assert found.rounds == 3
    assert found.met is None


def test_times_faster_is_the_other_way_round() -> None:
    against = Against("arq", [250.0], times_faster=True)
    found = row("pickup", "p50", "ms", [25.0], against, target=Target("ratio", at_least=5))
    assert (found.ratio, found.met) == (10.0, True)


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("ratio", at_least=0.4), True),
        (Target("ratio", at_least=0.6), False),
        (Target("ratio", at_most=0.4), False),
        (Target("value", at_most=10), True),
        (Target("value", at_most=9), False),
    ],
)
def test_a_target_is_on_the_ratio_or_the_value(target: Target, met: bool) -> None:  # noqa: FBT001  # a column of the table
    assert row("x", "p95", "ms", [10.0], Against("y", [20.0]), target=target).met is met


def test_what_is_missed_is_said() -> None:
    found = row("refund", "p95", "ms", [70.0], target=Target("value", at_most=50))
    assert "MISSED" in show(found)
    assert "value ≤ 50" in show(found)


async def test_subject_and_peers_take_turns() -> None:
    order: list[str] = []

    def measure(name: str) -> Callable[[], Awaitable[int]]:
        async def noted() -> int:
            order.append(name)
            return len(order)

        return noted

    found = await interleave(2, {"ours": measure("ours"), "theirs": measure("theirs")})
    assert order == ["ours", "theirs"] * 2
    assert found == {"ours": [1, 3], "theirs": [2, 4]}
