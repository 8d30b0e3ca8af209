"""Fields of orders that differ in JSON: kept so that a worker reads the same, or refused before they are paid."""

from typing import Any
from uuid import UUID

import pytest
from pydantic import ConfigDict, Field, SecretStr, computed_field, field_serializer

from tests.operations.buying import ask_for, buy, receipt
from tests.operations.dropped.note import Note, NoteInput
from tests.support.cast import Member
from tests.support.remains import World, problem
from tests.support.scripted import Scripted, among
from tests.support.working import Bench


class Computed(NoteInput):
    span: tuple[int, int] = Field((1, 2), alias="from_to")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def length(self) -> int:
        return self.span[1] - self.span[0]


class Strict(Computed):
    model_config = ConfigDict(strict=True)


@pytest.mark.parametrize("model", [Computed, Strict])
async def test_a_worker_reads_what_was_accepted(
    model: type[NoteInput], alice: Member, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[NoteInput] = []
    run = Note.run

    async def note(self: Note, order: NoteInput, context: Any) -> Any:
        ran.append(order)
        return await run(self, order, context)

    monkeypatch.setattr(Note, "Input", model)
    monkeypatch.setattr(Note, "run", note)
    made = await buy(alice, "note", topic="a cup")
    assert await bench.runner(providers=among(Scripted("vendor"))).run(UUID(made["id"])) == "succeeded"
    assert ran == [model(topic="a cup")]
    assert (await receipt(alice, made))["status"] == "succeeded"


class Secret(NoteInput):
    word: SecretStr = SecretStr("")


class Left(NoteInput):
    word: str = Field("", exclude=True)


class Renamed(NoteInput):
    word: str = Field("", serialization_alias="words")


class Unwritable(NoteInput):
    word: str = Field("", exclude=True)

    @field_serializer("topic")
    def unwritable(self, _: str) -> bytes:
        return b"\xff"  # no UTF-8, and so no JSON


@pytest.mark.parametrize("model", [Secret, Left, Renamed, Unwritable])
async def test_what_a_worker_could_not_read_is_refused_before_it_is_paid(
    model: type[NoteInput], alice: Member, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Note, "Input", model)
    before = await world.remains()
    body = problem(await ask_for(alice, "note", topic="a cup", word="a"), 500, "internal")
    assert "'note'" in body["detail"]
    assert await world.remains() == before
