"""What steps are decided from, and what is decided: frozen values, without a line that does anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallyframe.errors import GenerationError
from tallyframe.providers.base import Offer, Provider


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a step, as it is kept. `rests`: seconds until its provider may be asked again."""

    attempt: int
    state: str
    provider: str
    model: str = ""
    ticket: str | None = None
    result: Mapping[str, Any] | None = None
    error_code: str | None = None
    is_final: bool = False
    rests: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be kept of a try: what is None stays as it is. Its provider is asked again after `poll_after` seconds.

    With an ending `state` (failed, in_doubt) the three after `ticket` are kept as they are here.
    """

    name: str
    attempt: int
    provider: str
    model: str
    state: str | None = None
    ticket: str | None = None
    error_code: str | None = None
    is_final: bool = False
    operator_message: str | None = None
    poll_after: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One task at one provider. `fits`: is it within what the provider offers now?"""

    provider: Provider
    offer: Offer
    fits: bool = True


@dataclass(frozen=True, slots=True)
class Done:
    """The step has its result, which is kept."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snooze:
    """Nothing to do for so many seconds."""

    seconds: float
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The same provider may do better in so many seconds."""

    seconds: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class NextProvider:
    """This provider has said its last word, and there is another one."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The work may have been done, and billed, and can't be had: it is not bought again."""

    error: GenerationError
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Fail:
    """This is the end. Without a verdict, an earlier try has it."""

    error: GenerationError
    verdict: Verdict | None = None


Decision = Done | Snooze | Retry | NextProvider | InDoubt | Fail


@dataclass(frozen=True, slots=True)
class Collect:
    """Ask for the ticket of this try."""

    latest: Try
    route: Route
    others: Sequence[Route]


@dataclass(frozen=True, slots=True)
class Order:
    """Order from the first of these that can take it. `doubtful`: a try of which nobody knows what became."""

    routes: Sequence[Route]
    doubtful: Try | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked, and what for. `has_others`: is there a provider that hasn't said its last word?

    `retries`: tries before this one at the same provider. `bad_results`: results of this ticket that were no use.
    """

    name: str
    attempt: int
    route: Route
    has_others: bool
    retries: int = 0
    is_collect: bool = False
    bad_results: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """The result is stored, and kept with the step."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The vendor has taken the order, or is still at work: ask for the ticket in so many seconds."""

    ticket: str
    poll_after: float


@dataclass(frozen=True, slots=True)
class NotStored:
    """There is a result, but our storage doesn't take it."""

    error: GenerationError


Answer = Kept | Waiting | NotStored | GenerationError


@dataclass(frozen=True, slots=True)
class Leave:
    """Give the generation back for so many seconds. `outcome` is what the log says of it."""

    seconds: float
    outcome: str
    verdicts: Sequence[Verdict] = ()


@dataclass(frozen=True, slots=True)
class End:
    """End it as failed, with a refund."""

    error: GenerationError
    verdicts: Sequence[Verdict] = ()
