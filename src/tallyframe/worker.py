"""Builds the worker. What it does at intervals is a loop of `_loops`; what an outbox row asks for is in `lanes.py`.

The loops run beside the work and not as jobs: a worker full of long generations must still relay and sweep, and both
must go on when Redis has lost its memory.
"""

import asyncio
import os
import platform
import secrets
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from tallyframe import lanes, observe
from tallyframe.audit.base import Limits as AuditLimits
from tallyframe.audit.run import Auditor
from tallyframe.calls.gate import CallLimits, Gate
from tallyframe.calls.sweep import tidy
from tallyframe.catalog import CAPABILITIES, OFFLINE
from tallyframe.db import WEBHOOKS_ROLE, WORKER_ROLE, Database
from tallyframe.errors import Unavailable
from tallyframe.generations.end import erase, uploads
from tallyframe.generations.end.forget import forget
from tallyframe.generations.end.sweep import Sweeper
from tallyframe.generations.run.dispatch import Dispatcher
from tallyframe.generations.run.runner import Limits, Runner
from tallyframe.generations.steps.decide import RetryPolicy
from tallyframe.generations.steps.execute import RunDependencies
from tallyframe.idempotency.keys import prune as prune_keys
from tallyframe.ledger.digest.daily import digest_of_the_day
from tallyframe.operations.registry import operations, price_list
from tallyframe.outbox.jobs import JobWorker, Run
from tallyframe.outbox.relay import REDIS_AWAY, JobQueue, connect, relay
from tallyframe.providers.base import Providers
from tallyframe.providers.registry import build_providers, close_providers
from tallyframe.servers.outage import Outage
from tallyframe.settings import Settings, SettingsError
from tallyframe.storages.base import Storages
from tallyframe.storages.registry import build_storages
from tallyframe.webhooks.received import prune
from tallyframe.webhooks.registry import build_sources
from tallyframe.workers.heartbeat import RENEW_EVERY, Heartbeat

log = structlog.get_logger()

POLL_EVERY = 0.05  # seconds between two looks into Redis
RELAY_EVERY = 0.5  # seconds
LOOK_EVERY = 0.5  # seconds between two looks for a generation that need no wake-up
SWEEP_EVERY = 5.0  # seconds
TIDY_EVERY = 60.0  # seconds
UPLOADS_EVERY = 10.0  # seconds
FORGET_EVERY = 5.0  # seconds
AUDIT_EVERY = 10.0  # seconds between two looks whether something is to be audited
PAUSE = 1.0  # seconds at least until a loop whose round has failed tries again
LONG_PAUSE = 5.0  # seconds that each loop rests in addition while Postgres takes no writes
LAST_ROUND = 5.0  # seconds that a stopping worker waits for rounds of loops that can't be cut

#: One round of what a worker does by itself.
Work = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker process is made of."""

    db: Database
    audit_db: Database
    webhooks_db: Database  # connects when there is a webhook to apply
    redis: JobQueue
    runner: Runner
    dispatcher: Dispatcher  # the lane of generations
    jobs: Sequence[JobWorker]  # the other lanes
    auditor: Auditor
    presence: Heartbeat


async def run_worker(settings: Settings) -> None:
    """Run until SIGINT or SIGTERM; then take nothing new, wait for what runs, and hand over what takes too long.

    Raises SettingsError where the folder of digests isn't there.
    """
    if problems := settings.money.folder_problems():
        raise SettingsError("\n".join(problems))
    observe.start(settings, "worker")
    stopping, ended = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    parts = _build(settings)
    outages = (parts.db.outage, parts.redis.outage)
    loops = [asyncio.create_task(repeat(*loop, until=ended, outages=outages)) for loop in _loops(settings, parts)]
    log.info("worker_started", worker=parts.runner.worker, postgres=parts.db.url.address, redis=parts.redis.address)
    try:
        await stopping.wait()
    finally:
        grace = settings.workers.shutdown_grace
        await asyncio.gather(parts.dispatcher.aclose(grace), *(jobs.aclose(grace) for jobs in parts.jobs))
        await parts.runner.dependencies.detached.aclose()
        ended.set()
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops, timeout=LAST_ROUND)
        await _close(parts)
        log.info("worker_stopped", worker=parts.runner.worker)
        await asyncio.to_thread(observe.stop)


def _build(settings: Settings) -> Parts:
    url = settings.server.database_url.get_secret_value()
    pool_size, timeout = max(settings.server.database_pool_size, 4), settings.server.statement_timeout
    remind = settings.observability.outage_reminder
    outage = Outage("postgres", remind=remind)  # of one server, however many pools there are
    database = partial(Database, settings.server.traffic, statement_timeout=timeout, outage=outage)
    db = database(role=WORKER_ROLE, pool_size=pool_size)
    # For statements that read whole tables: two connections for audits, one for the digest of the day. Past a pooler:
    # its connections are for short work, and the auditor's lock and search_path belong to a session.
    audit_db = Database(url, role=WORKER_ROLE, pool_size=3, statement_timeout=settings.audit.timeout, outage=outage)
    redis = connect(settings.server.redis_url.get_secret_value(), outage=Outage("redis", remind=remind))
    runner = build_runner(settings, db)
    dispatcher = Dispatcher(runner, slots=settings.workers.concurrency, most=settings.workers.slots_per_user)
    webhooks_db = database(role=WEBHOOKS_ROLE, pool_size=2)
    audit_limits = AuditLimits(
        interval=settings.audit.interval,
        files=settings.audit.files,
        lease_seconds=settings.workers.lease_seconds,
        removes_uploads=settings.audit.removes_uploads,
    )
    tools = lanes.Tools(runner, dispatcher, webhooks_db, build_sources(settings))
    run_job = partial(lanes.run, tools)
    return Parts(
        db=db,
        audit_db=audit_db,
        webhooks_db=webhooks_db,
        redis=redis,
        runner=runner,
        dispatcher=dispatcher,
        jobs=job_workers(redis, run_job, settings.workers.other_slots),
        auditor=Auditor(audit_db, runner.dependencies.storages, audit_limits),
        presence=Heartbeat(db, runner.worker, settings.workers.concurrency),
    )


def job_workers(redis: JobQueue, run: Run, slots: int) -> list[JobWorker]:
    """Return what runs the jobs of each queue; all know all kinds, because older versions have but one queue."""
    return [JobWorker(redis, lanes.HANDLERS, run, slots=slots, queue=queue) for queue in lanes.QUEUES]


def _loops(settings: Settings, parts: Parts) -> list[tuple[str, float, Work]]:
    """Return what a worker does by itself: names, seconds between two rounds, and rounds."""
    db, redis, dispatcher, sweeper = parts.db, parts.redis, parts.dispatcher, Sweeper(parts.db)
    return [
        ("presence", RENEW_EVERY, parts.presence.renew),
        ("wake_ups", POLL_EVERY, lambda: dispatcher.poll(redis)),
        *(("jobs", POLL_EVERY, jobs.poll) for jobs in parts.jobs),
        ("relay", RELAY_EVERY, lambda: relay(db, redis, lanes.QUEUES)),
        ("look", LOOK_EVERY, dispatcher.look),  # by which all is done that Redis doesn't tell of
        ("sweep", SWEEP_EVERY, sweeper.sweep),
        ("tidy", TIDY_EVERY, lambda: tidy(db, settings.providers.timeout, settings.retention.ai_operations_days)),
        ("erase_again", TIDY_EVERY, lambda: _recall(parts.runner.dependencies)),
        ("expire_uploads", UPLOADS_EVERY, lambda: uploads.expire(db, days=settings.retention.unused_asset_days)),
        ("forget_users", FORGET_EVERY, lambda: forget(db)),
        ("digest", TIDY_EVERY, lambda: digest_of_the_day(db, parts.audit_db, settings.money.digest_dir or None)),
        ("forget_events", TIDY_EVERY, lambda: prune(db, days=settings.retention.webhook_events_days)),
        ("forget_keys", TIDY_EVERY, lambda: prune_keys(db, hours=settings.retention.idempotency_hours)),
        ("audit", min(AUDIT_EVERY, settings.audit.interval), parts.auditor.round),
    ]


async def _recall(dependencies: RunDependencies) -> None:
    """Call for what is to be erased in storages that are set up now, and was not when it was deleted."""
    storages = list(dependencies.storages.by_name)
    await erase.recall(dependencies.db, storages)
    await uploads.recall(dependencies.db, storages)


async def repeat(
    name: str, seconds: float, work: Work, *, until: asyncio.Event, outages: Sequence[Outage] = ()
) -> None:
    """Do a round of `work` again and again, `seconds` apart, until the event is set. What fails in one is logged.

    A failure while one of the `outages` is on is not: that has been said already, once for all loops.
    The event, because a cancellation alone may get lost: Python 3.11's `asyncio.wait_for`, in redis-py, swallows some.
    """
    while not until.is_set():
        pause = max(seconds, PAUSE)
        try:
            await work()
            pause = seconds
        except (Unavailable, *REDIS_AWAY) as error:
            if not any(outage.is_on for outage in outages):
                log.warning("loop_interrupted", loop=name, error=type(error).__name__)
        except Exception as error:  # the loops must outlive a bug in one round, and tell
            log.exception("loop_failed", loop=name)
            observe.report(error)
        if any(outage.takes_no_writes for outage in outages):  # also where a round deals with its failures by itself
            pause += LONG_PAUSE
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await until.wait()


async def _close(parts: Parts) -> None:
    """Close all connections, and take the worker's row away."""
    with suppress(*REDIS_AWAY):
        await parts.redis.aclose(close_connection_pool=True)
    await parts.presence.leave()
    await parts.runner.dependencies.gate.aclose()
    await close(parts.runner.dependencies.providers, parts.runner.dependencies.storages)
    await parts.webhooks_db.close()
    await parts.audit_db.close()
    await parts.db.close()


async def close(providers: Providers, storages: Storages) -> None:
    """Close the connections of all adapters."""
    await close_providers(providers)
    for storage in storages.by_name.values():
        await storage.aclose()


def build_runner(settings: Settings, db: Database) -> Runner:
    """Make what runs generations, from the settings."""
    limits = Limits(
        lease_seconds=settings.workers.lease_seconds,
        heartbeat_seconds=settings.workers.heartbeat_seconds,
        max_attempts=settings.generations.max_attempts,
    )
    vendors = {name for each in CAPABILITIES for name in settings.providers_for(each)} - {OFFLINE}
    call_limits = CallLimits(
        in_flight=dict.fromkeys(vendors, settings.providers.concurrency),
        timeout=settings.providers.timeout,
        breaker_failures=settings.providers.breaker_failures,
        breaker_cooldown=settings.providers.breaker_cooldown,
        retry_max_wait=settings.generations.retry_max_wait,
        prices=settings.providers.vendor_prices,
    )
    dependencies = RunDependencies(
        db=db,
        providers=build_providers(settings),
        storages=build_storages(settings),
        gate=Gate(db, call_limits),
        retry=RetryPolicy(
            settings.generations.max_retries, settings.generations.retry_max_wait, collect_again=settings.providers.poll
        ),
    )
    name = f"{platform.node()}:{secrets.token_hex(2)}:{os.getpid()}"  # containers may share host name and number
    price_list(settings)  # a price that the API would refuse stops a worker, too
    return Runner(dependencies, operations(settings), limits, name)
