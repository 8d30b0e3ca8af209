"""Runs a command in this process, as the shell would start it: that is much faster than a process of its own."""

import os
from dataclasses import dataclass
from unittest import mock

import pytest

from tallyframe.cli import main


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def command(capsys: pytest.CaptureFixture[str], *arguments: str, **variables: str) -> Said:
    """Run `tallyframe` with these arguments; `variables` are ours, without TALLYFRAME_. Not for what runs on and on."""
    ours = {f"TALLYFRAME_{name}": value for name, value in variables.items()}
    capsys.readouterr()
    with mock.patch.dict(os.environ, ours), mock.patch("sys.argv", ["tallyframe", *arguments]):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        else:
            code = 0
    return Said(code, *capsys.readouterr())
