"""What a generateContent answer holds: the picture or the text, or why there is none, and what was used.

Read from the body itself. The SDK's own reading drops `finishMessage`, which says most when a picture is refused, warns
about reasons that are newer than it, and fails alike for a picture that is no base64 and an answer that is no JSON.
Fields are those of GenerateContentResponse in the Gemini API v1, reasons those of google-genai 3.4.0.
"""

import base64
import binascii
from collections.abc import Collection
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Usage
from tallyframe.providers.failures import words

#: By these the policy stops an answer. A reason that is not among them, new ones too, is the model's own failure.
_POLICY_REASONS = frozenset(
    {
        *("SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "SPII"),
        *("MODEL_ARMOR", "LANGUAGE", "RECITATION", "IMAGE_RECITATION", "ESCALATION"),
    }
)
_ACCOUNT_LIMITED = "PUP_LIMITED_DISABLED"  # Google has limited the account, for what its users have ordered
_OUT_OF_TOKENS = "MAX_TOKENS"  # it would run out of them again

#: A count that is none is not worth losing a picture for.
Count = Annotated[int | None, BeforeValidator(lambda value: value if isinstance(value, int) else None)]


class _Read(BaseModel):
    """Any field may be missing or null, and any may be there that is not known."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class _Blob(_Read):
    data: str | None = None  # base64


class _Part(_Read):
    text: str | None = None
    thought: bool | None = None
    inline_data: _Blob | None = None


class _Content(_Read):
    parts: list[_Part] | None = None


class _Candidate(_Read):
    content: _Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class _Feedback(_Read):
    block_reason: str | None = None
    block_reason_message: str | None = None


class _Counts(_Read):
    prompt_token_count: Count = None
    candidates_token_count: Count = None
    thoughts_token_count: Count = None


class Answer(_Read):
    """A whole answer."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Counts | None = None
    response_id: str | None = None


def read_answer(body: str) -> Answer:
    """Read a body that came with 200. Raises ProviderError, in doubt, if it is not such an answer."""
    try:
        return Answer.model_validate_json(body)
    except ValidationError:
        raise ProviderError(
            FailureCode.PROVIDER_REJECTED,
            operator_message=f"HTTP 200 with {len(body):,} characters that are no generateContent answer.",
            in_doubt=True,
        ) from None


def note_usage(answer: Answer, usage: Usage) -> None:
    """Write down what the call has used. Thinking is billed as output."""
    usage.request_id = answer.response_id
    counts = answer.usage_metadata or _Counts()
    usage.input_tokens = counts.prompt_token_count
    given = [count for count in (counts.candidates_token_count, counts.thoughts_token_count) if count is not None]
    usage.output_tokens = sum(given) if given else None


def picture_in(answer: Answer, *, hide: Collection[str] = ()) -> bytes:
    """Return the last picture that is not a thought: a model that shows how it gets there ends with what was asked for.

    Raises ProviderError, Google's verdict, if there is none; `hide` is kept out of its words.
    """
    candidate = _first_allowed(answer, hide)
    pictures = [part.inline_data.data for part in _parts(candidate) if part.inline_data and part.inline_data.data]
    if not pictures:
        retryable = candidate.finish_reason != _OUT_OF_TOKENS
        text = [part.text for part in _parts(candidate)]  # a refusal, as a rule
        raise _verdict(FailureCode.PROVIDER_REJECTED, candidate, *text, hide=hide, retryable=retryable)
    return _decoded(pictures[-1])


def text_in(answer: Answer, *, hide: Collection[str] = ()) -> str:
    """Return the text that is not a thought, whole.

    Raises ProviderError, Google's verdict, if there is none or it was cut off; `hide` is kept out of its words, and so
    is the text.
    """
    candidate = _first_allowed(answer, hide)
    text = "".join(part.text for part in _parts(candidate) if part.text)
    if candidate.finish_reason == _OUT_OF_TOKENS or not text:
        retryable = candidate.finish_reason != _OUT_OF_TOKENS
        raise _verdict(FailureCode.PROVIDER_REJECTED, candidate, hide=hide, retryable=retryable)
    return text


def _first_allowed(answer: Answer, hide: Collection[str]) -> _Candidate:
    """Return the first candidate, which may be empty. Raises ProviderError (final) if a policy has stopped it."""
    feedback = answer.prompt_feedback
    if feedback and feedback.block_reason:
        said = words(f"blockReason {feedback.block_reason}:", feedback.block_reason_message, hide=hide)
        raise ProviderError(FailureCode.CONTENT_POLICY, operator_message=said)
    candidate = answer.candidates[0] if answer.candidates else _Candidate()
    if candidate.finish_reason in _POLICY_REASONS:
        raise _verdict(FailureCode.CONTENT_POLICY, candidate, hide=hide)
    if candidate.finish_reason == _ACCOUNT_LIMITED:
        raise _verdict(FailureCode.INTERNAL, candidate, hide=hide, alarm=True)
    return candidate


def _parts(candidate: _Candidate) -> list[_Part]:
    parts = candidate.content.parts if candidate.content else None
    return [part for part in parts or [] if not part.thought]


def _verdict(
    code: FailureCode,
    candidate: _Candidate,
    *text: str | None,
    hide: Collection[str],
    retryable: bool = False,
    alarm: bool = False,
) -> ProviderError:
    said = words(f"finishReason {candidate.finish_reason}:", candidate.finish_message, *text, hide=hide)
    return ProviderError(code, retryable=retryable, alarm=alarm, operator_message=said)


def _decoded(data: str) -> bytes:
    """Decode base64 in either alphabet, padded or not: the API writes one and the SDK the other."""
    try:
        standard = data.rstrip("=").translate(str.maketrans("-_", "+/"))
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ProviderError(
            FailureCode.PROVIDER_REJECTED, retryable=True, operator_message="The image is no base64."
        ) from None
