"""What a chat completion holds: the text, or why there is none, and what was used.

Read from the body itself: the SDK's own reading believes the types that the API promises, and its `parse` loses the
usage of answers that are cut or malformed. Fields are those of CreateChatCompletionResponse in OpenAI's API v1.
"""

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Usage
from tallyframe.providers.failures import words


def _or_none(value: Any, read: ValidatorFunctionWrapHandler) -> Any:  # noqa: ANN401  # any JSON value
    """Read a value; None if it is of another kind. No odd field is worth losing the others for."""
    try:
        return read(value)
    except ValidationError:
        return None


_Text = Annotated[str | None, WrapValidator(_or_none)]
_Count = Annotated[int | None, WrapValidator(_or_none)]


class _Read(BaseModel):
    """Any field may be missing, null or of another kind, and any may be there that is not known."""

    model_config = ConfigDict(frozen=True)


class _Message(_Read):
    content: _Text = None
    refusal: _Text = None


class _Choice(_Read):
    message: Annotated[_Message | None, WrapValidator(_or_none)] = None
    finish_reason: _Text = None


class _Counts(_Read):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None  # those of reasoning are among them


class Completion(_Read):
    """A whole answer."""

    id: _Text = None
    choices: Annotated[list[_Choice] | None, WrapValidator(_or_none)] = None
    usage: Annotated[_Counts | None, WrapValidator(_or_none)] = None


def read_completion(body: bytes) -> Completion:
    """Read a body that came with 200. Raises ProviderError (provider_rejected, retryable) if it is no such answer."""
    try:
        return Completion.model_validate_json(body)
    except ValidationError:
        raise ProviderError(
            FailureCode.PROVIDER_REJECTED,
            retryable=True,
            operator_message=f"HTTP 200 with {len(body):,} bytes that are no chat completion.",
        ) from None


def note_usage(completion: Completion, usage: Usage) -> None:
    """Write down what the call has used; `request_id` only if the answer's header had none."""
    counts = completion.usage or _Counts()
    usage.input_tokens = counts.prompt_tokens
    usage.output_tokens = counts.completion_tokens
    usage.request_id = usage.request_id or completion.id


def text_in(completion: Completion, *, hide: Collection[str] = ()) -> str | None:
    """Return what the model wrote; None if it wrote nothing. `hide` is kept out of what is raised.

    Raises ProviderError, final: content_policy if the model or a filter refuses, provider_rejected if the answer is cut
    at the limit on tokens, because it would be cut again.
    """
    choice = completion.choices[0] if completion.choices else _Choice()
    message = choice.message or _Message()
    if message.refusal or choice.finish_reason == "content_filter":
        said = words(f"finish_reason {choice.finish_reason}:", message.refusal, hide=hide)
        raise ProviderError(FailureCode.CONTENT_POLICY, operator_message=said)
    if choice.finish_reason == "length":
        raise ProviderError(
            FailureCode.PROVIDER_REJECTED, operator_message="The answer was cut at the limit on tokens."
        )
    return message.content
