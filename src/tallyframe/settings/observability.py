"""What operators see: logs, metrics, error reports and traces."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from tallyframe.settings.group import Group
from tallyframe.settings.values import Seconds


class ObservabilitySettings(Group):
    """Where it goes, and how much of it."""

    log_format: Literal["json", "console"] = Field("json", alias="TALLYFRAME_LOG_FORMAT")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="TALLYFRAME_LOG_LEVEL")
    #: Seconds between two warnings that a server is away.
    outage_reminder: Seconds = Field(30.0, alias="TALLYFRAME_OUTAGE_REMINDER")
    #: Seconds that /metrics may reuse a reading.
    metrics_max_age: Annotated[float, Field(ge=0, le=3600)] = Field(5.0, alias="TALLYFRAME_METRICS_MAX_AGE")
    sentry_dsn: SecretStr = Field(SecretStr(""), alias="SENTRY_DSN")
    otlp_endpoint: str = Field("", alias="OTEL_EXPORTER_OTLP_ENDPOINT")
