"""GET /metrics for Prometheus: the requests of this process, and all that is counted in Postgres.

Generations are counted in the database and not in the workers. So every API process reports the same figures, and they
survive the end of any process. Sum the request metrics over all processes; take the maximum of all others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import monotonic
from typing import Generic, TypeVar

from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from starlette.responses import Response

from tallyframe.audit import rows as audit_rows
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.audit.rows import Checked
from tallyframe.audit.steps import Doubts
from tallyframe.calls.figures import CallFigures, read as call_figures
from tallyframe.db import Database, LaggingReads
from tallyframe.ledger.digest.daily import digest_age
from tallyframe.reports import figures, load
from tallyframe.webhooks import received

router = APIRouter(include_in_schema=False)

T = TypeVar("T")

disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the number of samples for no use
_registry = CollectorRegistry()
REQUESTS = Counter("tallyframe_requests", "HTTP requests", ["method", "route", "status"], registry=_registry)
SECONDS = Histogram("tallyframe_request_seconds", "Time to answer", ["method", "route"], registry=_registry)
BYTES_IN_FLIGHT = Gauge("tallyframe_request_bytes", "Bytes of bodies under way", ["sender"], registry=_registry)
CONNECTIONS_CLOSED = Counter("tallyframe_connections_closed", "Connections that we end", ["reason"], registry=_registry)
PICTURES = Histogram(
    "tallyframe_picture_seconds", "Time to get an input picture ready", ["step", "outcome"], registry=_registry
)
PICTURES_NOW = Gauge("tallyframe_pictures", "Input pictures under way or waiting", ["step"], registry=_registry)
REPLICA_READS = Counter(
    "tallyframe_replica_reads", "Reads that may lag, by the database that was asked", ["database"], registry=_registry
)
REPLICA_LAG = Gauge("tallyframe_replica_lag_seconds", "How far the replica was behind lately", registry=_registry)


@dataclass(frozen=True, slots=True, eq=False)  # a registry hashes its collectors
class Snapshot:
    """One reading of the database, as a Prometheus collector."""

    generations: figures.Figures
    calls: CallFigures
    audits: Mapping[str, Checked] = field(default_factory=dict)  # by invariant
    fleet: load.Fleet = field(default_factory=load.Fleet)
    queue: load.Queue = field(default_factory=load.Queue)
    digest_age: int | None = None  # seconds; None before the first digest
    webhooks: Sequence[tuple[str, str, int]] = ()  # source, status, how many events
    audit_interval: float = 0.0  # seconds

    def collect(self) -> Iterator[Metric]:
        """Return all metrics."""
        yield from self._of_generations()
        in_flight = GaugeMetricFamily("tallyframe_calls_in_flight", "Vendor calls under way", labels=["provider"])
        for provider, count in self.calls.in_flight:
            in_flight.add_metric([provider], count)
        circuits = GaugeMetricFamily("tallyframe_circuit_open", "1: no orders now", labels=["provider", "model"])
        for provider, model, is_open in self.calls.circuits:
            circuits.add_metric([provider, model], is_open)
        yield from (in_flight, circuits)
        yield from self._of_audits()
        yield GaugeMetricFamily("tallyframe_workers", "Workers that live", value=self.fleet.count)
        yield GaugeMetricFamily("tallyframe_worker_slots", "Generations that they run at once", value=self.fleet.slots)
        yield GaugeMetricFamily("tallyframe_worker_slots_busy", "Generations that they run", value=self.fleet.busy)
        yield GaugeMetricFamily(
            "tallyframe_outbox_overdue", "Due calls besides generations", value=self.queue.outbox_overdue
        )
        events = GaugeMetricFamily("tallyframe_webhook_events", "Events that are kept", labels=["source", "status"])
        for source, status, count in self.webhooks:
            events.add_metric([source, status], count)
        yield events
        age = inf if self.digest_age is None else self.digest_age
        yield GaugeMetricFamily("tallyframe_ledger_digest_age_seconds", "Since the ledger's latest digest", value=age)

    def _of_generations(self) -> Iterator[Metric]:
        reading = self.generations
        outcomes = CounterMetricFamily(
            "tallyframe_generations", "Ended generations", labels=["operation", "provider", "outcome"]
        )
        for operation, provider, outcome, count in reading.outcomes:
            outcomes.add_metric([operation, provider, outcome], count)
        depth = GaugeMetricFamily("tallyframe_queue_depth", "Live generations", labels=["status"])
        for status, count in (("pending", self.queue.pending), ("processing", self.queue.processing)):
            depth.add_metric([status], count)
        yield from (outcomes, depth)
        yield GaugeMetricFamily(
            "tallyframe_oldest_pending_seconds",
            "Age of the oldest pending generation",
            value=self.queue.oldest_pending_seconds or 0,
        )
        latency = SummaryMetricFamily("tallyframe_provider_seconds", "Time from order to result", labels=["provider"])
        for provider, count, seconds in reading.provider_seconds:
            latency.add_metric([provider], count_value=count, sum_value=seconds)
        yield latency
        yield CounterMetricFamily("tallyframe_refunds", "Refunded generations", value=reading.refunds)
        yield CounterMetricFamily("tallyframe_refunded_credits", "Credits given back", value=reading.refunded_credits)

    def _of_audits(self) -> Iterator[Metric]:
        violations = GaugeMetricFamily(
            "tallyframe_audit_violations", "Violations of what must be true", labels=["invariant"]
        )
        checked = GaugeMetricFamily("tallyframe_audit_checked", "Rows or files checked", labels=["invariant"])
        age = GaugeMetricFamily("tallyframe_audit_age_seconds", "Since the latest check", labels=["invariant"])
        overdue = GaugeMetricFamily("tallyframe_audit_overdue", "1: nobody checks it", labels=["invariant"])
        for each in INVARIANTS:
            latest, labels = self.audits.get(each.name), [each.name]
            age.add_metric(labels, latest.age if latest else inf)
            overdue.add_metric(labels, audit_rows.is_overdue(each, latest, self.audit_interval))
            if latest:
                checked.add_metric(labels, latest.finding.checked)
            if latest and not each.is_counted:
                violations.add_metric(labels, latest.finding.violations)
        yield from (violations, checked, age, overdue)
        in_doubt = self.audits.get(Doubts.name)
        value = in_doubt.finding.violations if in_doubt else None
        yield GaugeMetricFamily("tallyframe_in_doubt", "Orders that a vendor may have billed for nothing", value=value)


class Shared(Generic[T]):
    """The latest of what is read. However many ask at once, it is read once at a time."""

    def __init__(self, read: Callable[[], Awaitable[T]], max_age: float) -> None:
        """`max_age`: seconds for which the same is given again."""
        self._read, self._max_age = read, max_age
        self._reading: asyncio.Future[T] | None = None
        self._begun = 0.0

    async def latest(self) -> T:
        """Return what is not too old. Raises what `read` raises, to all who wait."""
        reading, is_old = self._reading, monotonic() - self._begun > self._max_age
        if reading is None or (reading.done() and (is_old or reading.exception())):
            self._begun = monotonic()
            reading = self._reading = asyncio.ensure_future(self._read())
        return await asyncio.shield(reading)


async def read(db: Database, lagging: LaggingReads, audit_interval: float) -> Snapshot:
    """Read all that is counted in Postgres; what takes longest from where it may lag. Raises Unavailable."""
    generations = await lagging.read(_figures)
    async with db.reading() as reader:
        return Snapshot(
            generations=generations,
            calls=await call_figures(reader),
            audits=await audit_rows.read(reader),
            fleet=await load.fleet(reader),
            queue=await load.queue(reader),
            digest_age=await digest_age(reader),
            webhooks=await received.counted(reader),
            audit_interval=audit_interval,
        )


async def _figures(db: Database) -> figures.Figures:
    async with db.reading() as reader:
        return await figures.read(reader)


def shared(db: Database, lagging: LaggingReads, audit_interval: float, max_age: float) -> Shared[bytes]:
    """Return all metrics in Prometheus' text format. The database is read every `max_age` seconds at most."""
    snapshots = Shared(partial(read, db, lagging, audit_interval), max_age)

    async def text() -> bytes:
        snapshot = CollectorRegistry()
        snapshot.register(await snapshots.latest())
        # In a thread: the many lines of a process that has served every route hold up nobody.
        return await asyncio.to_thread(lambda: generate_latest(_registry) + generate_latest(snapshot))

    return Shared(text, 0)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format."""
    texts: Shared[bytes] = request.app.state.metrics
    return Response(await texts.latest(), media_type="text/plain; version=0.0.4")
