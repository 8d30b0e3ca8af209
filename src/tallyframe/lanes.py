"""Outbox kinds → lane and handler. New background work is a handler here and a line of `HANDLERS`.

A lane is work that shares slots. Each worker process has all three, so none can delay another: a worker full of videos
still erases, and so does one whose withdrawals wait for a vendor that hangs.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from uuid import UUID

import structlog

from tallyframe import observe
from tallyframe.db import Database
from tallyframe.errors import Unavailable
from tallyframe.generations.end import uploads
from tallyframe.generations.end.erase import Subject, erase
from tallyframe.generations.end.withdraw import withdraw
from tallyframe.generations.run.dispatch import Dispatcher
from tallyframe.generations.run.runner import Runner
from tallyframe.generations.tables import ERASE_GENERATION, ERASE_PROJECT, WITHDRAW
from tallyframe.outbox.relay import QUEUE, WITHDRAWALS
from tallyframe.outbox.tables import RUN_GENERATION
from tallyframe.storages.base import StorageError
from tallyframe.webhooks.apply import apply_stored
from tallyframe.webhooks.base import Sources
from tallyframe.webhooks.tables import APPLY_WEBHOOK

log = structlog.get_logger()


class Lane(Enum):
    """Which of a worker's slots the work takes, and how a worker learns of it."""

    GENERATIONS = auto()  # TALLYFRAME_WORKER_CONCURRENCY slots; one wake-up for all, and Postgres tells what is next
    WITHDRAWALS = auto()  # TALLYFRAME_WORKER_OTHER_SLOTS slots; an arq job for each outbox row, in WITHDRAWALS
    OTHER = auto()  # as many slots again; an arq job for each outbox row, in QUEUE


@dataclass(frozen=True, slots=True)
class Tools:
    """What handlers work with."""

    runner: Runner
    dispatcher: Dispatcher
    webhooks_db: Database  # acts as WEBHOOKS_ROLE
    sources: Sources = field(default_factory=dict)
    running: set[tuple[str, UUID]] = field(default_factory=set)  # the jobs of this process, as (kind, ref)


async def look_for_generations(tools: Tools, _: UUID) -> None:
    """Look for a generation whose turn it is. Comes as a job only from processes of the version before."""
    tools.dispatcher.wake()


async def withdraw_generation(tools: Tools, generation_id: UUID) -> None:
    """Ask vendors to stop working for a generation that has ended."""
    await withdraw(tools.runner.dependencies, generation_id)


async def erase_project(tools: Tools, project_id: UUID) -> None:
    """Remove the media of a deleted project."""
    await erase(tools.runner.db, tools.runner.dependencies.storages.by_name, Subject(project_id, ERASE_PROJECT))


async def erase_generation(tools: Tools, generation_id: UUID) -> None:
    """Remove the files of a deleted generation that has no project."""
    await erase(tools.runner.db, tools.runner.dependencies.storages.by_name, Subject(generation_id, ERASE_GENERATION))


async def erase_upload(tools: Tools, asset_id: UUID) -> None:
    """Remove a picture that its owner has deleted, or that nothing has used for long."""
    await uploads.erase(tools.runner.db, tools.runner.dependencies.storages.by_name, asset_id)


async def apply_webhook(tools: Tools, event_id: UUID) -> None:
    """Apply a webhook's event that the process which stored it has not applied."""
    await apply_stored(tools.webhooks_db, tools.sources, event_id)


Handler = Callable[[Tools, UUID], Awaitable[None]]

HANDLERS: Mapping[str, tuple[Lane, Handler]] = {
    RUN_GENERATION: (Lane.GENERATIONS, look_for_generations),
    WITHDRAW: (Lane.WITHDRAWALS, withdraw_generation),
    ERASE_PROJECT: (Lane.OTHER, erase_project),
    ERASE_GENERATION: (Lane.OTHER, erase_generation),
    uploads.ERASE_UPLOAD: (Lane.OTHER, erase_upload),
    APPLY_WEBHOOK: (Lane.OTHER, apply_webhook),
}

#: The kinds that the relay enqueues row by row, by queue.
QUEUES: Mapping[str, tuple[str, ...]] = {
    queue: tuple(kind for kind, (each, _) in HANDLERS.items() if each is lane)
    for queue, lane in ((QUEUE, Lane.OTHER), (WITHDRAWALS, Lane.WITHDRAWALS))
}


async def run(tools: Tools, kind: str, ref: UUID) -> None:
    """Call the handler of a kind; what fails is left to its outbox row, by which it is enqueued again.

    That also happens to what takes long, while it runs: it must not take a second slot of this process.
    """
    job = (kind, ref)
    if job in tools.running:
        return
    tools.running.add(job)
    try:
        await HANDLERS[kind][1](tools, ref)
    except (Unavailable, StorageError) as error:
        if isinstance(error, StorageError) or not tools.runner.db.outage.is_on:  # else that has been said already
            log.warning("job_interrupted", job=kind, error=type(error).__name__)
    except Exception as error:
        log.exception("job_failed", job=kind)
        observe.report(error)
    finally:
        tools.running.discard(job)
