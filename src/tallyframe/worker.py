"""Builds the arq worker. Every background function and loop is listed in `FUNCTIONS` and `_loops`.

The loops run beside the jobs and not as arq crons: a worker full of long generations must still relay and sweep, and
both must go on when Redis has lost its memory.
"""

import asyncio
import os
import platform
import secrets
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func

from tallyframe import observe
from tallyframe.audit.base import Limits as AuditLimits
from tallyframe.audit.run import Auditor
from tallyframe.calls.gate import CallLimits, Gate
from tallyframe.calls.sweep import tidy
from tallyframe.catalog import CAPABILITIES, OFFLINE
from tallyframe.db import WEBHOOKS_ROLE, WORKER_ROLE, Database
from tallyframe.errors import Unavailable
from tallyframe.generations.end.erase import Subject, erase
from tallyframe.generations.end.sweep import sweep
from tallyframe.generations.end.withdraw import withdraw
from tallyframe.generations.run.dispatch import LOOK_EVERY, Dispatcher, Poller
from tallyframe.generations.run.runner import Limits, Runner
from tallyframe.generations.steps.execute import RunDependencies
from tallyframe.generations.steps.retry import RetryPolicy
from tallyframe.generations.tables import ERASE_GENERATION, ERASE_PROJECT, RUN_GENERATION, WITHDRAW
from tallyframe.idempotency.keys import prune as prune_keys
from tallyframe.ledger.digest.daily import digest_of_the_day
from tallyframe.operations.registry import operations
from tallyframe.outbox.relay import QUEUE, REDIS_AWAY, connect, pack, relay, unpack, worker_key
from tallyframe.providers.base import Providers
from tallyframe.providers.registry import build_providers
from tallyframe.settings import Settings
from tallyframe.storages.base import StorageError, Storages
from tallyframe.storages.registry import build_storages
from tallyframe.webhooks.apply import apply_stored
from tallyframe.webhooks.received import prune
from tallyframe.webhooks.registry import build_sources
from tallyframe.webhooks.tables import APPLY_WEBHOOK
from tallyframe.workers.heartbeat import RENEW_EVERY, Heartbeat

log = structlog.get_logger()

RELAY_EVERY = 0.5  # seconds
SWEEP_EVERY = 5.0  # seconds
TIDY_EVERY = 60.0  # seconds
AUDIT_EVERY = 10.0  # seconds between two looks whether something is to be audited
POLL_EVERY = 0.05  # seconds between looks into the queue
HEALTH_EVERY = 15  # seconds


class DoorbellWorker(Worker):
    """arq's worker, except that losing Redis costs it neither its jobs nor its life."""

    is_stopping = False

    def note_stop(self, _: signal.Signals) -> None:
        """Remember that we are to end: the client of Redis may swallow the cancellation by which arq ends itself."""
        self.is_stopping = True

    async def run_on(self) -> None:
        """Take jobs until asked to stop, also if Redis isn't there yet."""
        while self.allow_pick_jobs and not self.is_stopping:
            try:
                await self.async_run()
            except REDIS_AWAY as error:
                log.warning("redis_away", error=type(error).__name__)
                await asyncio.sleep(1)

    async def _poll_iteration(self) -> None:
        if self.is_stopping:
            raise asyncio.CancelledError
        # A ring that a full worker hears is one that a free one doesn't.
        self.max_jobs = 0 if self.ctx["dispatcher"].is_full else self.ctx["slots"]
        try:
            await super()._poll_iteration()
        except REDIS_AWAY as error:
            log.warning("redis_away", error=type(error).__name__)
            await asyncio.sleep(1)
            self._free_leaked_slots()

    def handle_sig_wait_for_completion(self, signum: signal.Signals) -> None:
        """Stop taking generations, too."""
        self.ctx["dispatcher"].stop()
        super().handle_sig_wait_for_completion(signum)

    def _free_leaked_slots(self) -> None:
        """Free the slots that arq took for jobs which it then failed to start."""
        running = sum(not task.done() for task in self.tasks.values())
        for _ in range(self.job_counter - running):
            self._release_sem_dec_counter_on_complete()


async def run_generation(context: dict[str, Any], generation_id: str) -> None:
    """Look for work: there is some, perhaps this, perhaps something whose turn it is first."""
    log.debug("rung", generation_id=generation_id)
    dispatcher: Dispatcher = context["dispatcher"]
    dispatcher.wake()


async def erase_project(context: dict[str, Any], project_id: str) -> None:
    """Remove the media of a deleted project."""
    runner: Runner = context["runner"]
    with _rung_again("erase_project"):
        await erase(runner.db, runner.dependencies.storages.by_name, Subject(UUID(project_id), ERASE_PROJECT))


async def erase_generation(context: dict[str, Any], generation_id: str) -> None:
    """Remove the files of a deleted generation that has no project."""
    runner: Runner = context["runner"]
    with _rung_again("erase_generation"):
        subject = Subject(UUID(generation_id), ERASE_GENERATION)
        await erase(runner.db, runner.dependencies.storages.by_name, subject)


async def withdraw_generation(context: dict[str, Any], generation_id: str) -> None:
    """Tell the vendor that nobody waits for this generation any more."""
    runner: Runner = context["runner"]
    with _rung_again("withdraw"):
        await withdraw(runner.dependencies, UUID(generation_id))


async def apply_webhook(context: dict[str, Any], event_id: str) -> None:
    """Apply a webhook's event that the process which stored it has not applied."""
    with _rung_again(APPLY_WEBHOOK):
        await apply_stored(context["webhooks_db"], context["sources"], UUID(event_id))


@contextmanager
def _rung_again(job: str) -> Iterator[None]:
    """Leave a job for the next ring of the outbox when the database or a storage is away."""
    try:
        yield
    except (Unavailable, StorageError) as error:
        log.warning("job_interrupted", job=job, error=type(error).__name__)


FUNCTIONS: dict[str, Any] = {
    RUN_GENERATION: run_generation,
    ERASE_PROJECT: erase_project,
    ERASE_GENERATION: erase_generation,
    WITHDRAW: withdraw_generation,
    APPLY_WEBHOOK: apply_webhook,
}


async def run_worker(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM; then wait for the running generations, and hand over those that take too long."""
    observe.start(settings, "worker")
    db = Database(
        settings.database_url.get_secret_value(),
        role=WORKER_ROLE,
        pool_size=max(settings.database_pool_size, 4),
        statement_timeout=settings.statement_timeout,
    )
    redis = connect(settings.redis_url.get_secret_value())
    runner = build_runner(settings, db)
    dispatcher = Dispatcher(runner, slots=settings.worker_concurrency, most=settings.slots_per_user)
    worker = _build_worker(settings, redis, runner, dispatcher)
    url = settings.database_url.get_secret_value()
    webhooks_db = Database(url, role=WEBHOOKS_ROLE, pool_size=2, statement_timeout=settings.statement_timeout)
    worker.ctx |= {"webhooks_db": webhooks_db, "sources": build_sources(settings)}
    audit_db = _audit_database(settings)
    auditor = Auditor(audit_db, runner.dependencies.storages, _audit_limits(settings))
    presence = Heartbeat(db, runner.worker, settings.worker_concurrency)
    loops = [asyncio.create_task(loop) for loop in _loops(settings, db, audit_db, redis, dispatcher, auditor, presence)]
    log.info("worker_started", worker=runner.worker)
    try:
        with suppress(asyncio.CancelledError):  # how arq's worker ends when it is asked to stop
            await worker.run_on()
    finally:
        await dispatcher.aclose(settings.shutdown_grace)
        await runner.dependencies.detached.aclose()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        with suppress(*REDIS_AWAY, asyncio.CancelledError):  # the latter of jobs that were cut short
            await worker.close()
        await presence.leave()
        await runner.dependencies.gate.aclose()
        await close(runner.dependencies.providers, runner.dependencies.storages)
        await webhooks_db.close()
        await audit_db.close()
        await db.close()
        log.info("worker_stopped", worker=runner.worker)
        await asyncio.to_thread(observe.stop)


async def close(providers: Providers, storages: Storages) -> None:
    """Close the connections of all adapters."""
    for provider in {id(each): each for group in providers.values() for each in group}.values():
        await provider.aclose()
    for storage in storages.by_name.values():
        await storage.aclose()


def build_runner(settings: Settings, db: Database) -> Runner:
    """Make what runs generations, from the settings."""
    limits = Limits(
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        max_attempts=settings.max_attempts,
    )
    dependencies = RunDependencies(
        db=db,
        providers=build_providers(settings),
        storages=build_storages(settings),
        gate=Gate(db, _call_limits(settings)),
        retry=RetryPolicy(settings.max_retries, settings.retry_max_wait, collect_again=settings.provider_poll),
    )
    name = f"{platform.node()}:{secrets.token_hex(2)}:{os.getpid()}"  # containers may share host name and number
    return Runner(dependencies, operations(settings), limits, name)


def _call_limits(settings: Settings) -> CallLimits:
    vendors = {name for each in CAPABILITIES for name in settings.providers_for(each)} - {OFFLINE}
    return CallLimits(
        in_flight=dict.fromkeys(vendors, settings.provider_concurrency),
        timeout=settings.provider_timeout,
        breaker_failures=settings.breaker_failures,
        breaker_cooldown=settings.breaker_cooldown,
        retry_max_wait=settings.retry_max_wait,
        prices=settings.vendor_prices,
    )


def _audit_database(settings: Settings) -> Database:
    """Open a pool for statements that read whole tables: two connections for audits, one for the digest of the day."""
    url = settings.database_url.get_secret_value()
    return Database(url, role=WORKER_ROLE, pool_size=3, statement_timeout=settings.audit_timeout)


def _audit_limits(settings: Settings) -> AuditLimits:
    return AuditLimits(
        interval=settings.audit_interval,
        files=settings.audit_files,
        lease_seconds=settings.lease_seconds,
        removes_uploads=settings.audit_removes_uploads,
    )


def _build_worker(settings: Settings, redis: ArqRedis, runner: Runner, dispatcher: Dispatcher) -> DoorbellWorker:
    worker = DoorbellWorker(
        functions=[func(function, name=name) for name, function in FUNCTIONS.items()],
        redis_pool=redis,
        queue_name=QUEUE,
        ctx={"runner": runner, "dispatcher": dispatcher, "slots": settings.worker_concurrency},
        max_jobs=settings.worker_concurrency,
        job_timeout=settings.generation_max_age + 60,
        keep_result=0,
        max_tries=1000,  # arq never decides a failure: our attempts do
        retry_jobs=True,
        poll_delay=POLL_EVERY,
        queue_read_limit=max(settings.worker_concurrency * 20, 200),
        job_completion_wait=int(settings.shutdown_grace),
        health_check_interval=HEALTH_EVERY,
        health_check_key=worker_key(runner.worker),
        job_serializer=pack,
        job_deserializer=unpack,
        log_results=False,
    )
    worker.on_stop = worker.note_stop
    return worker


def _loops(
    settings: Settings,
    db: Database,
    audit_db: Database,
    redis: ArqRedis,
    dispatcher: Dispatcher,
    auditor: Auditor,
    presence: Heartbeat,
) -> list[Any]:
    lookout = Poller(dispatcher, lambda: relay(db, redis))
    return [
        _every(RENEW_EVERY, "presence", presence.renew),
        _every(RELAY_EVERY, "relay", lookout.ring),
        _every(LOOK_EVERY, "look", lookout.look),  # a loop of its own: with Redis frozen, ringing takes seconds
        _every(SWEEP_EVERY, "sweep", lambda: sweep(db)),
        _every(TIDY_EVERY, "tidy", lambda: tidy(db, settings.provider_timeout, settings.ai_operations_days)),
        _every(TIDY_EVERY, "digest", lambda: digest_of_the_day(db, audit_db, settings.digest_dir or None)),
        _every(TIDY_EVERY, "forget_events", lambda: prune(db, days=settings.webhook_events_days)),
        _every(min(AUDIT_EVERY, settings.audit_interval), "audit", auditor.round),
        _every(TIDY_EVERY, "forget_keys", lambda: prune_keys(db, hours=settings.idempotency_hours)),
    ]


async def _every(seconds: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await work()
        except (Unavailable, *REDIS_AWAY) as error:
            log.warning("loop_interrupted", loop=name, error=type(error).__name__)
        except Exception as error:  # the loops must outlive a bug in one round, and tell
            log.exception("loop_failed", loop=name)
            observe.report(error)
        await asyncio.sleep(seconds)
