"""The auditor, which checks the invariants of the running system."""

from pydantic import Field

from tallyframe.settings.group import Group
from tallyframe.settings.values import Seconds


class AuditSettings(Group):
    """How often it looks, at how much, and what it may remove."""

    #: Seconds between two checks of an invariant; a check that takes long is made less often.
    interval: Seconds = Field(300.0, alias="TALLYFRAME_AUDIT_INTERVAL")
    #: Files that are looked for in the storages per interval.
    files: int = Field(200, alias="TALLYFRAME_AUDIT_FILES", ge=1, le=10_000)
    #: Seconds per SQL statement of the auditor: some read whole tables.
    timeout: Seconds = Field(300.0, alias="TALLYFRAME_AUDIT_TIMEOUT")
    #: Files of uploads that are a day old and that nothing refers to.
    removes_uploads: bool = Field(default=False, alias="TALLYFRAME_AUDIT_REMOVES_UPLOADS")
