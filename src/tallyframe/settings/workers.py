"""The life of a generation, and the workers that run it."""

from pydantic import Field

from tallyframe.settings.group import Group
from tallyframe.settings.values import Seconds


class GenerationSettings(Group):
    """How long a generation lives, and how often it is tried."""

    max_age: Seconds = Field(3600.0, alias="TALLYFRAME_GENERATION_MAX_AGE")  # seconds from acceptance to `expired`
    #: Further tries at a provider after a failure that may pass.
    max_retries: int = Field(3, alias="TALLYFRAME_MAX_RETRIES", ge=0, le=20)
    #: Seconds; a vendor that asks for more patience is given up.
    retry_max_wait: Seconds = Field(300.0, alias="TALLYFRAME_RETRY_MAX_WAIT")
    #: Tries without retries: of what takes its workers down.
    max_attempts: int = Field(20, alias="TALLYFRAME_MAX_ATTEMPTS", ge=1, le=1000)


class WorkerSettings(Group):
    """What a worker process takes on, and how it shows that it lives."""

    concurrency: int = Field(10, alias="TALLYFRAME_WORKER_CONCURRENCY", ge=1, le=1000)  # generations at once
    #: Of these, generations of one user; 0: four fifths.
    user_slots: int = Field(0, alias="TALLYFRAME_WORKER_USER_SLOTS", ge=0, le=1000)
    #: Other jobs at once, such as erasing; and as many withdrawals.
    other_slots: int = Field(4, alias="TALLYFRAME_WORKER_OTHER_SLOTS", ge=1, le=100)
    #: Threads that decode what vendors send.
    media_threads: int = Field(2, alias="TALLYFRAME_WORKER_MEDIA_THREADS", ge=1, le=64)
    #: Seconds; a worker that has not renewed its lease for longer has lost its generation.
    lease_seconds: Seconds = Field(30.0, alias="TALLYFRAME_LEASE_SECONDS")
    heartbeat_seconds: Seconds = Field(8.0, alias="TALLYFRAME_HEARTBEAT_SECONDS")
    #: Seconds a stopping worker waits for its generations; more than a call takes.
    shutdown_grace: Seconds = Field(130.0, alias="TALLYFRAME_SHUTDOWN_GRACE")

    @property
    def slots_per_user(self) -> int:
        """How many generations of one user a worker runs at once: with more than one slot, one is left for others."""
        return self.user_slots or max(self.concurrency * 4 // 5, 1)

    def problems(self) -> list[str]:
        """Return a line if a worker could lose its lease between two signs of life."""
        if self.heartbeat_seconds * 2 <= self.lease_seconds:
            return []
        return ["TALLYFRAME_HEARTBEAT_SECONDS: must be at most half of TALLYFRAME_LEASE_SECONDS"]
