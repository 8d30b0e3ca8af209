"""Which fields of a model hold pictures, how many, and by which name: found in every kind of field."""

from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AliasChoices, ConfigDict, Field

from tallyframe.api.bodies import read_pictures
from tallyframe.errors import ValidationFailed
from tallyframe.operations.fields import Fields, Picture
from tallyframe.operations.pictures import DEEPEST, check_names, most_pictures, replace_pictures
from tallyframe.operations.registry import operations
from tallyframe.settings import Settings
from tests.operations.dropped.album import Album


class Card(Fields):
    kind: Literal["card"]
    face: Picture


class Book(Fields):
    kind: Literal["book"]
    pages: list[Picture]
    more: "Book | None" = None


class Anything(Fields):
    by_name: dict[str, Picture] = Field(default={}, max_length=2)
    pair: tuple[str, Picture] | None = None
    row: tuple[Picture, ...] = ()
    item: Annotated[Card | Book, Field(discriminator="kind")] | None = None
    either: Picture | str = ""
    other: Picture | None = Field(None, alias="another")
    words: list[str] = Field(default=[])


def test_they_are_found_in_every_kind_of_field() -> None:
    pic = {"url": "https://example.com/a.png"}
    sent = {
        "by_name": {"a": pic, "b": pic},
        "pair": ["x", pic],
        "row": [pic, pic],
        "item": {"kind": "book", "pages": [pic], "more": {"kind": "book", "pages": [pic]}},
        "either": pic,
        "another": pic,
        "words": ["a"] * 9,
    }
    fields, found = read_pictures(Anything, sent)
    assert [each.pointer for each in found] == [
        f"/input/{place}"
        for place in (
            *("by_name/a", "by_name/b", "pair/1", "row/0", "row/1"),
            *("item/pages/0", "item/more/pages/0", "either", "another"),
        )
    ]
    kept = Anything.model_validate(fields)
    assert isinstance(kept.item, Book)
    ids = [*kept.by_name.values(), *(kept.pair or ())[1:], *kept.row, *kept.item.pages]
    assert [*ids, *(kept.item.more.pages if kept.item.more else []), kept.either, kept.other] == [
        each.id for each in found
    ]
    assert most_pictures(Anything) == 2 + 1 + 4 + 4 + 1 + 1
    assert read_pictures(Anything, {"either": "a word", "item": {"kind": "card", "face": pic}})[0]["either"] == "a word"
    assert read_pictures(Anything, {"either": "a word", "item": {"kind": "card"}, "row": "x"})[1] == []
    assert not replace_pictures(Anything, {"item": 3, "row": None, "pair": pic, "odd": pic}, _never)["row"]


def _never(_: object, at: tuple[str, ...]) -> UUID:
    raise AssertionError(at)


class Node(Fields):
    left: "Node | Leaf | None" = None
    picture: Picture | None = None


class Leaf(Fields):
    leaf: Picture


def test_what_is_nested_without_end_is_followed_so_far_and_then_left_to_be_refused() -> None:
    pic = {"url": "https://example.com/a.png"}
    sent: dict[str, Any] = {"leaf": pic}
    for _ in range(DEEPEST - 1):
        sent = {"left": sent}
    assert len(read_pictures(Node, sent)[1]) == 1
    for _ in range(100):
        sent = {"left": sent}
    assert read_pictures(Node, sent) == (sent, [])
    assert most_pictures(Node) == 2


def test_there_are_no_more_than_the_offer_says_in_all_nor_in_one_place() -> None:
    pic = {"url": "https://example.com/a.png"}
    three: dict[str, Any] = {"picture": pic, "left": {"picture": pic, "left": {"picture": pic}}}
    mapping = {"by_name": {str(number): pic for number in range(500)}}
    for model, sent, most in ((Node, three, 2), (Anything, mapping, 2), (Mapped, mapping, 4)):
        with pytest.raises(ValidationFailed, match=f"There may be {most}"):
            read_pictures(model, sent)
    four = {str(number): pic for number in range(4)}
    assert len(read_pictures(Mapped, {"by_name": four, "nested": [four] * 4})[1]) == most_pictures(Mapped) == 20


class Mapped(Fields):
    by_name: dict[str, Picture]
    nested: list[dict[str, Picture]] = Field([])


class Sent(Fields):
    logo: Picture = Field(validation_alias="mark", serialization_alias="sign")


def test_a_picture_is_found_by_the_name_by_which_it_is_read() -> None:
    fields, found = read_pictures(Sent, {"mark": {"url": "https://example.com/a.png"}})
    assert Sent.model_validate(fields).logo == found[0].id
    check_names(Sent)
    check_names(Anything)


class Chosen(Fields):
    logo: Picture = Field(validation_alias=AliasChoices("a", "b"))


class Both(Fields):
    model_config = ConfigDict(validate_by_name=True)
    logo: Picture | None = Field(None, alias="mark")


class Within(Fields):
    inner: list[Both | str]


@pytest.mark.parametrize("model", [Chosen, Both, Within])
def test_one_that_could_be_sent_by_two_names_is_refused_at_the_start(
    model: type[Fields], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Album, "Fields", model)
    with pytest.raises(TypeError, match="logo has pictures, so a client may send it by one name only"):
        operations(settings)
