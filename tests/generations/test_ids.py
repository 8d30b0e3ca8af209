"""An id tells when it was made, so that a search for what came later needs no other index."""

from time import time
from uuid import UUID, uuid4

from tallyframe.ids import first_id, made_at, new_id


def test_an_id_tells_when_it_was_made() -> None:
    before = int(time() * 1000)
    id_ = new_id()
    assert before <= made_at(id_) <= int(time() * 1000)
    assert first_id(made_at(id_)) <= id_ < first_id(made_at(id_) + 1)


def test_one_of_another_kind_may_be_of_any_time() -> None:
    assert made_at(uuid4()) == 0
    assert first_id(0) == first_id(-5) == UUID(int=0)
