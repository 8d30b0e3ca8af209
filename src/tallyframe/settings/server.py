"""What every process needs to know: where it is, and which servers it uses."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from tallyframe.servers.postgres_url import DATABASE, POOLER, REPLICA, Address
from tallyframe.settings.group import Group
from tallyframe.settings.origins import Origins, Proxies
from tallyframe.settings.values import PoolerAddress, PostgresAddress, RedisAddress, ReplicaAddress, Seconds


class ServerSettings(Group):
    """The installation as a whole, and its connections."""

    env: Literal["development", "production"] = Field("development", alias="TALLYFRAME_ENV")
    database_url: PostgresAddress = Field(SecretStr(""), alias=DATABASE)
    #: For what is short and frequent, a pooler in transaction mode; what needs a session of its own goes past it.
    pooler_url: PoolerAddress = Field(SecretStr(""), alias=POOLER)
    #: For reads that may lag.
    replica_url: ReplicaAddress = Field(SecretStr(""), alias=REPLICA)
    #: Seconds that the replica may be behind.
    replica_max_lag: Seconds = Field(10.0, alias="TALLYFRAME_REPLICA_MAX_LAG")
    redis_url: RedisAddress = Field(SecretStr(""), alias="TALLYFRAME_REDIS_URL")
    public_url: str = Field(
        "http://127.0.0.1:8000", alias="TALLYFRAME_PUBLIC_URL", pattern=r"^https?://[^\s/]+(/[^\s]*)?$"
    )
    data_dir: Path = Field(Path(".tallyframe"), alias="TALLYFRAME_DATA_DIR")  # local media live in its folder `media`
    cors_origins: Origins = Field((), alias="TALLYFRAME_CORS_ORIGINS")
    #: Addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    trusted_proxies: Proxies = Field(("127.0.0.1",), alias="TALLYFRAME_TRUSTED_PROXIES")
    #: Seconds that a connection without a request stays open; longer than balancers hold one.
    keep_alive: int = Field(75, alias="TALLYFRAME_KEEP_ALIVE", ge=1, le=3600)
    #: Connections per process.
    database_pool_size: int = Field(10, alias="TALLYFRAME_DATABASE_POOL_SIZE", ge=1, le=500)
    #: Seconds per SQL statement, and that a transaction may stand still.
    statement_timeout: Seconds = Field(15.0, alias="TALLYFRAME_STATEMENT_TIMEOUT")

    @property
    def traffic(self) -> Address:
        """Where what is short and frequent goes."""
        if pooler := self.pooler_url.get_secret_value():
            return Address(pooler, POOLER)
        return Address(self.database_url.get_secret_value())
