"""A digest says what heads there were, checks itself, and holds for as long as the books are not falsified."""

import errno
import json
import os
import stat
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tallyframe.ledger.digest.files import NotWritten
from tests.ledger.conftest import Books
from tests.support.audited import audited, digest_into
from tests.support.falsified import FALSIFICATIONS
from tests.support.postings import Postings, falsify
from tests.support.processes import Processes


def lines(digest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in digest.read_text().splitlines()]


async def test_it_has_a_line_per_account_and_a_root_that_sha256sum_finds(books: Books) -> None:
    first, *accounts, last = lines(books.digest)
    heads = await books.connection.fetch("SELECT id, user_id, version, head, balance FROM accounts ORDER BY id")
    assert accounts == [
        {
            "account": str(head["id"]),
            "user": str(head["user_id"]),
            "version": head["version"],
            "head": head["head"].hex(),
            "balance": head["balance"],
        }
        for head in heads
    ]
    revision = await books.connection.fetchval("SELECT version_num FROM alembic_version")
    time = datetime.fromisoformat(first.pop("time"))
    assert abs((time - datetime.now(UTC)).total_seconds()) < 600
    assert first == {
        "tallyframe_ledger_digest": 1,
        "schema": revision,
        "accounts": 2,
        "entries": 8,
        "balance": sum(head["balance"] for head in heads),
    }
    command = ["sh", "-c", f"head -n -1 {books.digest} | sha256sum"]  # as the documentation has it
    assert last == {"root": subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]}


async def test_it_still_holds_after_honest_entries_and_new_accounts(books: Books, tmp_path: Path) -> None:
    await Postings(books.connection, books.ids["hers"], books.ids["her"]).post("grant", 1)
    await books.connection.execute(
        "INSERT INTO accounts (id, user_id) VALUES (gen_random_uuid(), $1)", books.ids["thief"]
    )
    assert await books.wrong() == {}
    later = await digest_into(books.db, tmp_path)
    assert len(lines(later)) == 5
    assert await audited(books.db, later, books.digest) == {}


async def test_only_its_owner_may_read_it_and_it_replaces_nothing(books: Books, tmp_path: Path) -> None:
    assert books.digest.stat().st_mode & 0o777 == 0o600
    before = books.digest.read_bytes()
    with pytest.raises(NotWritten, match="there is such a file already"):
        await digest_into(books.db, books.digest)
    with pytest.raises(NotWritten, match="No such file or directory"):
        await digest_into(books.db, tmp_path / "nowhere" / "digest.jsonl")
    with pytest.raises(NotWritten, match="Not a directory"):
        await digest_into(books.db, books.digest / "digest.jsonl")
    assert books.digest.read_bytes() == before
    assert list(tmp_path.glob("**/*digest*")) == [books.digest], "something was left behind"


async def test_its_name_is_on_the_disk_before_anybody_hears_of_it(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut can't be had here: what is asked of the disk, and when, is written down instead."""
    asked, fsync = list[tuple[bool, int]](), os.fsync

    def noted(descriptor: int) -> None:
        asked.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), len(list(tmp_path.glob("tallyframe-ledger-*")))))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    await digest_into(books.db, tmp_path)
    assert asked == [(False, 0), (True, 1)]


async def test_nothing_is_left_where_names_can_not_be_kept(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def broken(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(NotWritten, match="Input/output error"):
        await digest_into(books.db, tmp_path)
    assert list(tmp_path.iterdir()) == [books.digest]


async def test_a_folder_gets_a_name_that_sorts_by_time(books: Books, tmp_path: Path) -> None:
    path = await digest_into(books.db, tmp_path)
    time = datetime.fromisoformat(lines(path)[0]["time"])
    assert path == tmp_path / f"tallyframe-ledger-{time:%Y%m%dT%H%M%SZ}.jsonl"


def changed(digest: Path, how: str) -> bytes:
    """Return what becomes of a digest in the hands of somebody who wants it to say something else."""
    first, hers, his, root = digest.read_bytes().splitlines(keepends=True)
    lowered = hers.replace(b'"balance": 28', b'"balance": 1')
    assert lowered != hers
    forged = sha256(first + lowered + his).hexdigest()
    return {
        "a line is changed": first + lowered + his + root,
        "a line is taken out": first + hers + root,
        "its end is cut off": first + hers + his,
        "its root is taken for another's": first + lowered + his + f'{{"root": "{forged[::-1]}"}}\n'.encode(),
        "something follows": first + hers + his + root + his,
        "it is empty": b"",
        "it is something else": b"\x00\xff" * 100,
        "its first line is away": hers + his + root,
        "a line is no account's": first + hers.replace(b"account", b"acount") + his + root,
        "a line is endless": first + b"{" + b" " * 100_000,
    }[how]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("a line is changed", "it was changed"),
        ("a line is taken out", "it was changed"),
        ("its end is cut off", "it has no root"),
        ("its root is taken for another's", "it was changed"),
        ("something follows", "it was changed"),
        ("it is empty", "it has no root"),
        ("it is something else", "it is no digest"),
        ("its first line is away", "does not begin like a digest"),
        ("a line is no account's", "is no account"),
        ("a line is endless", "it is no digest"),
    ],
)
async def test_a_digest_that_was_changed_is_named(books: Books, how: str, words: str) -> None:
    books.digest.write_bytes(changed(books.digest, how))
    found = await books.wrong()
    assert set(found) == {"a digest"}
    assert words in found["a digest"][0]


async def test_what_is_no_file_proves_nothing(books: Books, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert set(await audited(books.db, tmp_path / "empty")) == {f"there is no digest in {tmp_path / 'empty'}"}
    away = tmp_path / "away.jsonl"
    assert list((await audited(books.db, away)).values()) == [["it can't be read: No such file or directory"]]


async def test_the_commands(books: Books, processes: Processes, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    printed = processes.start("ledger", "digest")
    assert await printed.wait() == 0
    assert [json.loads(line) for line in printed.text.splitlines()][1:-1] == lines(books.digest)[1:-1]
    written = processes.start("ledger", "digest", "--out", str(folder))
    assert await written.wait() == 0
    (kept,) = folder.iterdir()
    assert written.text == f"{kept}: 2 accounts, 8 entries, root {lines(kept)[-1]['root']}\n"
    refused = processes.start("ledger", "digest", "--out", str(kept))
    assert await refused.wait() == 1
    assert refused.text == f"{kept}: the digest can't be written: there is such a file already.\n"

    well = processes.start("ledger", "verify", "--digest", str(folder), "--digest", str(books.digest))
    assert await well.wait() == 0
    assert f"ok     the books hold what {kept} says\n" in well.text
    removal = FALSIFICATIONS["the last entry is deleted, and the account put right"].statements
    await falsify(books.connection, *(books.filled(statement) for statement in removal))
    unseen = processes.start("ledger", "verify")
    assert await unseen.wait() == 0
    named = processes.start("ledger", "verify", "--digest", str(folder))
    assert await named.wait() == 1
    assert f"WRONG  the books hold what {kept} says\n       account {books.ids['hers']}: entry 7 is gone" in named.text
    assert "1 accounts do not add up." in named.text
