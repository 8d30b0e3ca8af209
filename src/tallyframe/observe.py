"""Sentry and OpenTelemetry, when they are configured; without them, nothing leaves the process."""

from typing import Any

import sentry_sdk
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sentry_sdk.integrations.logging import LoggingIntegration

from tallyframe.logs import HIDDEN, SECRET_NAMES, hidden
from tallyframe.settings import Settings

tracer = trace.get_tracer("tallyframe")


def start(settings: Settings, process: str) -> None:
    """Start error reports (SENTRY_DSN) and traces (OTEL_EXPORTER_OTLP_ENDPOINT) for this process."""
    if dsn := settings.sentry_dsn.get_secret_value():
        sentry_sdk.init(
            dsn=dsn,
            environment=settings.env,
            send_default_pii=False,
            include_local_variables=False,  # they hold prompts and pictures
            auto_enabling_integrations=False,
            disabled_integrations=[LoggingIntegration()],  # we report by `report`, once
            before_send=scrub,
        )
        sentry_sdk.set_tag("process", process)
    if settings.otlp_endpoint:
        provider = TracerProvider(resource=Resource.create({"service.name": f"tallyframe-{process}"}))
        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)


def stop() -> None:
    """Send what has not been sent yet; blocks for at most a few seconds."""
    sentry_sdk.flush(timeout=2)
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(timeout_millis=3000)


def report(error: BaseException) -> None:
    """Tell Sentry about a bug, if it is configured."""
    sentry_sdk.capture_exception(error)


def scrub(event: Any, _hint: Any) -> Any:  # noqa: ANN401  # sentry's own types are dictionaries of anything
    """Return the Sentry event without anything that looks like a secret."""
    return _scrub(event)


def _scrub(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: HIDDEN if SECRET_NAMES.search(str(key)) else _scrub(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_scrub(item) for item in value]
    return hidden(value) if isinstance(value, str) else value
