"""What a request may be: how long its address, how large and slow its body, and how much of it waits with others'."""

from dataclasses import dataclass

from tallyframe.errors import TallyframeError

MIB = 1024 * 1024
#: Seconds over which the speed of a body is measured.
RATE_WINDOW = 10.0
#: Where forms are read; nowhere else may a body be as large as theirs.
FORMS = ("/v1/projects", "/v1/assets")
#: Where strangers send bodies that are read before anybody knows who they are.
WEBHOOKS = "/v1/webhooks/"
MAX_WEBHOOK = 256 * 1024  # bytes; events are a few thousand
#: One part in so many of what a process takes in may be of all signed-in callers, of all strangers, or of one user. So
#: strangers can't use up what callers need, nor one user what the others do.
SHARES = {"callers": 1, "strangers": 8}
USER_SHARE = 4
#: Bytes of a body that is never refused because of the others.
SMALL = 16 * 1024


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may be, in bytes and seconds, and how much all of a process may be together."""

    form_bytes: int
    other_bytes: int
    seconds: float
    bytes_per_second: int  # as the mean of `RATE_WINDOW`
    bytes_in_flight: int


class RequestTimeout(TallyframeError):
    """The request's body did not come in time. Send it again, over a faster connection."""

    status = 408
    code = "request_timeout"


class UriTooLong(TallyframeError):
    """The path and the query of this request are too long."""

    status = 400  # and not 414, which those who check us against the document don't expect for a long parameter
    code = "uri_too_long"


#: What is said to whom the end of a process cuts off.
CUT_OFF = "This process had to end before your request was done. Send it again, with its Idempotency-Key if it has one."
