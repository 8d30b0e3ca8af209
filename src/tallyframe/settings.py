"""Every setting, read once from the environment (and `.env`) by the entry points. Nothing else reads the environment.

Own settings start with TALLYFRAME_; those of other products keep the names that these document.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tallyframe.setting_types import (
    DEFAULT_MODELS,
    VERTEX_MODELS,
    CommaList,
    ImageProviders,
    Prices,
    Seconds,
    Url,
    VendorPrices,
    VideoProviders,
)

DEFAULT_PRICES = {"image": 5, "video": 10}


class SettingsError(Exception):
    """The settings are wrong. The message has one line per problem, each naming its variable."""


class Settings(BaseSettings):
    """All settings with their defaults and units. Frozen; secrets don't show in `repr`."""

    model_config = SettingsConfigDict(
        env_prefix="TALLYFRAME_", env_file=".env", extra="ignore", frozen=True, validate_by_name=True
    )

    env: Literal["development", "production"] = "development"
    database_url: SecretStr = SecretStr("")
    redis_url: SecretStr = SecretStr("")
    public_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://[^\s/]+(/[^\s]*)?$")
    data_dir: Path = Path(".tallyframe")  # local media live in its folder `media`
    cors_origins: CommaList = ()

    # Money, in credits
    signup_credits: int = Field(20, ge=0, le=1_000_000)
    prices: Prices = {}

    # Vendors
    image_providers: ImageProviders = ()  # in the order in which they are tried
    video_providers: VideoProviders = ()
    image_model: CommaList = ()  # of the first provider; or a list of provider=model
    video_model: CommaList = ()
    image_size: Literal["512", "1K", "2K", "4K"] = "1K"
    gemini_api_key: SecretStr = Field(SecretStr(""), validation_alias="GEMINI_API_KEY")
    gemini_base_url: Url = ""
    vertex: bool = False  # Google's Enterprise mode
    google_cloud_project: str = Field("", validation_alias="GOOGLE_CLOUD_PROJECT")
    google_cloud_location: str = Field("", validation_alias="GOOGLE_CLOUD_LOCATION")
    provider_timeout: Seconds = 120.0  # seconds per call
    provider_poll: Annotated[float, Field(ge=0.05, le=600)] = 5.0  # seconds between looks at a vendor's ticket
    provider_concurrency: int = Field(8, ge=1, le=1000)  # calls in flight per vendor, of all workers together
    max_media_bytes: int = Field(100 * 1024 * 1024, ge=1024, le=2 * 1024 * 1024 * 1024)  # bytes of a vendor's answer
    breaker_failures: int = Field(5, ge=1, le=1000)  # failures in a row that open the circuit of a provider's model
    breaker_cooldown: Seconds = 30.0  # seconds that it stays open before one order may try again
    vendor_prices: VendorPrices = {}
    ai_operations_days: int = Field(90, ge=1, le=36_500)  # days that a vendor call stays in the log

    # Storage
    storage: Literal["", "local", "cloudinary", "s3"] = ""  # empty: what is configured, else local
    storage_timeout: Seconds = 60.0  # seconds per call
    cloudinary_url: SecretStr = Field(SecretStr(""), validation_alias="CLOUDINARY_URL")
    cloudinary_upload_prefix: Url = ""
    cloudinary_delivery_url: Url = ""
    s3_endpoint_url: Url = ""
    s3_bucket: str = ""
    s3_region: str = "auto"
    s3_public_url: Url = ""  # of a public bucket; empty: addresses are signed
    s3_url_lifetime: Annotated[float, Field(ge=60, le=7 * 24 * 3600)] = 3600.0  # seconds that a signed address works
    aws_access_key_id: SecretStr = Field(SecretStr(""), validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr = Field(SecretStr(""), validation_alias="AWS_SECRET_ACCESS_KEY")

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
    max_retries: int = Field(3, ge=0, le=20)  # further tries at a provider after a retryable failure
    retry_max_wait: Seconds = 300.0  # seconds; a vendor that asks for more patience is given up
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
            *self._vendor_problems(),
            *self._production_problems(),
            *self._storage_problems(),
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

    def _vendor_problems(self) -> list[str]:
        problems = [f"{name}: one of its models names a provider that is not listed" for name in self._stray_models()]
        google = [name for name in (*self.providers_for_images, *self.providers_for_videos) if name != "offline"]
        if google and not self._has_google_access:
            return [*problems, f"GEMINI_API_KEY: is not set, and {google[0]!r} needs it"]
        return problems

    @property
    def _has_google_access(self) -> bool:
        in_cloud = self.vertex and self.google_cloud_project and self.google_cloud_location
        return bool(self.gemini_api_key.get_secret_value() or in_cloud)

    def _stray_models(self) -> list[str]:
        listed = {
            "TALLYFRAME_IMAGE_MODEL": (self.image_model, self.providers_for_images),
            "TALLYFRAME_VIDEO_MODEL": (self.video_model, self.providers_for_videos),
        }
        named = {name: {pair.split("=")[0] for pair in pairs if "=" in pair} for name, (pairs, _) in listed.items()}
        return [name for name, (_, providers) in listed.items() if named[name] - set(providers)]

    def _production_problems(self) -> list[str]:
        if self.env != "production" or self._has_google_access:
            return []
        named = {"IMAGE_PROVIDERS": self.image_providers, "VIDEO_PROVIDERS": self.video_providers}
        return [
            f"TALLYFRAME_{name}: must be named in production without a GEMINI_API_KEY: nothing falls back to 'offline'"
            for name, value in named.items()
            if not value
        ]

    def _storage_problems(self) -> list[str]:
        needed = {
            "cloudinary": {"CLOUDINARY_URL": self.cloudinary_url.get_secret_value()},
            "s3": {
                "TALLYFRAME_S3_BUCKET": self.s3_bucket,
                "TALLYFRAME_S3_ENDPOINT_URL": self.s3_endpoint_url,
                "AWS_ACCESS_KEY_ID": self.aws_access_key_id.get_secret_value(),
                "AWS_SECRET_ACCESS_KEY": self.aws_secret_access_key.get_secret_value(),
            },
        }
        kind = self.storage or ("s3" if self.s3_bucket else "")
        return [
            f"{name}: is not set, and the storage {kind!r} needs it"
            for name, v in needed.get(kind, {}).items()
            if not v
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
        """The ordered provider names for images; when none is named, Gemini if there is a key, else offline."""
        return self.image_providers or (("gemini",) if self._has_google_access else ("offline",))

    @property
    def providers_for_videos(self) -> tuple[str, ...]:
        """The ordered provider names for videos; when none is named, Omni if there is a key, else offline."""
        return self.video_providers or (("omni",) if self._has_google_access else ("offline",))

    def model_of(self, provider: str) -> str:
        """Return the model that a provider is to use: as set for it, or its default."""
        models = dict(VERTEX_MODELS if self.vertex else DEFAULT_MODELS)
        for names, providers in (
            (self.image_model, self.providers_for_images),
            (self.video_model, self.providers_for_videos),
        ):
            for name in names:
                provider_name, separator, model = name.partition("=")
                models[provider_name if separator else providers[0]] = model if separator else name
        return models[provider]

    @property
    def storage_in_use(self) -> Literal["local", "cloudinary", "s3"]:
        """Where new files go: as set, or what is configured."""
        if self.storage:
            return self.storage
        return "cloudinary" if self.cloudinary_url.get_secret_value() else "s3" if self.s3_bucket else "local"


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
        lines.extend([f"{_variable(str(problem['loc'][0]))}: {message}"] if problem["loc"] else [message])
    return [line for message in lines for line in message.splitlines()]


def _variable(location: str) -> str:
    """Return the variable's name for where pydantic found a problem: a field, or already a variable of its own."""
    field = Settings.model_fields.get(location)
    return str(field.validation_alias or f"TALLYFRAME_{location.upper()}") if field else location
