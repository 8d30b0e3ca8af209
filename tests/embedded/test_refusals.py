"""What keeps the stack from starting is one line each."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallyframe.embedded import EmbeddedError, ports, read_stack
from tallyframe.embedded.files import read_json, server_user, write_json
from tallyframe.embedded.lock import locked


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_folder_that_is_in_use_says_by_whom(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(EmbeddedError) as refused, locked(tmp_path):
            pass
        assert str(refused.value) == f"Another `tallyframe dev` (pid {os.getpid()}) is using {tmp_path}."


def test_a_left_over_lock_file_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("1\n")
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    ("folder", "reason"),
    [("file", "File exists"), ("file/inside", "Not a directory"), ("a" * 300, "File name too long")],
)
def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path, folder: str, reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError) as refused, locked(tmp_path / folder):
        pass
    assert str(refused.value) == f"Cannot use {tmp_path / folder} as data folder: {reason}."


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs a folder that even root cannot write to")
def test_a_folder_that_cannot_be_written_says_so() -> None:
    with (
        pytest.raises(EmbeddedError, match=r"^Cannot use /proc/nowhere as data folder: .+\.$"),
        locked(Path("/proc/nowhere")),
    ):
        pass


def test_a_taken_port_is_neither_free_nor_chosen(taken: int) -> None:
    assert not ports.is_free(taken)
    assert ports.choose(taken, 0) != taken


def test_the_port_of_the_last_time_is_chosen_again_unless_it_is_wanted_by_others() -> None:
    port = ports.choose(0, 0)
    assert ports.is_free(port)
    assert ports.choose(port, 0) == port
    assert ports.choose(port, port) != port


def test_without_a_stack_the_message_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError) as refused:
        read_stack(tmp_path)
    assert str(refused.value) == f"No running stack in {tmp_path}; start one with: tallyframe dev --data-dir {tmp_path}"


def test_a_written_file_is_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    write_json(path, {"a": 2})
    assert read_json(path) == {"a": 2}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_ours_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text("{")
    with pytest.raises(EmbeddedError, match=r"Cannot read .+file\.json"):
        read_json(tmp_path / "file.json")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a choice")
def test_root_runs_servers_as_the_owner_of_the_folder_or_nobody(tmp_path: Path) -> None:
    assert server_user(tmp_path / "postgres").uid == 65534  # type: ignore[union-attr] # root always has one
    os.chown(tmp_path, 12345, 23456)
    user = server_user(tmp_path / "postgres")
    assert user is not None
    assert (user.uid, user.gid) == (12345, 23456)
