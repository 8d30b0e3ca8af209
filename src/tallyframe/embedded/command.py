"""The API or the worker, as a child process of the stack."""

import asyncio
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from signal import SIGTERM

from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.processes import Program, end, kill_group, launch


class Command:
    """A program that runs from `start` to `stop`; its output is our output.

    `argv[0]` is a path, `env` the whole environment. `stop` sends SIGTERM and kills what still runs after `patience`
    seconds, or after one second once `hurry` is set.
    """

    def __init__(
        self,
        title: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        patience: float = 35.0,
        hurry: asyncio.Event | None = None,
    ) -> None:
        self.title = title
        self._program = Program(argv, env)
        self._patience = patience
        self._hurry = hurry or asyncio.Event()
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The process of the latest start; raises EmbeddedError before it, and after `stop`."""
        if self._process is None:
            raise EmbeddedError(f"{self.title} is not running.")
        return self._process

    async def start(self) -> None:
        """Start the process; raises EmbeddedError if the system allows no more processes."""
        try:
            self._process = await launch(self._program)
        except OSError as error:
            raise EmbeddedError(f"{self.title} cannot be started: {error}") from error

    async def wait(self) -> int:
        """Wait for the process to end by itself and return its exit code (negative: a signal)."""
        process = self.process
        try:
            return await process.wait()
        finally:
            if process.returncode is not None:
                kill_group(process)  # one of its children may hold its port

    async def stop(self) -> None:
        """End the process, and all that it started, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            await end(process, [(SIGTERM, self._patience)], self._hurry)
