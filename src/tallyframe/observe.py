"""Error reports to Sentry and traces by OpenTelemetry; nothing is sent unless they are configured."""

import sentry_sdk
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from sentry_sdk.integrations.logging import LoggingIntegration

from tallyframe.redaction import scrubbed
from tallyframe.settings import Settings

tracer = trace.get_tracer("tallyframe")


def start(settings: Settings, process: str) -> None:
    """Start error reports (SENTRY_DSN) and traces (OTEL_EXPORTER_OTLP_ENDPOINT) for this process."""
    if dsn := settings.observability.sentry_dsn.get_secret_value():
        sentry_sdk.init(
            dsn=dsn,
            environment=settings.server.env,
            send_default_pii=False,
            include_local_variables=False,  # they hold prompts and pictures
            auto_enabling_integrations=False,
            disabled_integrations=[LoggingIntegration()],  # it would send what `report` sends a second time
            before_send=lambda event, _hint: scrubbed(event),
        )
        sentry_sdk.set_tag("process", process)
    if settings.observability.otlp_endpoint:
        provider = TracerProvider(resource=Resource.create({"service.name": f"tallyframe-{process}"}))
        exporter = OTLPSpanExporter(endpoint=f"{settings.observability.otlp_endpoint.rstrip('/')}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(provider)


def stop() -> None:
    """Send the reports and traces that are still queued; blocks for at most 5 seconds."""
    sentry_sdk.flush(timeout=2)
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(timeout_millis=3000)


def report(error: BaseException) -> None:
    """Send a bug to Sentry, if Sentry is configured."""
    sentry_sdk.capture_exception(error)
