"""Runs the strangers, takes the API processes' pulse and looks at their memory while faults happen."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from time import time

import psutil

from chaos.evidence import User
from chaos.pulse import waited
from chaos.rude import Limits
from chaos.stack import ROOT, UNDER_TEST, Stack, surroundings
from chaos.strangers import Spec
from tallyframe.accounts.keys import new_api_key
from tallyframe.embedded.processes import Program, describe_exit, launch, send

MEMBER = -3  # the number of the strangers' one user among the evidence's users
STRANGERS, PULSE, MEMORY = "strangers.jsonl", "pulse.jsonl", "memory.jsonl"
_SPEC = "strangers.json"
_LOOK = 0.2  # seconds between two looks at the memory
_END = 10.0  # seconds that they may take to end
_KEYS = 40  # unknown ones


@asynccontextmanager
async def outsiders(stack: Stack, member: User) -> AsyncIterator[None]:
    """Have strangers at the API processes while the block runs, of whom some have this member's key.

    Raises RuntimeError where one of our processes has not run to its end: then nothing was tried.
    """
    plan, limits = stack.plan, Limits(stack.plan.header_timeout, stack.plan.stalled_timeout)
    unknown = [*(new_api_key() for _ in range(_KEYS)), "tf_" + "0" * 38, "a.b.c", "null"]
    spec = Spec(plan.seed, stack.ports, member.key, unknown, plan.strangers, plan.pause, asdict(limits))
    (stack.folder / _SPEC).write_text(json.dumps(asdict(spec)))
    ports = [f"{api}={port}" for api, port in stack.ports.items()]
    async with AsyncExitStack() as exits:
        await exits.enter_async_context(_running(stack, "chaos.pulse", PULSE, str(plan.pulse), *ports))
        watching = asyncio.create_task(_watch_memory(stack))
        exits.push_async_callback(lambda: asyncio.gather(watching, return_exceptions=True))
        exits.callback(watching.cancel)
        await exits.enter_async_context(_running(stack, "chaos.strangers", _SPEC, STRANGERS))
        yield


@asynccontextmanager
async def _running(stack: Stack, module: str, *arguments: str) -> AsyncIterator[None]:
    environment = {**surroundings(), "PYTHONPATH": f"{ROOT}:{UNDER_TEST}"}
    log = stack.folder / f"{module.removeprefix('chaos.')}.log"
    with log.open("wb") as output:
        argv = [sys.executable, "-m", module, *arguments]
        process = await launch(Program(argv, environment, folder=stack.folder, output=output.fileno()))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            send(process, signal.SIGTERM)
        try:
            code = await asyncio.wait_for(process.wait(), _END)
        except TimeoutError:
            process.kill()
            code = await process.wait()
    if code:
        raise RuntimeError(f"{module} has ended by {describe_exit(code)}; see {log}")


async def _watch_memory(stack: Stack) -> None:
    """Write down how much memory each API process has, without the processes that decode pictures for it."""
    with (stack.folder / MEMORY).open("w") as lines:
        while True:
            for api in stack.apis:
                child = stack.children[api]
                with suppress(psutil.Error):  # it has ended meanwhile
                    if child.pid is not None:
                        size = psutil.Process(child.pid).memory_info().rss
                        line = {"api": api, "start": child.starts, "at": time(), "bytes": size}
                        lines.write(json.dumps(line | {"waited": waited(child.pid)}) + "\n")
            await asyncio.sleep(_LOOK)
