"""Every setting, read once from the environment (and `.env`) by the entry points. Nothing else reads the environment.

Own settings start with TALLYFRAME_; those of other products keep the names that these document.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_PRICES = {"image": 5, "video": 10}
KNOWN_PROVIDERS = ("offline",)

Price = Annotated[int, Field(ge=0, le=1_000_000)]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


def _split(value: object) -> object:
    """Turn "a, b" into ("a", "b"); leave what is no string alone."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _json(value: object) -> object:
    """Read JSON, if it is a string."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError('is not JSON such as {"image": 5}') from None


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in KNOWN_PROVIDERS]
    if unknown:
        raise ValueError(f"unknown provider {unknown[0]!r}; known are: {', '.join(KNOWN_PROVIDERS)}")
    return names


CommaList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
ProviderList = Annotated[CommaList, AfterValidator(_known)]


class SettingsError(Exception):
    """The settings are wrong. The message has one line per problem, each naming its variable."""


class Settings(BaseSettings):
    """All settings with their defaults and units. Frozen; secrets don't show in `repr`."""

    model_config = SettingsConfigDict(env_prefix="TALLYFRAME_", env_file=".env", extra="ignore", frozen=True)

    env: Literal["development", "production"] = "development"
    database_url: SecretStr = SecretStr("")
    redis_url: SecretStr = SecretStr("")
    public_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://[^\s/]+(/[^\s]*)?$")
    data_dir: Path = Path(".tallyframe")  # local media live in its folder `media`
    cors_origins: CommaList = ()

    # Money, in credits
    signup_credits: int = Field(20, ge=0, le=1_000_000)
    prices: Annotated[dict[str, Price], NoDecode, BeforeValidator(_json)] = {}

    # Vendors and storage
    image_providers: ProviderList = ()
    video_providers: ProviderList = ()
    storage: Literal["local"] = "local"

    # Sign-in
    auth_issuer: str = ""
    auth_jwks_url: str = ""
    auth_audience: str = ""
    auth_authorized_parties: CommaList = ()

    # Limits
    max_active_generations: int = Field(1000, ge=1, le=100_000)  # per user
    max_upload_bytes: int = Field(5 * 1024 * 1024, ge=1024, le=100 * 1024 * 1024)  # bytes per picture
    max_image_pixels: int = Field(40_000_000, ge=10_000, le=500_000_000)  # pixels per picture
    fetch_timeout: Seconds = 10.0  # seconds, for a picture given by URL
    max_video_seconds: int = Field(8, ge=1, le=60)  # seconds

    # The life of a generation
    generation_max_age: Seconds = 3600.0  # seconds from acceptance to `expired`
    max_retries: int = Field(3, ge=0, le=20)  # further tries after a retryable failure
    max_attempts: int = Field(20, ge=1, le=1000)  # tries in all, lost workers included
    lease_seconds: Seconds = 30.0  # a worker silent for longer has lost its generation
    heartbeat_seconds: Seconds = 8.0

    # Processes
    worker_concurrency: int = Field(10, ge=1, le=1000)  # generations at once per worker
    database_pool_size: int = Field(10, ge=1, le=500)  # connections per process
    statement_timeout: Seconds = 15.0  # seconds per SQL statement
    shutdown_grace: Seconds = 25.0  # seconds a worker waits for its generations when it is asked to stop
    upload_threads: int = Field(2, ge=1, le=64)  # pictures decoded at once per API process; one may take 0.5 GB

    # Observability
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_max_age: Annotated[float, Field(ge=0, le=3600)] = 5.0  # seconds that /metrics may reuse a reading
    sentry_dsn: SecretStr = Field(SecretStr(""), validation_alias="SENTRY_DSN")
    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        problems = [
            *self._auth_problems(),
            *self._production_problems(),
            *self._lease_problems(),
            *self._price_problems(),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _auth_problems(self) -> list[str]:
        if not self.auth_issuer:
            return []
        if not self.auth_audience and not self.auth_authorized_parties:
            return ["TALLYFRAME_AUTH_AUDIENCE or TALLYFRAME_AUTH_AUTHORIZED_PARTIES: one is needed with an issuer"]
        return []

    def _production_problems(self) -> list[str]:
        if self.env != "production":
            return []
        named = {"IMAGE_PROVIDERS": self.image_providers, "VIDEO_PROVIDERS": self.video_providers}
        return [
            f"TALLYFRAME_{name}: must be named in production, where nothing falls back to 'offline' by itself"
            for name, value in named.items()
            if not value
        ]

    def _lease_problems(self) -> list[str]:
        if self.heartbeat_seconds * 2 <= self.lease_seconds:
            return []
        return ["TALLYFRAME_HEARTBEAT_SECONDS: must be at most half of TALLYFRAME_LEASE_SECONDS"]

    def _price_problems(self) -> list[str]:
        unknown = sorted(set(self.prices) - set(DEFAULT_PRICES))
        known = ", ".join(DEFAULT_PRICES)
        return [f"TALLYFRAME_PRICES: unknown operation {name!r}; known are: {known}" for name in unknown]

    @property
    def price_list(self) -> dict[str, int]:
        """Credits per operation: the defaults, with TALLYFRAME_PRICES over them."""
        return DEFAULT_PRICES | self.prices

    @property
    def jwks_url(self) -> str:
        """Where the issuer's keys are: as set, or at the issuer's well-known place."""
        return self.auth_jwks_url or f"{self.auth_issuer.rstrip('/')}/.well-known/jwks.json"

    @property
    def providers_for_images(self) -> tuple[str, ...]:
        """The ordered provider names for images; offline when none is named."""
        return self.image_providers or ("offline",)

    @property
    def providers_for_videos(self) -> tuple[str, ...]:
        """The ordered provider names for videos; offline when none is named."""
        return self.video_providers or ("offline",)


def load_settings(*, needs: Sequence[str] = (), **overrides: object) -> Settings:
    """Read the settings; `overrides` win over the environment.

    Raise SettingsError, one line per problem, also when one of `needs` (field names) is not set.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]  # the names are checked by the model itself
    except ValidationError as error:
        raise SettingsError("\n".join(_problem_lines(error))) from None
    missing = [name for name in needs if not getattr(settings, name).get_secret_value()]
    if missing:
        raise SettingsError("\n".join(f"TALLYFRAME_{name.upper()}: is not set" for name in missing))
    return settings


def environment() -> dict[str, str]:
    """Return the environment, for child processes."""
    return dict(os.environ)


def export(values: Mapping[str, str]) -> None:
    """Set settings for this process and its children, by field name."""
    os.environ.update({f"TALLYFRAME_{name.upper()}": value for name, value in values.items()})


def _problem_lines(error: ValidationError) -> list[str]:
    lines: list[str] = []
    for problem in error.errors(include_input=False, include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        known_prefix = name.startswith(("SENTRY_", "OTEL_")) or not name
        lines.extend([message] if not name else [f"{name if known_prefix else 'TALLYFRAME_' + name}: {message}"])
    return [line for message in lines for line in message.splitlines()]
