"""Every setting, read once from the environment (and `.env`) by the entry points. Nothing else reads the environment.

Own settings start with TALLYFRAME_; those of other products keep the names that these document.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from tallyframe.catalog import Capability
from tallyframe.redaction import hide
from tallyframe.setting_types import CommaList, Issuer, JwtSecret, Prices, Seconds, WebhookSecrets
from tallyframe.vendor_settings import CatalogVariables, VendorSettings


class SettingsError(Exception):
    """The settings are wrong. The message has one line per problem, each naming its variable."""


class Settings(VendorSettings):
    """All settings with their defaults and units. Frozen; secrets don't show in `repr`."""

    model_config = SettingsConfigDict(
        env_prefix="TALLYFRAME_", env_file=".env", extra="ignore", frozen=True, validate_by_name=True
    )

    database_url: SecretStr = SecretStr("")
    redis_url: SecretStr = SecretStr("")
    public_url: str = Field("http://127.0.0.1:8000", pattern=r"^https?://[^\s/]+(/[^\s]*)?$")
    data_dir: Path = Path(".tallyframe")  # local media live in its folder `media`
    cors_origins: CommaList = ()

    # Money, in credits
    signup_credits: int = Field(20, ge=0, le=1_000_000)
    prices: Prices = Field({})

    digest_dir: str = ""  # folder for the ledger's digest of the day; without it, its root is only logged

    # Sign-in
    auth_issuer: Issuer = ""
    auth_jwks_url: str = ""
    auth_audience: str = ""
    auth_authorized_parties: CommaList = ()
    auth_jwt_secret: JwtSecret = SecretStr("")  # of HS256 tokens
    auth_allow_missing_azp: bool = False
    auth_allow_anonymous: bool = False
    webhook_events_days: int = Field(30, ge=2, le=36_500)  # days that a webhook's event is known when it comes again
    clerk_webhook_secret: WebhookSecrets = Field((), validation_alias="CLERK_WEBHOOK_SIGNING_SECRET")

    # Limits
    max_active_generations: int = Field(1000, ge=1, le=100_000)  # per user
    idempotency_hours: int = Field(24, ge=1, le=8760)  # hours that an Idempotency-Key is kept
    max_upload_bytes: int = Field(5 * 1024 * 1024, ge=1024, le=100 * 1024 * 1024)  # bytes per picture
    max_image_pixels: int = Field(40_000_000, ge=10_000, le=500_000_000)  # pixels per picture
    fetch_timeout: Seconds = 10.0  # seconds, for a picture given by URL
    max_video_seconds: int = Field(8, ge=1, le=60)  # seconds

    # The life of a generation
    generation_max_age: Seconds = 3600.0  # seconds from acceptance to `expired`
    max_retries: int = Field(3, ge=0, le=20)  # further tries at a provider after a retryable failure
    retry_max_wait: Seconds = 300.0  # seconds; a vendor that asks for more patience is given up
    max_attempts: int = Field(20, ge=1, le=1000)  # tries without retries: of what takes its workers down
    lease_seconds: Seconds = 30.0  # a worker silent for longer has lost its generation
    heartbeat_seconds: Seconds = 8.0

    # Processes
    worker_concurrency: int = Field(10, ge=1, le=1000)  # generations at once per worker
    worker_user_slots: int = Field(0, ge=0, le=1000)  # of these, generations of one user; 0: four fifths
    worker_other_slots: int = Field(4, ge=1, le=100)  # other jobs at once per worker: erasing, withdrawing
    database_pool_size: int = Field(10, ge=1, le=500)  # connections per process
    statement_timeout: Seconds = 15.0  # seconds per SQL statement, and that a transaction may stand still
    shutdown_grace: Seconds = 130.0  # seconds a stopping worker waits for its generations; more than a call takes
    upload_threads: int = Field(2, ge=1, le=64)  # pictures decoded at once per API process; one may take 0.5 GB

    # The auditor
    audit_interval: Seconds = 300.0  # seconds between two checks of an invariant; more for those that take long
    audit_files: int = Field(200, ge=1, le=10_000)  # files that are looked for in the storages per interval
    audit_timeout: Seconds = 300.0  # seconds per SQL statement of the auditor: some read whole tables
    audit_removes_uploads: bool = False  # files of uploads that are a day old and that nothing refers to

    # Observability
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_max_age: Annotated[float, Field(ge=0, le=3600)] = 5.0  # seconds that /metrics may reuse a reading
    sentry_dsn: SecretStr = Field(SecretStr(""), validation_alias="SENTRY_DSN")
    otlp_endpoint: str = Field("", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the catalogue's variables from the same places as all others."""
        places = [each for each in (env_settings, dotenv_settings) if isinstance(each, EnvSettingsSource)]
        variables = CatalogVariables(settings_cls, *places)
        return init_settings, env_settings, dotenv_settings, file_secret_settings, variables

    @model_validator(mode="after")
    def _agree(self) -> Self:
        problems = [
            *self._auth_problems(),
            *self.vendor_problems(),
            *self._production_problems(),
            *self._open_problems(),
            *self.storage_problems(),
            *self._lease_problems(),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _auth_problems(self) -> list[str]:
        if self.auth_jwt_secret and not (self.auth_issuer and self.auth_audience):
            return ["TALLYFRAME_AUTH_JWT_SECRET: needs TALLYFRAME_AUTH_ISSUER and TALLYFRAME_AUTH_AUDIENCE"]
        if self.clerk_webhook_secret and not self.auth_issuer:
            return ["CLERK_WEBHOOK_SIGNING_SECRET: needs TALLYFRAME_AUTH_ISSUER"]
        needed = ["TALLYFRAME_AUTH_AUDIENCE or TALLYFRAME_AUTH_AUTHORIZED_PARTIES: one is needed with an issuer"]
        return needed if self.auth_issuer and not (self.auth_audience or self.auth_authorized_parties) else []

    def _production_problems(self) -> list[str]:
        needed: tuple[Capability, ...] = ("image", "video")
        missing = [f"{each.upper()}_PROVIDERS" for each in needed if not self.providers_for(each)]
        said = "must be named in production without a GEMINI_API_KEY: nothing falls back to 'offline'"
        return [f"TALLYFRAME_{name}: {said}" for name in missing]

    def _open_problems(self) -> list[str]:
        """In production, what carries keys or decides who is who must not travel in the open."""
        addresses = {
            "TALLYFRAME_AUTH_ISSUER": self.auth_issuer if not self.auth_jwks_url else "",
            "TALLYFRAME_AUTH_JWKS_URL": self.auth_jwks_url,
            "TALLYFRAME_GEMINI_BASE_URL": self.gemini_base_url,
            "TALLYFRAME_OPENAI_BASE_URL": self.openai_base_url,
            "TALLYFRAME_CLOUDINARY_UPLOAD_PREFIX": self.cloudinary_upload_prefix,
        }
        is_open = {name: url.startswith("http://") and not _is_local(url) for name, url in addresses.items()}
        said = "must be https in production, but on this machine"
        return [f"{name}: {said}" for name, opened in is_open.items() if opened and self.env == "production"]

    def _lease_problems(self) -> list[str]:
        if self.heartbeat_seconds * 2 <= self.lease_seconds:
            return []
        return ["TALLYFRAME_HEARTBEAT_SECONDS: must be at most half of TALLYFRAME_LEASE_SECONDS"]

    @property
    def slots_per_user(self) -> int:
        """How many generations of one user a worker runs at once: with more than one slot, one is left for others."""
        return self.worker_user_slots or max(self.worker_concurrency * 4 // 5, 1)

    @property
    def jwks_url(self) -> str:
        """Where the issuer's keys are: as set, or at its well-known place; empty where a secret alone verifies."""
        well_known = f"{self.auth_issuer.rstrip('/')}/.well-known/jwks.json"
        return self.auth_jwks_url or ("" if self.auth_jwt_secret else well_known)

    def secrets(self) -> list[str]:
        """Return every secret value, and the passwords inside of URLs, for the logs to hide."""
        values = [*(value for _, value in self), *self.variables.values()]
        many = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
        found = [item.get_secret_value() for item in many if isinstance(item, SecretStr)]
        return found + [password for text in found if (password := _password(text))]


def load_settings(*, needs: Sequence[str] = (), **overrides: object) -> Settings:
    """Read the settings; `overrides` win over the environment.

    Raise SettingsError, one line per problem, also when one of `needs` (field names) is not set.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]  # the names are checked by the model itself
    except ValidationError as error:
        raise SettingsError("\n".join(_problem_lines(error))) from None
    hide(settings.secrets())
    missing = [name for name in needs if not getattr(settings, name).get_secret_value()]
    if missing:
        raise SettingsError("\n".join(f"TALLYFRAME_{name.upper()}: is not set" for name in missing))
    return settings


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}


def _password(text: str) -> str | None:
    try:
        return urlsplit(text).password
    except ValueError:  # not a URL at all
        return None


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
