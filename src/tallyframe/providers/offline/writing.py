"""Text and vision: made-up answers, what they would use at a vendor, and the flaws that a model's answer can have."""

import asyncio
import json
from collections.abc import Collection, Sequence
from enum import StrEnum
from math import ceil
from typing import Any

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Data, Media, TextTask, Usage, VisionTask
from tallyframe.providers.offline.answers import make_up
from tallyframe.providers.offline.looking import look_at
from tallyframe.providers.structured import read_structured

_CHARACTERS_PER_TOKEN = 4
_TOKENS_PER_PICTURE = 258

_MALFORMED = 'Here is the answer: {"answer": "It ends in the mid'
_OTHER_SCHEMA = json.dumps([{"note": "This is JSON, but in a form of its own."}])

WordTask = TextTask[Any] | VisionTask[Any]


class Flaw(StrEnum):
    """A way in which a model's answer is of no use. Each has a test card of the same name."""

    REFUSE = "refuse"
    CUT = "cut"
    MALFORMED = "malformed"
    IGNORE_SCHEMA = "ignore-schema"


def note_input(task: WordTask, usage: Usage) -> None:
    """Note what a vendor would have read, and that it has written nothing yet. In tokens."""
    read = len(task.instructions) + len(task.prompt)
    usage.input_tokens = ceil(read / _CHARACTERS_PER_TOKEN) + _TOKENS_PER_PICTURE * len(task.inputs)
    usage.output_tokens = 0


async def write(task: WordTask, prompt: str, flaws: Collection[Flaw], usage: Usage) -> Data:
    """Look at the pictures, answer the prompt (without cards), and note the tokens of the answer.

    Raises ProviderError: content_policy or provider_rejected for an answer with a flaw; provider_rejected where it
    would be longer than `max_output_tokens`, or the model is too odd; invalid_input if a picture can't be decoded.
    """
    if Flaw.REFUSE in flaws:
        raise ProviderError(FailureCode.CONTENT_POLICY, operator_message="Test card [refuse].")
    if Flaw.CUT in flaws:
        usage.output_tokens = task.max_output_tokens
        raise _cut("Test card [cut].")
    if Flaw.MALFORMED in flaws or Flaw.IGNORE_SCHEMA in flaws:
        wrong = _MALFORMED if Flaw.MALFORMED in flaws else _OTHER_SCHEMA
        usage.output_tokens = _tokens(wrong)
        return read_structured(wrong, task.answer)
    given = [await each.read() for each in task.inputs]
    answer = await asyncio.to_thread(_answer, task, prompt, given)
    tokens = _tokens(json.dumps(answer.value))
    usage.output_tokens = min(tokens, task.max_output_tokens)
    if tokens > task.max_output_tokens:
        raise _cut(f"It takes more than {task.max_output_tokens} tokens.")
    return answer


def _answer(task: WordTask, prompt: str, given: Sequence[Media]) -> Data:
    return make_up(task.answer, prompt, [look_at(each) for each in given])


def _tokens(text: str) -> int:
    return ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _cut(why: str) -> ProviderError:
    return ProviderError(FailureCode.PROVIDER_REJECTED, operator_message=f"The answer is cut off. {why}")
