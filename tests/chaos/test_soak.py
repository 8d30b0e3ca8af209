"""The soak runs, and each of its checks sees what it is there for."""

import asyncio
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.soak.verdict import CHECKS, FILM, Ended, Found
from chaos.soak.watch import Lap

ROOT = Path(__file__).parents[2]
MB = 10**6
LAP = Lap(
    generations=2,
    seconds=1.0,
    memory={"api": 100 * MB, "worker-1": 300 * MB},
    descriptors={"api": 30, "worker-1": 40},
    redis_keys=0,
    connections=20,
    files=1,
    known=1,
    passing={"outbox": 0, "uploads": 0},
)
WELL = Found(
    expected={"a": "", "b": "content_policy", "c": ""},
    canceled={"c"},
    ended={
        "a": Ended("succeeded", "", "image"),
        "b": Ended("failed", "content_policy", "image"),
        "c": Ended("canceled", "canceled", "video"),
    },
    balances={"account": (95, 95)},
    verify=(0, "all is well"),
    exits=[0.4, 29.0],
    bad_exits=[],
    alarms=[],
    grace=30.0,
    laps=[LAP, LAP],
)


def with_last(**figures: object) -> Found:
    return replace(WELL, laps=[LAP, LAP, replace(LAP, **figures)])  # type: ignore[arg-type]


TAMPERED = {
    "lost": (replace(WELL, ended={key: WELL.ended[key] for key in "ab"}), "everything ended as ordered"),
    "unasked": (replace(WELL, ended=WELL.ended | {"d": WELL.ended["a"]}), "everything ended as ordered"),
    "failed": (replace(WELL, ended=WELL.ended | {"a": WELL.ended["b"]}), "everything ended as ordered"),
    "canceled": (replace(WELL, canceled=set()), "everything ended as ordered"),
    "unpaid": (replace(WELL, balances={"account": (100, 95)}), "every credit is accounted for"),
    "audit": (replace(WELL, verify=(1, "broken")), "every credit is accounted for"),
    "late": (replace(WELL, exits=[30.1]), "every worker ends within its grace"),
    "never": (replace(WELL, exits=[]), "every worker ends within its grace"),
    "killed": (replace(WELL, bad_exits=["worker-1: killed by SIGKILL"]), "every worker ends within its grace"),
    "alarm": (replace(WELL, alarms=["api.log: a traceback"]), "no bug in the logs"),
    "memory": (with_last(memory={"api": 111 * MB + FILM, "worker-1": 300 * MB}), "memory and descriptors don't grow"),
    "descriptors": (with_last(descriptors={"api": 30, "worker-1": 51}), "memory and descriptors don't grow"),
    "keys": (with_last(redis_keys=6), "nothing is left behind"),
    "connections": (with_last(connections=26), "nothing is left behind"),
    "file": (with_last(files=2), "nothing is left behind"),
    "row": (with_last(passing={"outbox": 1}), "nothing is left behind"),
}


def violated(found: Found) -> list[str]:
    return [name for name, check in CHECKS.items() if any(check(found))]


def test_all_checks_hold_where_all_is_well() -> None:
    assert violated(WELL) == []


@pytest.mark.parametrize("name", TAMPERED)
def test_what_is_wrong_is_seen(name: str) -> None:
    found, check = TAMPERED[name]
    assert violated(found) == [check]


async def test_a_short_soak_runs() -> None:
    """Every worker is restarted several times; a run this short is not there to see something grow."""
    options = {"generations": 30, "laps": 1, "restart": 4, "buyers": 5}
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "chaos.soak",
            *(word for name, value in options.items() for word in (f"--{name}", str(value))),
        ),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        stdout=-1,
        stderr=-2,
    )
    output, _ = await process.communicate()
    printed = output.decode()
    assert process.returncode == 0, printed
    assert printed.count("holds ") == len(CHECKS)
    [times] = re.findall(r"asked to end (\d+) times", printed)
    assert int(times) > 1
