"""Builds the web app: settings → database, ports → routers. Every router is listed here."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from math import nan
from typing import Any
from uuid import UUID

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from tallyframe import observe
from tallyframe.accounts.jwks import Jwks
from tallyframe.accounts.session_tokens import SessionTokens
from tallyframe.api import (
    account,
    assets,
    direct,
    docs_files,
    document,
    explore,
    generations,
    health,
    media,
    metrics,
    orders,
    problems,
    projects,
    webhooks,
)
from tallyframe.api.admin import (
    ai_operations,
    audit,
    generations as admin_generations,
    log as admin_log,
    stats,
    users as admin_users,
    webhooks as admin_webhooks,
)
from tallyframe.api.browsers import Browsers
from tallyframe.api.connections import connection_limits
from tallyframe.api.dependencies import Memory, Services
from tallyframe.api.limits import BodyLimits
from tallyframe.api.middleware import Direct, Edge, Guard
from tallyframe.assets.decoders import Decoders
from tallyframe.assets.fetch import fetch_picture
from tallyframe.assets.line import Bounds, Line
from tallyframe.assets.lookups import Lookups
from tallyframe.connecting import LOCK_PATIENCE
from tallyframe.db import ADMIN_ROLE, API_ROLE, Database, LaggingReads, Replica
from tallyframe.generations.accept.order import Terms
from tallyframe.logs import configure_logs
from tallyframe.operations.base import OrderLimits
from tallyframe.operations.fields import MAX_PICTURES
from tallyframe.operations.registry import operations, price_list
from tallyframe.outbox.relay import connect
from tallyframe.parent import end_with_parent
from tallyframe.providers.registry import offers
from tallyframe.servers.outage import Outage
from tallyframe.servers.postgres_url import REPLICA, Address
from tallyframe.settings import Settings, load_settings
from tallyframe.storages.registry import build_storages
from tallyframe.webhooks.registry import build_sources

_ROUTERS = (
    orders.router,
    projects.router,
    assets.router,
    generations.router,
    explore.router,
    account.router,
    webhooks.router,
    ai_operations.router,
    admin_users.router,
    admin_generations.router,
    admin_log.router,
    admin_webhooks.router,
    audit.router,
    stats.router,
    media.router,
    docs_files.router,
    health.router,
    metrics.router,
)

#: All that is served. It is built once, however many apps there are: each test has its own.
ROUTES = APIRouter(strict_content_type=False)  # without a type, a body is taken for JSON on each route
for _router in _ROUTERS:
    ROUTES.include_router(_router)

#: Connections for work that belongs to no user: sign-in, webhooks, Explore, administrators.
SYSTEM_POOL_SIZE = 4

#: Room for the fields beside the pictures, in bytes.
FORM_OVERHEAD = 1024 * 1024


def serve() -> FastAPI:
    """Return the app for an API process: logs configured, settings from the environment.

    One of several processes ends with the one that has started it.
    """
    end_with_parent()
    settings = load_settings(needs=("database_url", "redis_url"))
    configure_logs(settings.observability.log_format, settings.observability.log_level, "api")
    app = create_app(settings, is_process=True)
    gc.collect()
    gc.freeze()  # all objects of the start stay; a collection that visits them would stop every request for 100 ms
    return app


def check(settings: Settings) -> None:
    """Raise SettingsError for what only the adapters can tell of their settings."""
    build_storages(settings)
    _terms(settings)


DESCRIPTION = """Turns prompts and pictures into images, videos and texts, and counts every credit on the way.

Order an image or a video with `POST /v1/projects`, or anything that `GET /v1/operations` lists with
`POST /v1/generations`. Both answer 202 at once. Poll what the `Location` header names, at the pace of `Retry-After`,
until that header is no longer there. What fails is refunded. Errors are `application/problem+json`."""


def create_app(settings: Settings, *, is_process: bool = False) -> FastAPI:
    """Return the app for these settings. One that is all of its process logs its start, and which server is away."""
    observe.start(settings, "api")
    app = FastAPIOffline(  # FastAPI, except that the docs page fetches nothing from elsewhere
        title="Tallyframe",
        version=version("tallyframe"),
        description=DESCRIPTION,
        lifespan=partial(_lifespan, settings=settings, is_process=is_process),
        routes=ROUTES.routes,
        redoc_url=None,
        # Spans are OpenTelemetry's own, metrics and logs are ours.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,  # a redirect repeats the request's Host, and loses the https of a proxy
    )
    problems.install(app)
    app.add_middleware(Direct, served=direct.served(_ROUTERS))
    app.add_middleware(Guard, most_target=settings.requests.max_target_bytes)
    if settings.server.cors_origins:
        app.add_middleware(Browsers, origins=settings.server.cors_origins)
    # The last one added is the outermost: preflights, too, carry a request id.
    app.add_middleware(Edge, bounds=_body_limits(settings))
    if settings.observability.otlp_endpoint:
        FastAPIInstrumentor.instrument_app(app)
    document.serve(app)
    return app


def _body_limits(settings: Settings) -> BodyLimits:
    requests = settings.requests
    return BodyLimits(
        form_bytes=MAX_PICTURES * settings.limits.max_upload_bytes + FORM_OVERHEAD,
        other_bytes=requests.max_json_bytes,
        seconds=requests.body_timeout,
        bytes_per_second=requests.min_body_rate,
        bytes_in_flight=requests.max_bytes_in_flight,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI, *, settings: Settings, is_process: bool) -> AsyncIterator[dict[str, Any]]:
    remind = settings.observability.outage_reminder
    outage = Outage("postgres", remind=remind)
    db = _database(settings, API_ROLE, settings.server.database_pool_size, outage)
    system = _database(settings, ADMIN_ROLE, SYSTEM_POOL_SIZE, outage)
    office = system.in_part(2)
    monitor = _database(settings, ADMIN_ROLE, 1, outage)  # for metrics alone: sign-in must not wait for them
    replica = _replica(settings, system)
    lagging = partial(
        LaggingReads, replica=replica, count=lambda database: metrics.REPLICA_READS.labels(database).inc()
    )
    redis = connect(settings.server.redis_url.get_secret_value(), outage=Outage("redis", remind=remind))
    jwks = Jwks(settings.auth.keys_url) if settings.auth.issuer and settings.auth.keys_url else None
    storages = build_storages(settings)
    bounds = settings.pictures
    decoding = _line(settings, bounds.decoders, bounds.decoders_per_user)
    decoders = Decoders(decoding, cpu_seconds=bounds.cpu_seconds)
    app.state.services = Services(
        settings=settings,
        db=db,
        system=system,
        office=office,
        inbox=system.in_part(2),
        shown=lagging(system),
        listed=lagging(office, share=2),
        queue=redis,
        storages=storages,
        terms=_terms(settings),
        tokens=_tokens(settings, jwks) if settings.auth.issuer else None,
        sources=build_sources(settings),
        fetch=_fetch(settings),
        decoders=decoders,
        states=Memory(settings.requests.tag_memory_projects, settings.requests.tag_memory_seconds),
    )
    app.state.metrics = metrics.shared(
        monitor, lagging(monitor), settings.audit.interval, settings.observability.metrics_max_age
    )
    if is_process:
        await health.look(app.state.services)  # which logs at once, and not with the first order, who is away
    yield {"connection_limits": connection_limits(settings.requests)}
    await asyncio.to_thread(decoders.close)
    if jwks:
        await jwks.aclose()
    for storage in storages.by_name.values():
        await storage.aclose()
    await redis.aclose(close_connection_pool=True)
    for database in (db, system, monitor):
        await database.close()
    if replica:
        await replica.close()
    await asyncio.to_thread(observe.stop)


def _terms(settings: Settings) -> Terms:
    return Terms(
        operations=operations(settings),
        offers=offers(settings),
        prices=price_list(settings),
        limits=OrderLimits(max_video_seconds=settings.limits.max_video_seconds),
        max_active=settings.limits.max_active_generations,
        max_age=timedelta(seconds=settings.generations.max_age),
    )


def _database(settings: Settings, role: str, pool_size: int, outage: Outage) -> Database:
    return Database(
        settings.server.traffic,
        role=role,
        pool_size=pool_size,
        statement_timeout=settings.server.statement_timeout,
        lock_patience=LOCK_PATIENCE,
        outage=outage,
        is_asked_first=role != API_ROLE,
    )


def _replica(settings: Settings, primary: Database) -> Replica | None:
    url = settings.server.replica_url.get_secret_value()
    if not url:
        return None
    db = Database(
        Address(url, REPLICA),
        role=ADMIN_ROLE,
        pool_size=SYSTEM_POOL_SIZE,
        statement_timeout=settings.server.statement_timeout,
        outage=Outage("replica", remind=settings.observability.outage_reminder),
    )
    replica = Replica(db, primary, max_lag=settings.server.replica_max_lag)
    metrics.REPLICA_LAG.set_function(lambda: nan if replica.lag is None else replica.lag)
    return replica


def _tokens(settings: Settings, jwks: Jwks | None) -> SessionTokens:
    return SessionTokens(
        jwks,
        settings.auth.issuer,
        settings.auth.audience or None,
        frozenset(settings.auth.authorized_parties),
        settings.auth.allow_missing_azp,
        shared_secret=settings.auth.jwt_secret.get_secret_value(),
        allow_anonymous=settings.auth.allow_anonymous,
    )


def _fetch(settings: Settings) -> Any:  # noqa: ANN401  # a coroutine function
    bounds, timeout = settings.pictures, settings.limits.fetch_timeout
    fetches = Line("pictures are being fetched", _line(settings, bounds.fetches, bounds.fetches_per_user))
    lookups = Lookups(at_once=bounds.fetches, of_one_user=bounds.fetches_per_user, wait=timeout / 2)

    async def fetch(user_id: UUID, url: str, pointer: str) -> bytes:
        async with fetches.turn(user_id):
            resolve = partial(lookups.resolve, user_id)
            most = settings.limits.max_upload_bytes
            return await fetch_picture(url, max_bytes=most, deadline=timeout, pointer=pointer, resolve=resolve)

    return fetch


def _line(settings: Settings, at_once: int, of_one_user: int) -> Bounds:
    bounds = settings.pictures
    return Bounds(at_once, of_one_user, bounds.waiting, bounds.waiting_per_user, bounds.wait)
