"""What a step does next: decided from its tries, and then from what came of asking. Pure: frozen values in and out.

    plan(tries, routes)      before anybody is asked: what is kept already, a ticket to collect, or an order to place
    decide(asked, answer)    after it: done, wait, try again, the next provider, in doubt, or failed
    combine(decisions)       what the run does about the steps that aren't done: leave for a while, or end

Each decision has the verdict that is kept with the step, so that verdict and move are one write. RetryPolicy is the
only retry policy there is. A route is one task at one provider.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from tallyframe.errors import FAILURE_POLICY, FailureCode, GenerationError, ProviderError
from tallyframe.generations.steps.values import (
    Answer,
    Asked,
    Collect,
    Decision,
    Done,
    End,
    Fail,
    InDoubt,
    Kept,
    Leave,
    NextProvider,
    NotStored,
    Order,
    Retry,
    Route,
    Snooze,
    Try,
    Verdict,
    Waiting,
)
from tallyframe.providers.base import Provider, Providers

IN_DOUBT = "We lost track of what the provider did with this. Your credits are back; you can order it again."

#: Times that a finished result may turn out to be no use, before it counts as one that can't be had.
MOST_BAD_RESULTS = 5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after how many seconds."""

    max_retries: int  # of a step, at one provider
    max_wait: float  # seconds; a vendor that asks for more patience is given up
    max_rejected: int = 2  # the same for answers without a usable result, each of which may be billed
    collect_again: float = 5.0  # seconds until a ticket is asked for again when asking failed
    base: float = 1.0  # seconds before the first retry; it doubles with each one
    longest: float = 60.0  # seconds that doubling leads to at most

    def gives_up(self, error: GenerationError, retries: int) -> bool:
        """Tell whether this is the end at this provider, after `retries` further tries already made there."""
        most = self.max_retries
        if error.code is FailureCode.PROVIDER_REJECTED:
            most = min(most, self.max_rejected)
        return not error.retryable or retries >= most or wanted_wait(error) > self.max_wait

    def delay(self, error: GenerationError, retries: int) -> float:
        """Return the seconds before retry number `retries` (from 0): doubling, and what the vendor asks for."""
        return max(min(self.base * 2.0**retries, self.longest), wanted_wait(error))


def wanted_wait(error: GenerationError) -> float:
    """Return the seconds that the vendor asked to be left alone; 0 when it didn't."""
    return error.retry_after or 0.0 if isinstance(error, ProviderError) else 0.0


def able(routes: Sequence[Route], *, without: Collection[str] = ()) -> list[Route]:
    """Return the routes that fit, without those of the providers named."""
    return [route for route in routes if route.fits and route.provider.name not in without]


def find_route(routes: Sequence[Route], provider: str) -> Route | None:
    """Return the route to the provider of that name, whether it fits or not; None if it is no longer configured."""
    return next((route for route in routes if route.provider.name == provider), None)


def find_provider(providers: Providers, name: str) -> Provider | None:
    """Return the provider of that name, whatever it serves."""
    return next((each for group in providers.values() for each in group if each.name == name), None)


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
                doubt = lost_track()
                return InDoubt(doubt, verdict_on(name, latest, "in_doubt", doubt, is_final=True))
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


def decide(asked: Asked, answer: Answer, policy: RetryPolicy) -> Decision:
    """Return what the step does about an answer."""
    this = Try(asked.attempt, "", asked.route.provider.name, asked.route.offer.model)
    still = Verdict(asked.name, this.attempt, this.provider, this.model)
    match answer:
        case Kept(result):
            return Done(result)
        case Waiting(ticket, seconds):
            return Snooze(seconds, replace(still, state="ticket", ticket=ticket, poll_after=seconds))
        case NotStored(error) if asked.is_collect and error.retryable:
            return Snooze(policy.collect_again, replace(still, poll_after=policy.collect_again))
        case NotStored(error):
            # Its bytes are gone with this try, and ordering again would buy it twice: so this is the end.
            return Fail(error, verdict_on(asked.name, this, "failed", error, is_final=True))
        case GenerationError() if asked.is_collect and _may_be_asked_again(asked, answer):
            seconds = min(max(policy.collect_again, wanted_wait(answer)), policy.max_wait)
            return Snooze(seconds, replace(still, poll_after=seconds))
        case ProviderError(in_doubt=doubtful, spent=spent) if doubtful or spent or _is_used_up(asked, answer):
            return _doubt(asked, this, answer, policy)
        case GenerationError() if not policy.gives_up(answer, asked.retries):
            seconds = policy.delay(answer, asked.retries)
            return Retry(seconds, verdict_on(asked.name, this, "failed", answer, is_final=False, rests=seconds))
        case GenerationError():
            verdict = verdict_on(asked.name, this, "failed", answer, is_final=True)
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
        return InDoubt(doubt, verdict_on(asked.name, this, "in_doubt", doubt, is_final=True))
    seconds = policy.delay(error, asked.retries)
    return Retry(seconds, verdict_on(asked.name, this, "in_doubt", doubt, is_final=False, rests=seconds))


def lost_track() -> GenerationError:
    """Return the doubt about an order of which nobody knows what became."""
    return GenerationError(FailureCode.PROVIDER_TIMEOUT, IN_DOUBT, operator_message="in doubt")


def doubt_about(name: str, doubtful: Try) -> Verdict:
    """Return the verdict on a try of which nobody knows what became, where the provider may be asked again."""
    return verdict_on(name, doubtful, "in_doubt", lost_track(), is_final=False)


def verdict_on(
    name: str, this: Try, state: str, error: GenerationError, *, is_final: bool, rests: float | None = None
) -> Verdict:
    """Return what is kept of a try that has ended in this state; its provider rests for so many seconds."""
    return Verdict(
        name,
        this.attempt,
        this.provider,
        this.model,
        state,
        error_code=error.code.value,
        is_final=is_final,
        operator_message=error.operator_message,
        poll_after=rests,
    )


def is_terminal(code: FailureCode | str) -> bool:
    """Tell whether a provider's final failure ends the generation, so that no other provider is asked.

    An order that one vendor's content policy refuses is not sent to another vendor. A result that could not be stored
    has been bought, and would be bought again elsewhere.
    """
    return FAILURE_POLICY[FailureCode(code)][0] == "user" or code == FailureCode.STORAGE_UNAVAILABLE


def combine(undone: Sequence[tuple[float, Decision]], now: float, unkept: Sequence[Verdict]) -> Leave | End:
    """Return what the run does about steps that aren't done: it ends when one does, and else is woken for the first.

    Each decision comes with the time at which it was made, in the seconds of `now`: others may have taken their time
    since. `unkept` are the verdicts that are to be kept together with the move.
    """
    decisions = [decision for _, decision in undone]
    for decision in decisions:
        if isinstance(decision, InDoubt | Fail):
            return End(decision.error, unkept)
    if any(isinstance(each, NextProvider) for each in decisions):
        return Leave(0.0, "fell_back", unkept)
    waits = [max(at + each.seconds - now, 0.0) for at, each in undone if isinstance(each, Snooze | Retry)]
    retried = any(isinstance(each, Retry) for each in decisions)
    return Leave(min(waits, default=0.0), "retried" if retried else "snoozed", unkept)
