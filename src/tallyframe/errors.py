"""The error tree. A class's docstring is its message; status, code and data are on the class.

TallyframeError
├── Unauthenticated               401 unauthenticated
├── InsufficientCredits           402 insufficient_credits   (required, available)
├── Forbidden                     403 forbidden
├── NotFound                      404 not_found              (also for other people's things)
├── NotCancelable                 409 not_cancelable
├── NothingToPublish              409 nothing_to_publish
├── Generating                    409 generating
├── NotDeletable                  409 not_deletable
├── UserDeleted                   409 user_deleted           (administrators)
├── NotRetryable                  409 not_retryable          (administrators)
├── NoOpenDoubt                   409 no_open_doubt          (administrators)
├── NotReplayable                 409 not_replayable         (administrators)
├── AlreadyApplied                409 already_applied        (administrators)
├── RequestInProgress             409 request_in_progress
├── PriceChanged                  409 price_changed          (credits, max_credits)
├── TooLarge                      413 too_large
├── UnsupportedMedia              415 unsupported_media
├── ValidationFailed              422 validation_failed      (pointer)
├── IdempotencyKeyReused          422 idempotency_key_reused
├── TooManyActiveGenerations      429 too_many_active_generations
├── Internal                      500 internal
└── Unavailable                   503 unavailable            (retry_after, seconds)

GenerationError                   how a generation fails; its code is one of `FailureCode`
└── ProviderError                 what an adapter raises, whatever its vendor said
"""

from enum import StrEnum
from typing import ClassVar, Literal

from tallyframe.redaction import hidden

Fault = Literal["user", "provider", "platform"]


class TallyframeError(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, detail: str | None = None, **data: object) -> None:
        self.detail = detail or (type(self).__doc__ or "").strip()
        self.data = data
        super().__init__(self.detail)


class Unauthenticated(TallyframeError):
    """Send a valid session token or API key as 'Authorization: Bearer ...'."""

    status = 401
    code = "unauthenticated"


class InsufficientCredits(TallyframeError):
    """There are not enough credits for this."""

    status = 402
    code = "insufficient_credits"

    def __init__(self, *, required: int, available: int) -> None:
        super().__init__(
            f"This costs {required} credits and {available} are available.", required=required, available=available
        )


class Forbidden(TallyframeError):
    """This is for administrators."""

    status = 403
    code = "forbidden"


class NotFound(TallyframeError):
    """There is no such thing here."""

    status = 404
    code = "not_found"


class NotCancelable(TallyframeError):
    """Nothing is being generated, so there is nothing to cancel."""

    status = 409
    code = "not_cancelable"


class NothingToPublish(TallyframeError):
    """This project has no image or video yet, so there is nothing to publish."""

    status = 409
    code = "nothing_to_publish"


class Generating(TallyframeError):
    """This is generating; wait for it to end, or cancel it first."""

    status = 409
    code = "generating"


class NotDeletable(TallyframeError):
    """This belongs to a project; delete that."""

    status = 409
    code = "not_deletable"


class UserDeleted(TallyframeError):
    """This user has been deleted."""

    status = 409
    code = "user_deleted"


class NotRetryable(TallyframeError):
    """This generation can't be retried."""

    status = 409
    code = "not_retryable"


class NoOpenDoubt(TallyframeError):
    """Nothing about this generation is in doubt, or somebody has resolved it."""

    status = 409
    code = "no_open_doubt"


class NotReplayable(TallyframeError):
    """Nothing of this event is kept that could be applied."""

    status = 409
    code = "not_replayable"


class AlreadyApplied(TallyframeError):
    """This event has been applied or ignored, so there is nothing to dismiss."""

    status = 409
    code = "already_applied"


class RequestInProgress(TallyframeError):
    """A request with this Idempotency-Key is being answered right now; ask again shortly."""

    status = 409
    code = "request_in_progress"


class PriceChanged(TallyframeError):
    """This costs more than you allow."""

    status = 409
    code = "price_changed"

    def __init__(self, *, credits: int, max_credits: int) -> None:  # noqa: A002  # the field's name
        words = f"This costs {credits} credits, and at most {max_credits} are allowed."
        super().__init__(words, credits=credits, max_credits=max_credits)


class TooLarge(TallyframeError):
    """This is larger than what is accepted."""

    status = 413
    code = "too_large"


class UnsupportedMedia(TallyframeError):
    """This kind of content is not accepted."""

    status = 415
    code = "unsupported_media"


class ValidationFailed(TallyframeError):
    """The request is not valid."""

    status = 422
    code = "validation_failed"

    def __init__(self, detail: str, *, pointer: str = "") -> None:
        super().__init__(detail, errors=[{"pointer": pointer, "detail": detail}])
        self.pointer = pointer


class IdempotencyKeyReused(TallyframeError):
    """This Idempotency-Key was used for another request; take a new one."""

    status = 422
    code = "idempotency_key_reused"


class TooManyActiveGenerations(TallyframeError):
    """Too many of your generations are still running; wait for one to end."""

    status = 429
    code = "too_many_active_generations"


class Internal(TallyframeError):
    """Something went wrong on our side. It has been logged under the request id."""


class Unavailable(TallyframeError):
    """The service can't do this right now. Try again shortly."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str | None = None, *, retry_after: int = 2) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.retry_after = retry_after  # seconds


class FailureCode(StrEnum):
    """How a generation can fail. The list is closed, and every code refunds."""

    CONTENT_POLICY = "content_policy"
    INVALID_INPUT = "invalid_input"
    PROVIDER_REJECTED = "provider_rejected"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_TIMEOUT = "provider_timeout"
    PROVIDER_QUOTA = "provider_quota"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    CANCELED = "canceled"
    EXPIRED = "expired"
    INTERNAL = "internal"


#: code -> (who is at fault, can trying the same order again help, what the user reads)
FAILURE_POLICY: dict[FailureCode, tuple[Fault, bool, str]] = {
    FailureCode.CONTENT_POLICY: ("user", False, "The request was refused by the content policy. Change it."),
    FailureCode.INVALID_INPUT: ("user", False, "The prompt or a picture can't be used. Change it."),
    FailureCode.PROVIDER_REJECTED: ("provider", True, "The provider gave no usable result."),
    FailureCode.PROVIDER_UNAVAILABLE: ("provider", True, "The provider is not available right now."),
    FailureCode.PROVIDER_TIMEOUT: ("provider", True, "The provider took too long."),
    FailureCode.PROVIDER_QUOTA: ("platform", True, "The provider's capacity is used up for now."),
    FailureCode.STORAGE_UNAVAILABLE: ("platform", True, "The result could not be stored."),
    FailureCode.CANCELED: ("user", True, "This was canceled."),
    FailureCode.EXPIRED: ("platform", True, "This did not finish in time."),
    FailureCode.INTERNAL: ("platform", True, "Something went wrong on our side."),
}


#: Characters that are kept of what a vendor says.
MAX_OPERATOR_MESSAGE = 2000


class GenerationError(Exception):
    """Ends, or retries, a generation.

    `code` decides the published policy. `message` is for the user, in plain words; `operator_message` is the vendor's
    own words for the log, without secrets. `retryable` says whether the worker should try again by itself before it
    gives up.
    """

    def __init__(
        self, code: FailureCode, message: str = "", *, retryable: bool = False, operator_message: str = ""
    ) -> None:
        self.code = code
        self.message = message or FAILURE_POLICY[code][2]
        self.retryable = retryable
        # What a vendor says may hold secrets, and what no row can: NUL, and halves of characters.
        said = hidden(operator_message.replace("\x00", "").encode(errors="replace").decode())
        self.operator_message = said[:MAX_OPERATOR_MESSAGE]
        super().__init__(f"{code}: {self.message}")


class ProviderError(GenerationError):
    """A vendor's failure, mapped at the adapter's edge. Never carries a key, a prompt or a vendor's exception.

    `retryable` here is said of the same order at the same vendor. `retry_after` (seconds) is what the vendor asked
    for. `in_doubt`: the order may have been taken, and billed, although no answer came. `spent`: the work was done, or
    may have been, but can't be had: buying it elsewhere would pay twice. `alarm`: somebody who runs the service has to
    do something (a bad key, a bill, a retired model), and no user is at fault.
    """

    def __init__(  # noqa: PLR0913  # by keyword, read like a form
        self,
        code: FailureCode,
        message: str = "",
        *,
        retryable: bool = False,
        operator_message: str = "",
        retry_after: float | None = None,
        in_doubt: bool = False,
        spent: bool = False,
        alarm: bool = False,
    ) -> None:
        super().__init__(code, message, retryable=retryable, operator_message=operator_message)
        self.retry_after = retry_after
        self.in_doubt = in_doubt
        self.spent = spent
        self.alarm = alarm
