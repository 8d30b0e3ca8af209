"""The form of an answer, in the part of JSON Schema that Gemini knows."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tallyframe.providers.google.schemas import google_schema
from tests.support.google_asking import Script
from tests.support.google_text import check_schema, example


class Risk(StrEnum):
    LOW = "low"
    HIGH = "high"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, ge=1, lt=10, multiple_of=1)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str = Field(pattern=r"^\w+$", min_length=1, max_length=9)


class Everything(BaseModel):
    """What forms can have."""

    risk: Risk = Field(Risk.LOW, description="How bad it is.")
    pet: Annotated[Cat | Dog, Field(discriminator="kind", description="Who it is.")]
    other: Cat | None = Field(None, description="Somebody else.")
    pair: tuple[int, str]
    counts: dict[str, int]
    title: str
    properties: list[Dog] = Field(max_length=5)
    pattern: Literal["a", "b"] = "a"
    ratio: float = Field(gt=0, le=1)


def test_only_what_google_knows_is_sent_whatever_the_form_has() -> None:
    for model in (Everything, Script):
        check_schema(google_schema(model))


def test_names_are_no_keywords() -> None:
    sent = google_schema(Everything)
    assert list(sent["properties"]) == list(Everything.model_fields)
    assert set(sent["$defs"]) == {"Risk", "Cat", "Dog"}
    assert sent["properties"]["title"] == {"type": "string"}
    assert sent["properties"]["pattern"] == {"type": "string", "enum": ["a", "b"]}


def test_a_description_beside_a_reference_goes_above_it() -> None:
    sent = google_schema(Everything)["properties"]
    assert sent["risk"] == {"anyOf": [{"$ref": "#/$defs/Risk"}], "description": "How bad it is."}
    assert sent["other"] == {"anyOf": [{"$ref": "#/$defs/Cat"}, {"type": "null"}], "description": "Somebody else."}
    assert sent["pet"] == {
        "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
        "description": "Who it is.",
    }


def test_what_is_left_out_is_only_what_is_checked_later() -> None:
    sent = google_schema(Everything)["$defs"]
    assert sent["Cat"]["properties"] == {
        "kind": {"type": "string", "enum": ["cat"]},
        "lives": {"type": "integer", "minimum": 1},
    }
    assert sent["Dog"]["properties"] == {"kind": {"type": "string", "enum": ["dog"]}, "name": {"type": "string"}}


def test_an_answer_in_the_form_that_was_sent_is_one_of_the_model() -> None:
    sent = google_schema(Script)
    assert Script.model_validate(example(sent, sent)).language == "en"
