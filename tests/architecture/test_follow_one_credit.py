"""Whoever follows one credit of a failing order, from POST to refund, reads few files and seldom changes files."""

from tests.support.cast import Member
from tests.support.tracing import Function, Trail, follow_failing_order
from tests.support.working import Bench

MOST_FILES = 24
MOST_SWITCHES = 45


async def test_a_failing_order_can_be_followed(alice: Member, bench: Bench) -> None:
    trail = await follow_failing_order(alice, bench)
    assert trail.functions[0].file == "api/middleware.py"
    assert ("generations/end/settle.py", "fail") in {(function.file, function.name) for function in trail.functions}
    assert len(trail.files) <= MOST_FILES, trail.listing()
    assert trail.switches <= MOST_SWITCHES, trail.listing()


def test_going_back_to_a_file_is_a_switch_and_a_return() -> None:
    trail = Trail([Function(file, "f", line) for line, file in enumerate(("a.py", "a.py", "b.py", "a.py", "c.py"))])
    assert (len(trail.files), trail.switches, trail.returns) == (3, 3, 1)
