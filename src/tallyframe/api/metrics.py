"""GET /metrics for Prometheus: requests of this process, and generations as Postgres knows them.

Generations are counted in the database and not in the workers, so every API process tells the same truth, whichever
worker did the work, and none is lost with a process. Sum request metrics over processes; take the maximum of the rest.
"""

from collections.abc import Iterator, Mapping
from math import inf
from time import monotonic
from typing import Any

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from starlette.responses import Response

from tallyframe.api.services import SystemServices
from tallyframe.audit import rows as audit_rows
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.audit.rows import Checked
from tallyframe.audit.steps import Doubts
from tallyframe.calls.figures import CallFigures, read as call_figures
from tallyframe.ledger.digest.daily import digest_age
from tallyframe.reports import figures, load

router = APIRouter(include_in_schema=False)

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the samples and tell nobody anything
_registry = CollectorRegistry()
_requests = Counter("tallyframe_requests", "HTTP requests", ["method", "route", "status"], registry=_registry)
_seconds = Histogram("tallyframe_request_seconds", "Time to answer", ["method", "route"], registry=_registry)


def observe_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request."""
    _requests.labels(method, route, str(status)).inc()
    _seconds.labels(method, route).observe(seconds)


class _Snapshot:
    """One reading of the database, as a Prometheus collector."""

    def __init__(
        self,
        reading: figures.Figures,
        calls: CallFigures,
        audits: Mapping[str, Checked] | None = None,
        fleet: load.Fleet | None = None,
        digest_age: int | None = None,
        *,
        audit_interval: float = 0.0,
    ) -> None:
        self._reading = reading
        self._calls = calls
        self._audits = audits or {}
        self._fleet = fleet or load.Fleet()
        self._digest_age = digest_age  # seconds
        self._audit_interval = audit_interval

    def collect(self) -> Iterator[Metric]:
        yield from self._of_generations(self._reading)
        yield from self._of_calls(self._calls)
        yield from self._of_audits(self._audits)
        yield from self._of_fleet(self._fleet)
        age = inf if self._digest_age is None else self._digest_age
        yield GaugeMetricFamily("tallyframe_ledger_digest_age_seconds", "Since the ledger's latest digest", value=age)

    def _of_fleet(self, fleet: load.Fleet) -> Iterator[Metric]:
        yield GaugeMetricFamily("tallyframe_workers", "Workers that live", value=fleet.count)
        yield GaugeMetricFamily("tallyframe_worker_slots", "Generations that they run at once", value=fleet.slots)
        yield GaugeMetricFamily("tallyframe_worker_slots_busy", "Generations that they run", value=fleet.busy)

    def _of_audits(self, latest: Mapping[str, Checked]) -> Iterator[Metric]:
        violations = GaugeMetricFamily(
            "tallyframe_audit_violations", "What must be true and isn't", labels=["invariant"]
        )
        checked = GaugeMetricFamily("tallyframe_audit_checked", "Things looked at", labels=["invariant"])
        age = GaugeMetricFamily("tallyframe_audit_age_seconds", "Since the latest check", labels=["invariant"])
        overdue = GaugeMetricFamily("tallyframe_audit_overdue", "1: nobody checks it", labels=["invariant"])
        for each in INVARIANTS:
            found, labels = latest.get(each.name), [each.name]
            age.add_metric(labels, found.age if found else inf)
            overdue.add_metric(labels, audit_rows.is_overdue(each, found, self._audit_interval))
            if found:
                checked.add_metric(labels, found.finding.checked)
            if found and not each.is_counted:
                violations.add_metric(labels, found.finding.violations)
        yield from (violations, checked, age, overdue)
        in_doubt = latest.get(Doubts.name)
        value = in_doubt.finding.violations if in_doubt else None
        yield GaugeMetricFamily("tallyframe_in_doubt", "Orders that a vendor may have billed for nothing", value=value)

    def _of_calls(self, reading: CallFigures) -> Iterator[Metric]:
        in_flight = GaugeMetricFamily("tallyframe_calls_in_flight", "Vendor calls under way", labels=["provider"])
        for provider, count in reading.in_flight:
            in_flight.add_metric([provider], count)
        yield in_flight
        circuits = GaugeMetricFamily("tallyframe_circuit_open", "1: no orders now", labels=["provider", "model"])
        for provider, model, is_open in reading.circuits:
            circuits.add_metric([provider, model], is_open)
        yield circuits

    def _of_generations(self, reading: figures.Figures) -> Iterator[Metric]:
        outcomes = CounterMetricFamily(
            "tallyframe_generations", "Ended generations", labels=["operation", "provider", "outcome"]
        )
        for operation, provider, outcome, count in reading.outcomes:
            outcomes.add_metric([operation, provider, outcome], count)
        yield outcomes
        depth = GaugeMetricFamily("tallyframe_queue_depth", "Live generations", labels=["status"])
        for status, count in reading.live:
            depth.add_metric([status], count)
        yield depth
        yield GaugeMetricFamily(
            "tallyframe_oldest_pending_seconds", "Age of the oldest pending generation", value=reading.oldest_pending
        )
        latency = SummaryMetricFamily("tallyframe_provider_seconds", "Time from order to result", labels=["provider"])
        for provider, count, seconds in reading.provider_seconds:
            latency.add_metric([provider], count_value=count, sum_value=seconds)
        yield latency
        yield CounterMetricFamily("tallyframe_refunds", "Refunded generations", value=reading.refunds)
        yield CounterMetricFamily("tallyframe_refunded_credits", "Credits given back", value=reading.refunded_credits)


_last: dict[str, Any] = {"at": 0.0, "reading": None}


@router.get("/metrics")
async def metrics(serving: SystemServices) -> Response:
    """Return all metrics in Prometheus' text format; the database is read at most every few seconds."""
    if _last["reading"] is None or monotonic() - _last["at"] > serving.settings.metrics_max_age:
        async with serving.system.reading() as reader:
            readings = (await figures.read(reader), await call_figures(reader), await audit_rows.read(reader))
            latest = (await load.fleet(reader), await digest_age(reader))
            _last["reading"], _last["at"] = (*readings, *latest), monotonic()
    snapshot = CollectorRegistry()
    snapshot.register(_Snapshot(*_last["reading"], audit_interval=serving.settings.audit_interval))
    return Response(generate_latest(_registry) + generate_latest(snapshot), media_type="text/plain; version=0.0.4")
