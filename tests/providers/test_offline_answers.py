"""The made-up answers of the offline provider: in the form of whatever model is asked for."""

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, NotRequired
from uuid import UUID

import pytest
from annotated_types import Ge, Gt, Le, Len, Lt, MultipleOf
from pydantic import (
    UUID1,
    UUID7,
    AfterValidator,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    FutureDate,
    FutureDatetime,
    HttpUrl,
    IPvAnyAddress,
    IPvAnyNetwork,
    Json,
    NaiveDatetime,
    PastDate,
    RootModel,
    StringConstraints,
    WithJsonSchema,
    create_model,
)
from typing_extensions import TypedDict

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.offline.answers import make_up

PROMPT = "Write an ad for a red ceramic cup. It is for breakfast.\nPrice: 12 EUR"


class Tone(Enum):
    CALM = "calm"
    LOUD = "loud"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Pair(NamedTuple):
    left: int
    right: str = "x"


class Loose(TypedDict):
    sure: int
    maybe: NotRequired[str]


class Tree(BaseModel):
    name: str
    branches: list["Tree"]
    parent: "Tree | None"
    named: dict[str, "Tree"] = {}


class Chapter(BaseModel):
    sections: list["Section"]


class Section(BaseModel):
    chapters: list[Chapter]
    home: "Chapter | str"


class Loop(BaseModel):
    me: "Loop"


class Chain(BaseModel):
    links: list["Chain"] = Field(min_length=1)


class Folder(BaseModel):
    inside: dict[str, "Folder"] = Field(min_length=1)


class Box(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int = Field(alias="theSize", gt=0)


def odd_length(value: str) -> str:
    if len(value) % 2 == 0:
        raise ValueError
    return value


def never(_: str) -> str:
    raise ValueError


Typed = Annotated[str | None, WithJsonSchema({"type": ["string", "null"]})]
Dated = Annotated[date, Field(json_schema_extra={"examples": [date(2020, 2, 29)]})]
Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
WORD = r"^[a-z0-9]+(?:-[a-z0-9]+)*$"

TYPES = [
    *(bool, int, float, str, None, bytes, Any, object, Decimal, Path, Tone, Level, re.Pattern),
    *(date, datetime, time, timedelta, PastDate, FutureDate, FutureDatetime, AwareDatetime, NaiveDatetime),
    *(UUID, UUID1, UUID7, AnyUrl, HttpUrl, IPvAnyAddress, IPvAnyNetwork, Base64Bytes, ByteSize, Json[list[int]]),
    *(Literal["a"], Literal["a", 1] | None, int | None, str | None, str | int, list[int] | dict[str, int] | None),
    *(list, dict, list[Any], list[str], list[Tone], set[int], set[str], set[Literal["a", "b"]], frozenset[Level]),
    *(tuple[int, str], tuple[int, ...], tuple[()], Pair, Loose, dict[str, list[int]], dict[str, Any]),
    *(dict[int, str], dict[float, int], dict[UUID, int], dict[date, int], dict[Tone, int], dict[Literal["a"], Cat]),
    *(
        Cat,
        Pet,
        list[Pet],
        Cat | Dog,
        list[Cat | str],
        Typed,
        Dated,
        Tree,
        Chapter,
        Box,
        RootModel[list[int]],
        RootModel[str],
    ),
]

BOUNDED = [
    *(Annotated[int, Gt(1), Lt(3)], Annotated[int, Le(0)], Annotated[int, Ge(10**30)], Annotated[int, Lt(-5)]),
    *(Annotated[int, MultipleOf(7), Gt(13), Lt(22)], Annotated[int, MultipleOf(1000)], Annotated[int, Ge(5), Le(5)]),
    *(Annotated[float, Gt(0), Lt(1e-9)], Annotated[float, Gt(0), Le(1)], Annotated[float, Ge(3.5), Le(3.5)]),
    *(Annotated[float, MultipleOf(0.1), Ge(0.25)], Annotated[float, Lt(-5)], Annotated[float, Gt(0.999), Lt(1)]),
    *(Annotated[Decimal, Gt(0), Le(9)], Annotated[Decimal, Field(max_digits=4, decimal_places=2)]),
    *(Annotated[str, Len(0, 0)], Annotated[str, Len(1, 1)], Annotated[str, Len(7, 7)], Annotated[str, Len(5000)]),
    *(Annotated[str, Len(0, 20)], Annotated[str, Len(30, 40)], Annotated[str, Len(200, 210)]),
    *(Annotated[list[int], Len(7, 9)], Annotated[list[str], Len(0, 0)], Annotated[list[str], Len(0, 1)]),
    *(Annotated[set[str], Len(40)], Annotated[set[Literal[1, 2]], Len(2, 2)], Annotated[dict[str, int], Len(9)]),
    *(Annotated[dict[str, int], Len(0, 1)], Annotated[dict[Level, str], Len(2, 2)]),
    Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, min_length=20, max_length=22)],
]

PATTERNS = [
    *(r"^[a-z]{2}$", r"^[A-Z]{3}$", r"^#[0-9a-fA-F]{6}$", r"^\d{4}-\d{2}-\d{2}$", r"^[A-Z]{2}-\d{4,6}(?:-x)?$"),
    *(r"^(red|green)$", r"^\S+@\S+\.\w{2,}$", r"^\+?[1-9]\d{7,14}$", r"\S", r"^[^@\s]+$", r"^a{3,}b*c+?d?$"),
    *(r"^v\d+(\.\d+){2}$", r"^https://\w+\.example/[\w-]*$", r"^(?P<a>[A-C])\.(?:x|y)\]$", WORD, r"^Straße [1-9]$"),
]


def made(kind: Any, prompt: str = PROMPT) -> Any:
    """Have a value of this type made up, as the field `field` of a model."""
    return make_up(create_model("Answer", field=(kind, ...)), prompt).value["field"]


@pytest.mark.parametrize("kind", [*TYPES, *BOUNDED], ids=str)
def test_any_type_is_met(kind: Any) -> None:
    assert made(kind) == made(kind)  # it has been checked by the model, or this would have raised


@pytest.mark.parametrize("pattern", PATTERNS)
def test_simple_patterns_are_met(pattern: str) -> None:
    assert re.search(pattern, made(Annotated[str, Field(pattern=pattern)]))


def test_patterns_keep_to_lengths_and_may_stand_in_sets_and_keys() -> None:
    assert 15 <= len(made(Annotated[str, Field(pattern=WORD, min_length=15, max_length=40)])) <= 40
    tags = made(Annotated[set[Annotated[str, Field(pattern=r"^#\w+$")]], Len(5)])
    assert len({*tags}) == 5
    keys = made(dict[Annotated[str, Field(pattern=r"^[a-z]$")], int])
    assert len(keys) == 3


def test_sentences_name_the_field_quote_the_prompt_and_repeat_the_description() -> None:
    class Scene(BaseModel):
        narration: str = Field(description="What is said, in one sentence.")

    class Script(BaseModel):
        hook: str
        title: str = Field(max_length=60)
        scenes: list[Scene]
        call_to_action: str

    script = make_up(Script, PROMPT).value
    assert "'Write an ad for a red ceramic cup'" in script["hook"]
    assert "sample hook" in script["hook"].lower()
    assert script["title"] == "Title: Write an ad for a red ceramic cup"
    assert "sample call to action" in script["call_to_action"].lower()
    narrations = [scene["narration"] for scene in script["scenes"]]
    assert len({*narrations}) == 3
    assert all(f"sample narration {number}" in each.lower() for number, each in enumerate(narrations, 1))
    assert all(each.endswith("Asked for: What is said, in one sentence.") for each in narrations)


def test_short_texts_are_words_cut_between_words_where_that_is_possible() -> None:
    assert made(Annotated[str, Len(0, 40)]) == "Field: Write an ad for a red ceramic cup"
    assert made(Annotated[str, Len(0, 39)]) == "Field: Write an ad for a red ceramic"
    assert len(made(Annotated[str, Len(39, 39)])) == 39
    answer = make_up(create_model("Words", tags=(list[str], ...), language=(str, ...)), PROMPT).value
    assert answer == {"tags": ["Write", "red", "ceramic"], "language": "en"}


def test_optional_fields_and_those_with_a_default_are_given_too() -> None:
    class Note(BaseModel):
        title: str | None = None
        points: list[int] = []
        rating: int = Field(default=0, ge=0, le=100)

    note = make_up(Note, PROMPT).value
    assert note["title"]
    assert len(note["points"]) == 3
    assert 25 <= note["rating"] <= 75


def test_items_differ_where_they_can() -> None:
    assert [pet["kind"] for pet in made(list[Pet])] == ["cat", "dog", "cat"]
    assert made(list[Tone]) == ["calm", "loud", "calm"]
    assert made(Tone) == "calm"  # the first one, which models mostly mean as the usual one


def test_recursion_ends() -> None:
    tree = made(Tree)
    assert [branch["branches"] for branch in tree["branches"]] == [[], [], []]
    assert tree["parent"]["parent"] is None


def test_examples_win_and_so_help_where_a_rule_can_t_be_guessed() -> None:
    odd = Annotated[str, AfterValidator(odd_length), Field(examples=["abc", "abcde"])]
    assert made(odd) == "abc"
    assert made(list[odd]) == ["abc", "abcde", "abc"]


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (Annotated[str, AfterValidator(never)], "field (value_error)"),
        (Annotated[str, StringConstraints(pattern=re.compile(r"^(?=.*\d).{9}$"))], "field (string_pattern_mismatch)"),
        (Annotated[int, Gt(1), Lt(2)], "field (greater_than)"),
        (list[Annotated[str, Len(5, 2)]], "field.0 (string_too_long)"),
        (Loop, "Loop"),
        (Chain, "Chain"),
        (Folder, "Folder"),
        (type[int] | None, "field"),
    ],
)
def test_what_can_t_be_met_is_a_final_failure_that_names_the_field(kind: Any, named: str) -> None:
    with pytest.raises(ProviderError) as error:
        made(kind, "a secret prompt")
    assert (error.value.code, error.value.retryable) == (FailureCode.PROVIDER_REJECTED, False)
    assert named in error.value.operator_message
    assert "secret" not in error.value.operator_message


@pytest.mark.parametrize(
    "prompt", ["", " \n ", "\x00\ud83d\u202e", "?" * 9000, "三个产品在桌子上 👩🏽‍🚀", 'it\'s "quoted" {json}']
)
def test_any_prompt_will_do(prompt: str) -> None:
    answer = make_up(create_model("Note", title=(str, ...), tags=(set[str], ...), text=(str, ...)), prompt).value
    assert all(answer.values())
    assert len(answer["text"]) < 200
