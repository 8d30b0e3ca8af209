"""What a step does next: decided from its tries, and then from what came of asking. Pure: frozen values in and out.

    plan(tries, routes)      before anybody is asked: what is kept already, a ticket to collect, or an order to place
    decide(asked, answer)    after it: done, wait, try again, the next provider, in doubt, or failed
    combine(decisions)       what the run does about the steps that aren't done: leave for a while, or end

Each decision has the verdict that is kept with the step, so that verdict and move are one write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.generations.steps.retry import RetryPolicy, wanted_wait
from tallyframe.generations.steps.routing import Route, able, find_route, is_terminal

IN_DOUBT = "We lost track of what the provider did with this. Your credits are back; you can order it again."

#: Times that a finished result may turn out to be no use, before it counts as one that can't be had.
MOST_BAD_RESULTS = 5


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
    """What is to be kept of a try: the columns that change. The provider is asked again after `poll_after` seconds."""

    name: str
    attempt: int
    provider: str
    model: str
    values: Mapping[str, Any] = field(default_factory=dict)
    poll_after: float | None = None


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


def plan(name: str, tries: Sequence[Try], routes: Sequence[Route]) -> Done | Snooze | Collect | Order | InDoubt | Fail:
    """Return what is to be asked, or what needs no asking. What was final once stays final."""
    latest = tries[-1] if tries else Try(0, "none", "")
    spoken = {each.provider for each in tries if each.is_final}
    match latest:
        case Try(state="done" | "orphaned", result=result) if result is not None:
            return Done(result)
        case Try(state="ticket" | "failed" | "in_doubt", is_final=False, rests=rests) if rests > 0:
            return Snooze(rests)  # woken for another step
        case Try(state="ticket", ticket=str(), provider=provider):
            route = find_route(routes, provider)
            if route is None:
                words = f"{provider} holds a ticket but is no longer configured"
                return Fail(GenerationError(FailureCode.PROVIDER_UNAVAILABLE, operator_message=words))
            return Collect(latest, route, able(routes, without={*spoken, provider}))
        case Try(state="intent", provider=provider):
            route = find_route(routes, provider)
            again = route is not None and route.provider.repeatable
            if not again:
                doubt = _lost_track()
                return InDoubt(doubt, _verdict(name, latest, "in_doubt", doubt, is_final=True))
            return _order(able(routes, without=spoken), latest)
        case Try(is_final=True, state=state, error_code=str(code)) if state == "in_doubt" or is_terminal(code):
            return _as_found(code)
    return _order(able(routes, without=spoken), None, latest)


def _order(routes: Sequence[Route], doubtful: Try | None, latest: Try | None = None) -> Order | Fail:
    if routes:
        return Order(routes, doubtful)
    if latest and latest.is_final and latest.error_code:
        return _as_found(latest.error_code)
    return Fail(GenerationError(FailureCode.INVALID_INPUT, "No provider makes this any more."))


def _as_found(code: str) -> Fail:
    return Fail(GenerationError(FailureCode(code), operator_message="as an earlier try has found"))


def _lost_track() -> GenerationError:
    return GenerationError(FailureCode.PROVIDER_TIMEOUT, IN_DOUBT, operator_message="in doubt")


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


def decide(asked: Asked, answer: Answer, policy: RetryPolicy) -> Decision:
    """Return what the step does about an answer."""
    this = Try(asked.attempt, "", asked.route.provider.name, asked.route.offer.model)
    match answer:
        case Kept(result):
            return Done(result)
        case Waiting(ticket, seconds):
            kept = {"state": "ticket", "ticket": ticket}
            return Snooze(seconds, _keep(asked.name, this, kept, seconds))
        case NotStored(error) if asked.is_collect and error.retryable:
            return Snooze(policy.collect_again, _keep(asked.name, this, {}, policy.collect_again))
        case NotStored(error):
            # Its bytes are gone with this try, and ordering again would buy it twice: so this is the end.
            return Fail(error, _verdict(asked.name, this, "failed", error, is_final=True))
        case GenerationError() if asked.is_collect and _may_be_asked_again(asked, answer):
            seconds = max(policy.collect_again, wanted_wait(answer))
            return Snooze(seconds, _keep(asked.name, this, {}, seconds))
        case ProviderError(in_doubt=doubtful, spent=spent) if doubtful or spent or _is_used_up(asked, answer):
            return _doubt(asked, this, answer, policy)
        case GenerationError() if not policy.gives_up(answer, asked.retries):
            seconds = policy.delay(answer, asked.retries)
            return Retry(seconds, _verdict(asked.name, this, "failed", answer, is_final=False, rests=seconds))
        case GenerationError():
            verdict = _verdict(asked.name, this, "failed", answer, is_final=True)
            return NextProvider(verdict) if asked.has_others and not is_terminal(answer.code) else Fail(answer, verdict)


def _may_be_asked_again(asked: Asked, error: GenerationError) -> bool:
    """Tell whether just the asking failed: then it is no verdict on the work."""
    alarm = isinstance(error, ProviderError) and error.alarm
    return (error.retryable or alarm) and not _is_used_up(asked, error)


def _is_used_up(asked: Asked, error: GenerationError) -> bool:
    """Tell whether a finished result was no use so often that it counts as one that can't be had."""
    is_bad = error.code is FailureCode.PROVIDER_REJECTED and error.retryable
    return asked.is_collect and is_bad and asked.bad_results >= MOST_BAD_RESULTS


def _doubt(asked: Asked, this: Try, error: ProviderError, policy: RetryPolicy) -> Retry | InDoubt:
    again = error.in_doubt and asked.route.provider.repeatable and asked.retries < policy.max_retries
    words = IN_DOUBT if error.in_doubt else error.message
    doubt = GenerationError(error.code, words, operator_message=error.operator_message)
    if not again:
        return InDoubt(doubt, _verdict(asked.name, this, "in_doubt", doubt, is_final=True))
    seconds = policy.delay(error, asked.retries)
    return Retry(seconds, _verdict(asked.name, this, "in_doubt", doubt, is_final=False, rests=seconds))


def doubt_about(name: str, doubtful: Try) -> Verdict:
    """Return the verdict on a try of which nobody knows what became, where the provider may be asked again."""
    return _verdict(name, doubtful, "in_doubt", _lost_track(), is_final=False)


def _keep(name: str, this: Try, values: Mapping[str, Any], poll_after: float | None = None) -> Verdict:
    return Verdict(name, this.attempt, this.provider, this.model, values, poll_after)


def _verdict(
    name: str, this: Try, state: str, error: GenerationError, *, is_final: bool, rests: float | None = None
) -> Verdict:
    said = {"error_code": error.code.value, "is_final": is_final, "operator_message": error.operator_message}
    return Verdict(name, this.attempt, this.provider, this.model, {"state": state, **said}, rests)


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


def combine(decisions: Sequence[Decision], unkept: Sequence[Verdict]) -> Leave | End:
    """Return what the run does about steps that aren't done: it ends when one does, and else is woken for the first.

    `unkept` are the verdicts that are to be kept together with the move.
    """
    for decision in decisions:
        if isinstance(decision, InDoubt | Fail):
            return End(decision.error, unkept)
    waits = [each.seconds if isinstance(each, Snooze | Retry) else 0.0 for each in decisions]
    if any(isinstance(each, NextProvider) for each in decisions):
        return Leave(0.0, "fell_back", unkept)
    retried = any(isinstance(each, Retry) for each in decisions)
    return Leave(min(waits), "retried" if retried else "snoozed", unkept)
