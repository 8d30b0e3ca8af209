"""Runs the jobs that the relay has put into Redis: arq's worker, which no entry of its queue can end.

arq's own main loop is not used: it ends with the first error that it doesn't know, be it Redis or what lies in it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast
from uuid import UUID

import structlog
from arq.worker import Function, Worker, func
from redis.exceptions import ResponseError

from tallyframe.outbox.relay import QUEUE, QUEUE_LIMIT, REDIS_AWAY, JobQueue, pack, unpack
from tallyframe.outbox.spoiled import ABORTED, drop_entry, drop_key, is_spoiled

log = structlog.get_logger()

#: Seconds that one job may take. Then it is cut; its outbox row is still there, so it is enqueued again.
JOB_TIMEOUT = 600
#: Seconds that a stopping worker takes to put jobs back into the queue. With Redis frozen, the relay does it later.
HAND_OVER = 3.0

#: Does the work of an outbox row, given its kind and ref.
Run = Callable[[str, UUID], Awaitable[None]]


class JobWorker(Worker):
    """The jobs of one worker process and queue, at most `slots` at once; `poll()` is to be called again and again."""

    def __init__(self, redis: JobQueue, kinds: Iterable[str], run: Run, *, slots: int, queue: str = QUEUE) -> None:
        super().__init__(
            functions=[_function(kind, run) for kind in kinds],
            redis_pool=redis,
            queue_name=queue,
            handle_signals=False,
            max_jobs=slots,
            job_timeout=JOB_TIMEOUT,
            keep_result=0,
            max_tries=1000,  # arq never decides a failure: the outbox row does
            retry_jobs=True,
            queue_read_limit=2 * QUEUE_LIMIT,  # those that run stay in the queue, and others must be seen behind them
            job_serializer=pack,
            job_deserializer=unpack,
            log_results=False,
        )
        self._ended = 0  # jobs that have given back their slot

    async def poll(self) -> None:
        """Start jobs that are due while slots are free, and forget those that have ended. Raises REDIS_AWAY."""
        await self._poll_iteration()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start each job by itself, so that one entry that can't be read keeps no other from being started."""
        for job_id in job_ids:
            running, taken = set(self.tasks.values()), self.job_counter + self._ended
            try:
                await super().start_jobs([job_id])
            except Exception as error:
                is_started = not running.issuperset(self.tasks.values())
                if self.job_counter + self._ended > taken and not is_started:
                    # arq has taken a slot for a job that it then failed to start, and has not given it back.
                    super()._release_sem_dec_counter_on_complete()
                if isinstance(error, REDIS_AWAY) and not is_spoiled(error):
                    raise
                await self._drop(job_id, error)

    async def run_job(self, job_id: str, score: int) -> None:
        """Run a job. One that arq can't even begin, because of what it finds in a key of the job's, is dropped."""
        try:
            await super().run_job(job_id, score)
        except ResponseError as error:
            if not is_spoiled(error):
                raise
            await self._drop(job_id.encode(), error)

    async def _drop(self, job_id: bytes, error: Exception) -> None:
        log.warning("job_dropped", key=self.queue_name, count=1, error=type(error).__name__)
        await drop_entry(self.pool, self.queue_name, job_id)

    def _release_sem_dec_counter_on_complete(self) -> None:
        """Give back the slot of a job that has ended; arq calls this."""
        super()._release_sem_dec_counter_on_complete()
        self._ended += 1

    async def finish_job(self, *what: Any) -> None:  # noqa: ANN401  # as arq calls it
        """Take a job out of the queue that has run. Where Redis is away it stays, and finds its row gone later."""
        await self._heard(super().finish_job(*what))

    async def finish_failed_job(self, *what: Any) -> None:  # noqa: ANN401  # as arq calls it
        """Take a job out of the queue that can't be run. Where Redis is away it stays, and is looked at again."""
        await self._heard(super().finish_failed_job(*what))

    async def _heard(self, finishing: Awaitable[None]) -> None:
        """Log that Redis is away: arq finishes jobs in tasks of their own, whose errors nobody hears once a job is cut.

        In the transaction by which arq finishes a job, each command stands for itself. If one fails because of the type
        of its key, all others are done.
        """
        try:
            try:
                await finishing
            except ResponseError as error:
                if not is_spoiled(error):
                    raise
                await drop_key(self.pool, ABORTED, unless="zset")
        except REDIS_AWAY as error:
            log.warning("job_interrupted", error=type(error).__name__)

    async def heart_beat(self) -> None:
        """Do nothing: workers show that they live in Postgres, and there are no cron jobs."""

    async def aclose(self, seconds: float) -> None:
        """Start nothing new, let what runs go on for so many seconds, and then give it back to the queue."""
        self.allow_pick_jobs = False
        running = [task for task in self.tasks.values() if not task.done()]
        if running:
            _, cut = await asyncio.wait(running, timeout=seconds)
            for task in cut:
                task.cancel()
            if cut:
                await asyncio.wait(cut, timeout=HAND_OVER)
        for task in self.tasks.values():
            if task.done() and not task.cancelled() and (error := task.exception()):
                log.warning("job_interrupted", error=type(error).__name__)  # its outbox row is still there


def _function(kind: str, run: Run) -> Function:
    async def call(_: dict[str, Any], ref: str) -> None:
        await run(kind, UUID(ref))

    return func(cast("Any", call), name=kind)  # arq asks for a function that takes anything
