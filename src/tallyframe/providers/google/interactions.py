"""What an interaction says: whether it runs, what it used, and its video or why there is none.

The SDK checks nothing of an interaction's body, so any field may be of any type; what doesn't fit is taken as missing.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from google.genai.interactions import Interaction

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Usage
from tallyframe.providers.failures import words
from tallyframe.providers.google.failures import is_about_policy

_COMPLETED = "completed"
#: Ends without a result. Every other status, also one that is not known yet, is of work under way.
_ENDED = {
    "failed": FailureCode.PROVIDER_REJECTED,
    "cancelled": FailureCode.PROVIDER_REJECTED,
    "incomplete": FailureCode.PROVIDER_REJECTED,
    "budget_exceeded": FailureCode.PROVIDER_QUOTA,
    "requires_action": FailureCode.PROVIDER_REJECTED,  # it waits for a tool's answer, and nobody here gives one
}


@dataclass(frozen=True, slots=True)
class Film:
    """A finished video: at an address, or inside the answer in base64."""

    uri: str | None
    data: str | None


def note_usage(found: Interaction, usage: Usage) -> None:
    """Note the tokens and the interaction's id, as far as they are there."""
    usage.request_id = _text(found.id) or usage.request_id
    used = found.usage
    usage.input_tokens = _count(getattr(used, "total_input_tokens", None), usage.input_tokens)
    usage.output_tokens = _count(getattr(used, "total_output_tokens", None), usage.output_tokens)


def is_running(found: Interaction) -> bool:
    """Say if it has not ended, as far as is known."""
    return found.status != _COMPLETED and found.status not in _ENDED


def film_of(found: Interaction, *, hide: Iterable[str]) -> Film:
    """Return the video of an interaction that has ended.

    Raises ProviderError (final) if it has none: content_policy where the model only talks, which is how it refuses.
    """
    if found.status in _ENDED:
        errors = [*_list(found.errors), *(getattr(step, "error", None) for step in _list(found.steps))]
        said = [f"{getattr(each, 'code', '')} {getattr(each, 'message', '')}".strip() for each in errors if each]
        reasons = [each for each in (*said, _text(found.output_text)) if each]
        code = FailureCode.CONTENT_POLICY if is_about_policy(" ".join(reasons)) else _ENDED[str(found.status)]
        raise ProviderError(code, operator_message=words(f"Interaction {found.status}.", *reasons, hide=hide))
    video = found.output_video
    uri, data = _text(getattr(video, "uri", None)), _text(getattr(video, "data", None))
    if uri or data:
        return Film(uri, data)
    talk = _text(found.output_text)
    code = FailureCode.CONTENT_POLICY if talk else FailureCode.PROVIDER_REJECTED
    raise ProviderError(code, operator_message=words("The interaction was completed without a video.", talk, hide=hide))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object, otherwise: int | None) -> int | None:
    return value if type(value) is int and value >= 0 else otherwise
