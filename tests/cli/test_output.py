"""What is printed: to a reader that goes away, to a full disk, and to whoever asks for help or misspells a name."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tallyframe.cli import output
from tallyframe.settings import SettingsError, load_settings, unknown_variables
from tallyframe.worker import run_worker
from tests.support.commanding import command
from tests.support.processes import Processes

ROOT = Path(__file__).parents[2]


async def test_a_reader_that_goes_away_ends_a_command_as_it_ends_other_tools(processes: Processes) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = processes.environment()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tallyframe", "ledger", "verify"),
        env=environment,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (-signal.SIGPIPE, b"")


def test_what_cannot_be_written_is_no_outage_of_the_database(tmp_path: Path) -> None:
    """In the middle of a transaction, an OSError would be taken for a lost connection."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    with Path("/dev/full").open("w") as full, pytest.raises(output.OutputEnded) as error:
        output._Stdout(full.fileno(), "w", closefd=False).write(b"x")
    assert not isinstance(error.value, OSError)
    assert str(error.value) == "stdout can't be written to: No space left on device."


def test_each_misspelt_variable_is_a_warning_with_the_nearest_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("TALLYFRAME_S3_BUCKT=canary\nTALLYFRAME_S3_REGION=auto\nPOSTGRES_PASSWORD=canary\n")
    monkeypatch.setenv("tallyframe_signup_credit", "canary")
    monkeypatch.setenv("tallyframe_signup_credits", "20")
    monkeypatch.setenv("TALLYFRAME_XYZ", "canary")
    monkeypatch.setenv("TALLYFRAM_REDIS_URL", "canary")
    said = command(capsys, "migrate", DATABSE_URL="canary", DATABASE_URL="")
    *warnings, last = said.err.splitlines()
    assert last == "TALLYFRAME_DATABASE_URL: is not set"
    none = "there is no such setting, so it changes nothing."
    assert sorted(warnings) == sorted(
        [
            f"Warning: TALLYFRAME_DATABSE_URL: {none} Did you mean TALLYFRAME_DATABASE_URL?",
            f"Warning: TALLYFRAM_REDIS_URL: {none} Did you mean TALLYFRAME_REDIS_URL?",
            f"Warning: tallyframe_signup_credit: {none} Did you mean TALLYFRAME_SIGNUP_CREDITS?",
            f"Warning: TALLYFRAME_XYZ: {none} docs/settings.md lists all settings.",
            f"Warning: TALLYFRAME_S3_BUCKT in .env: {none} Did you mean TALLYFRAME_S3_BUCKET?",
        ]
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TALYFRAME_DATABASE_URL", " Did you mean TALLYFRAME_DATABASE_URL?"),
        ("TALLEYFRAME_WORKER_CONCURRENCY", " Did you mean TALLYFRAME_WORKER_CONCURRENCY?"),
        ("TALLY_FRAME_ENV", " Did you mean TALLYFRAME_ENV?"),
        ("TALLYFRAME_GEMINI_API_KEY", " Did you mean GEMINI_API_KEY?"),
        ("DATABASE_URL", " Did you mean TALLYFRAME_DATABASE_URL?"),
        ("REDIS_URL", " Did you mean TALLYFRAME_REDIS_URL?"),
        ("TALLYFRAME_API_KEY", " docs/settings.md lists all settings."),
    ],
)
def test_what_is_meant_is_named_and_nothing_else(name: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for ours in ("TALLYFRAME_DATABASE_URL", "TALLYFRAME_REDIS_URL"):
        monkeypatch.delenv(ours, raising=False)
    monkeypatch.setenv(name, "canary")
    assert unknown_variables() == [f"{name}: there is no such setting, so it changes nothing.{meant}"]


@pytest.mark.parametrize("name", ["FRAME_ENV", "TALLY_ENV", "TABLE_FRAME", "MY_DATABASE_URL"])
def test_what_is_meant_for_others_is_no_mistake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    assert unknown_variables() == []


def test_a_bare_name_is_no_mistake_where_ours_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "x")
    monkeypatch.setenv("TALLYFRAME_DATABASE_URL", "postgresql://u@h/d")
    assert unknown_variables() == []


ENV_FILES = {
    "utf-16": "TALLYFRAME_PORT=1\n".encode("utf-16"),
    "utf-16 without a mark": "TALLYFRAME_PORT=1\n".encode("utf-16-le"),
    "latin-1": "TALLYFRAME_S3_REGION=Köln\n".encode("latin-1"),
}


@pytest.mark.parametrize("content", ENV_FILES.values(), ids=ENV_FILES)
@pytest.mark.parametrize("arguments", [("migrate",), ("openapi",), ("ledger", "verify")])
def test_an_env_file_that_is_no_text_is_named(
    content: bytes,
    arguments: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    said = command(capsys, *arguments)
    line = ".env: is no text in UTF-8. Save it in that encoding, and not as UTF-16 or Latin-1.\n"
    assert (said.code, said.out, said.err) == (1, "", line)


def test_an_env_file_may_begin_with_a_byte_order_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes("TALLYFRAME_S3_REGION=mars\n".encode("utf-8-sig"))
    assert load_settings().variable("TALLYFRAME_S3_REGION") == "mars"


def test_a_digest_has_nowhere_to_go_without_stdout(processes: Processes) -> None:
    ended = subprocess.run(  # our own command
        ["/bin/sh", "-c", f"{sys.executable} -m tallyframe ledger digest >&-"],
        env=processes.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    line = "The digest can't be written: stdout is closed. Name a file or a folder with --out.\n"
    assert (ended.returncode, ended.stderr) == (1, line)


def test_what_clients_and_kubernetes_set_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *("TALLYFRAME_URL", "TALLYFRAME_KEY", "TALLYFRAME_SERVICE_HOST", "TALLYFRAME_SERVICE_PORT"),
        *(
            "TALLYFRAME_PORT",
            "TALLYFRAME_PORT_8000_TCP_ADDR",
            "TALLYFRAME_API_SERVICE_PORT_HTTP",
            "TALLYFRAME_API_PORT",
        ),
    ):
        monkeypatch.setenv(name, "x")
    assert unknown_variables() == []


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, "--version").out == "tallyframe 0.1.0\n"
    said = command(capsys, "--help")
    assert said.code == 0
    assert said.out.split()[0] == "Usage:"
    assert "--version" in said.out


async def test_a_folder_for_digests_that_is_not_there_stops_a_worker(tmp_path: Path) -> None:
    for place in (tmp_path / "absent", tmp_path / "file"):
        (tmp_path / "file").touch()
        settings = load_settings(
            database_url="postgresql://127.0.0.1:1/d", redis_url="redis://127.0.0.1:1", digest_dir=str(place)
        )
        with pytest.raises(SettingsError) as error:
            await run_worker(settings)
        assert str(error.value).startswith(f"TALLYFRAME_DIGEST_DIR: there is no folder {str(place)!r}. Make it")


#: What a make that runs these tests hands on to the next one, and what decides on the port.
OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PORT"}


@pytest.mark.parametrize(("given", "port"), [([], "8000"), (["PORT=8123"], "8123")])
def test_make_run_takes_a_port(given: list[str], port: str) -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "run", *given],  # noqa: S607  # whichever make there is
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in OF_MAKE},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines()[-1] == f".venv/bin/tallyframe dev --port {port}"
