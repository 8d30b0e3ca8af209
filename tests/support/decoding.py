"""Decoders whose process is real, and whose pictures do what they say: a word instead of pixels."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from tallyframe.assets import decoders
from tallyframe.assets.decoders import Decoders
from tallyframe.assets.line import Bounds

#: One process, and no bounds that matter.
ONE = Bounds(1, 1, 8, 8, 60)
#: Runs `decoder_process` with another `clean`. It says by a file with the word's name that it has begun.
ODD = """
import os, pathlib, signal, sys, runpy
from tallyframe.assets import pictures

def clean(data, **bounds):
    word, _, path = data.decode().partition(" ")
    if path:
        pathlib.Path(path).write_text(str(os.getpid()))
    match word:
        case "spin":
            while True:
                pass
        case "wait":
            signal.pause()
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "bug":
            raise RuntimeError("a bug in the decoder")
        case "memory":
            raise MemoryError
    return Media(data, "image/png", 1, 1)

from tallyframe.providers.base import Media
pictures.clean = clean
runpy.run_module("tallyframe.assets.decoder_process", run_name="__main__")
"""


def odd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have decoders that start from now on understand words."""
    monkeypatch.setattr(decoders, "_COMMAND", (sys.executable, "-W", "ignore", "-c", ODD))


@asynccontextmanager
async def decoding(bounds: Bounds = ONE, *, cpu_seconds: float = 30) -> AsyncIterator[Decoders]:
    made = Decoders(bounds, cpu_seconds=cpu_seconds)
    yield made
    made.close()
    assert children() == []


async def clean(decoders: Decoders, data: bytes, user: str = "somebody") -> Any:
    return await decoders.clean(user, data, max_bytes=5 * 2**20, max_pixels=40_000_000)


def children() -> list[psutil.Process]:
    """The decoders of this process."""
    return [each for each in psutil.Process().children() if "decoder_process" in " ".join(each.cmdline())]
