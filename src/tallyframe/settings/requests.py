"""What one client may send, how slowly, and how much one process takes from all of them."""

from pydantic import Field

from tallyframe.settings.group import Group
from tallyframe.settings.values import Seconds

_KIB = 1024
_MIB = 1024 * 1024


class RequestSettings(Group):
    """Limits on connections, headers and bodies. They hold before anybody has signed in."""

    #: Per process; fewer where the process may open fewer files.
    max_connections: int = Field(1000, alias="TALLYFRAME_MAX_CONNECTIONS", ge=10, le=100_000)
    max_header_bytes: int = Field(64 * _KIB, alias="TALLYFRAME_MAX_HEADER_BYTES", ge=8 * _KIB, le=_MIB)
    #: Bytes of a request's path and query.
    max_target_bytes: int = Field(4 * _KIB, alias="TALLYFRAME_MAX_TARGET_BYTES", ge=_KIB, le=64 * _KIB)
    #: Seconds until a request's headers must be complete, from the connection's or the request's first byte.
    header_timeout: Seconds = Field(10.0, alias="TALLYFRAME_HEADER_TIMEOUT")
    #: Seconds that a client may stop reading an answer.
    stalled_timeout: Seconds = Field(60.0, alias="TALLYFRAME_STALLED_TIMEOUT")
    #: Bytes of a body that is no form.
    max_json_bytes: int = Field(64 * _KIB, alias="TALLYFRAME_MAX_JSON_BYTES", ge=16 * _KIB, le=_MIB)
    #: Seconds for a whole body.
    body_timeout: Seconds = Field(300.0, alias="TALLYFRAME_BODY_TIMEOUT")
    #: Bytes per second, as the mean of ten seconds.
    min_body_rate: int = Field(4 * _KIB, alias="TALLYFRAME_MIN_BODY_RATE", ge=1, le=_MIB)
    #: Bytes of all bodies together that a process has taken in and not yet answered.
    max_bytes_in_flight: int = Field(256 * _MIB, alias="TALLYFRAME_MAX_BYTES_IN_FLIGHT", ge=_MIB, le=64 * 1024 * _MIB)
    #: Seconds for which a process answers "unchanged" from the state of a project that it has read; 0: it always reads.
    tag_memory_seconds: float = Field(1.0, alias="TALLYFRAME_TAG_MEMORY_SECONDS", ge=0, le=60)
    #: Projects whose state one process remembers.
    tag_memory_projects: int = Field(10_000, alias="TALLYFRAME_TAG_MEMORY_PROJECTS", ge=1, le=10_000_000)
