"""The kinds of values that settings take, and how they are read from the environment's strings."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from tallyframe.catalog import Capability, known
from tallyframe.servers.postgres_url import ROLE, parse_postgres_url
from tallyframe.servers.redis_url import check_redis_url

MIN_JWT_SECRET = 32  # bytes, as RFC 7518 section 3.2 asks of HS256
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,}={0,2}")


def _split(value: object) -> object:
    """Turn "a, b", which may be a secret, into ("a", "b"); leave what is no string alone."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else value


def _json(value: object) -> object:
    """Read JSON, if it is a string."""
    try:
        return json.loads(value, parse_float=Decimal) if isinstance(value, str) else value
    except ValueError:
        raise ValueError('is not JSON such as {"image": 5}') from None


def known_providers(capability: Capability) -> AfterValidator:
    """Return the check that each name is that of a provider with this capability, and stands there once."""

    def check(names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in known(capability)]
        if unknown:
            raise ValueError(f"unknown provider {unknown[0]!r}; known are: {', '.join(known(capability))}")
        if len(set(names)) < len(names):
            raise ValueError("names a provider twice")
        return names

    return AfterValidator(check)


def _issuer(value: str) -> str:
    if value == "local":
        raise ValueError("'local' means the users who were added by the command line")
    return value


def _jwt_secret(value: SecretStr) -> SecretStr:
    if 0 < len(value.get_secret_value().encode()) < MIN_JWT_SECRET:
        raise ValueError(f"needs at least {MIN_JWT_SECRET} bytes")
    return value


def _server_url(check: Callable[[str], object]) -> AfterValidator:
    """Return the check of a server's URL, where one is set. `check` raises ValueError."""

    def checked(value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            check(value.get_secret_value())
        return value

    return AfterValidator(checked)


def _pooler_url(url: str) -> None:
    if ROLE not in url:
        raise ValueError(f"needs {ROLE} in it, for the user or the database that acts as each role: docs/poolers.md")
    _replica_url(url)


def _replica_url(url: str) -> None:
    parse_postgres_url(url, role="tallyframe_admin")


def _webhook_secrets(values: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not all(_WEBHOOK_SECRET.fullmatch(value.get_secret_value()) for value in values):
        raise ValueError("each must be 'whsec_' and at least 24 bytes in base64")
    return values


class VendorPrice(BaseModel):
    """What a vendor takes for a model, in US dollars: per million tokens, and per second of video."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Annotated[Decimal, Field(ge=0, le=100_000)] = Decimal(0)
    output: Annotated[Decimal, Field(ge=0, le=100_000)] = Decimal(0)
    second: Annotated[Decimal, Field(ge=0, le=1_000)] = Decimal(0)


Price = Annotated[int, Field(ge=0, le=1_000_000)]
Prices = Annotated[dict[str, Price], BeforeValidator(_json)]
VendorPrices = Annotated[dict[str, VendorPrice], BeforeValidator(_json)]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(_split)]
SecretList = Annotated[tuple[SecretStr, ...], BeforeValidator(_split)]
WebhookSecrets = Annotated[SecretList, AfterValidator(_webhook_secrets)]
JwtSecret = Annotated[SecretStr, AfterValidator(_jwt_secret)]
PostgresAddress = Annotated[SecretStr, _server_url(parse_postgres_url)]
PoolerAddress = Annotated[SecretStr, _server_url(_pooler_url)]
ReplicaAddress = Annotated[SecretStr, _server_url(_replica_url)]
RedisAddress = Annotated[SecretStr, _server_url(check_redis_url)]
Issuer = Annotated[str, AfterValidator(_issuer)]
Url = Annotated[str, Field(pattern=r"^$|^https?://[^\s/]+(/[^\s]*)?$")]
