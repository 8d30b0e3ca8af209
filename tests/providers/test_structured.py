"""Answers of models: what is kept of them can be read back, and what is no use is refused, however odd it is."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, computed_field, field_validator

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.generations.steps.results import read_result
from tallyframe.json_values import MOST_LEVELS
from tallyframe.providers.base import TextTask
from tallyframe.providers.structured import read_structured


class Named(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(alias="theSize")
    shape: str = Field("round", validation_alias=AliasChoices("form", "shape"), serialization_alias="figure")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    pair: tuple[int, str]
    day: date
    price: Decimal
    named: Named

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.pair[0]


class Anything(BaseModel):
    it: Any


class Hidden(BaseModel):
    word: SecretStr


class Left(BaseModel):
    word: str = Field("", exclude=True)


class Doubled(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def twice(cls, number: int) -> int:
        return 2 * number


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (Named, '{"theSize": 3, "form": "square"}'),
        (Strict, '{"pair": [1, "a"], "day": "2026-01-31", "price": 1.5, "named": {"theSize": 3}}'),
        (Anything, json.dumps({"it": [1, 1.5, None, {"a": "b"}, 10**300]})),
    ],
)
def test_what_is_kept_is_read_back_as_what_was_answered(model: type[BaseModel], text: str) -> None:
    kept = json.loads(json.dumps(read_structured(text, model).value))  # as Postgres keeps it
    assert read_result(TextTask("", "", model), {"data": kept}) == model.model_validate_json(text, strict=False)


@pytest.mark.parametrize(
    ("model", "text"), [(Hidden, '{"word": "a"}'), (Left, '{"word": "a"}'), (Doubled, '{"number": 1}')]
)
def test_an_answer_that_can_not_be_read_back_is_not_bought_again(model: type[BaseModel], text: str) -> None:
    with pytest.raises(ProviderError, match="provider_rejected") as raised:
        read_structured(text, model)
    assert (raised.value.spent, raised.value.retryable, raised.value.alarm) == (True, False, False)
    assert raised.value.operator_message.startswith(f"{model.__name__} is not the same")


def nested(levels: int) -> str:
    return '{"it":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (nested(MOST_LEVELS + 1), "more than 50 levels"),
        (nested(800), "more than 50 levels"),
        ('{"it":' * 300 + "1" + "}" * 300, "more than 50 levels"),
        (nested(100_000), "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"it": NaN}', "no JSON"),
        ('{"it": [-Infinity]}', "no JSON"),
        ('{"it": -1e400}', "no JSON"),
        ('{"it": %s}' % ("1" * 5000), "no JSON"),
    ],
)
def test_what_no_row_can_hold_is_rejected_and_may_be_asked_for_again(text: str, said: str) -> None:
    with pytest.raises(ProviderError) as raised:
        read_structured(text, Anything)
    assert (raised.value.code, raised.value.retryable, raised.value.spent) == (
        FailureCode.PROVIDER_REJECTED,
        True,
        False,
    )
    assert said in raised.value.operator_message


def test_as_deep_as_is_allowed_is_kept() -> None:
    assert json.dumps(read_structured(nested(MOST_LEVELS), Anything).value) == nested(MOST_LEVELS).replace(":", ": ")
