"""A digest that somebody made up ends no audit and passes none; and what is put into the past is named."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.ledger.conftest import Books
from tests.support.audited import audited, digest_into
from tests.support.falsified import REWRITE
from tests.support.postings import falsify
from tests.support.processes import Processes

BACKDATED = """
    INSERT INTO ledger_entries (id, account_id, version, kind, amount, balance_after, reference, created_at, hash)
    SELECT gen_random_uuid(), id, version + 1, 'grant', 1000, 0, gen_random_uuid()::text, {time}, ''
    FROM accounts WHERE id = '{hers}'"""


def sealed(*lines: bytes) -> bytes:
    """Return the lines with the root that fits, as anybody can work it out."""
    return b"".join(lines) + json.dumps({"root": sha256(b"".join(lines)).hexdigest()}).encode() + b"\n"


def with_value(line: bytes, name: str, value: str) -> bytes:
    """Put the JSON in the place of a value."""
    return json.dumps(json.loads(line) | {name: "\0"}).replace('"\\u0000"', value).encode() + b"\n"


async def refused(books: Books, data: bytes, words: str) -> None:
    """See that the audit ends, and says this of the digest and nothing else."""
    books.digest.write_bytes(data)
    found = await books.wrong()
    assert list(found) == ["a digest"]
    assert any(words in line for line in found["a digest"]), found


@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "NaN", str(2**70), str(2**63), "-1", "1.0", "true", '"5"', "null", "[5]"]
)
async def test_a_version_is_a_number_that_a_bigint_holds(books: Books, value: str) -> None:
    first, hers, his, _ = books.digest.read_bytes().splitlines(keepends=True)
    words = "it is no digest" if value == "[5]" else "is no account"
    await refused(books, sealed(first, with_value(hers, "version", value), his), words)


@pytest.mark.parametrize("value", ["1e999", str(2**70), "null"])
async def test_a_balance_is_one_too(books: Books, value: str) -> None:
    first, hers, his, _ = books.digest.read_bytes().splitlines(keepends=True)
    await refused(books, sealed(first, with_value(hers, "balance", value), his), "is no account")


@pytest.mark.parametrize(
    "value",
    ['"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', '"2026-03-01T00:00:12"', "12", "null", '"\\ud800"'],
)
async def test_a_time_is_one_that_there_is(books: Books, value: str) -> None:
    first, *heads, _ = books.digest.read_bytes().splitlines(keepends=True)
    await refused(books, sealed(with_value(first, "time", value), *heads), "its time ")


async def test_the_first_time_there_is_does_not_end_it(books: Books) -> None:
    first, *heads, _ = books.digest.read_bytes().splitlines(keepends=True)
    books.digest.write_bytes(sealed(with_value(first, "time", '"0001-01-01T00:00:00+00:00"'), *heads))
    assert await books.wrong() == {}


@pytest.mark.parametrize("line", [b"[" * 4000, b'{"a":' * 800, b'{"root": ' + b"[" * 900 + b"]" * 900 + b"}"])
async def test_what_is_too_deep_to_be_read_is_no_digest(books: Books, line: bytes) -> None:
    first, *heads, _ = books.digest.read_bytes().splitlines(keepends=True)
    await refused(books, first + line + b"\n" + b"".join(heads), "it is no digest")


async def test_a_root_that_no_terminal_can_show_is_refused(books: Books) -> None:
    *before, _ = books.digest.read_bytes().splitlines(keepends=True)
    await refused(books, b"".join(before) + b'{"root": "\\ud800"}\n', r"its root is '\ud800'")


async def test_a_digest_that_was_hollowed_and_sealed_again_is_named(books: Books) -> None:
    first, hers, his, _ = books.digest.read_bytes().splitlines(keepends=True)
    await refused(books, sealed(first), "it says 2 accounts, 8 entries and ")
    await refused(books, sealed(first, his), "but its lines come to 1 accounts, 1 entries and 20 credits")
    await refused(books, sealed(first, his, his), "its accounts are not in order")
    fewer = with_value(hers, "version", "0")
    await refused(books, sealed(first, fewer, his), "but its lines come to 2 accounts, 1 entries")
    for name in ("accounts", "entries", "balance"):
        await refused(books, sealed(with_value(first, name, "1e999"), hers, his), "its totals are not whole numbers")


async def test_the_root_that_was_logged_tells_a_file_that_was_sealed_again(books: Books, processes: Processes) -> None:
    root = json.loads(books.digest.read_bytes().splitlines()[-1])["root"]
    assert await verified(processes, books.digest, root.upper()) == (0, "The books balance.")
    first, _, his, _ = books.digest.read_bytes().splitlines(keepends=True)
    balance = json.loads(his)["balance"]
    less = {"accounts": 1, "entries": 1, "balance": balance}
    forged = sealed(json.dumps(json.loads(first) | less).encode() + b"\n", his)
    books.digest.write_bytes(forged)
    assert await books.wrong() == {}, "it holds, as far as the file itself can tell"
    code, told = await verified(processes, books.digest, root)
    assert (code, told) == (1, "This needs a look.")
    for asked, words in ((root[:-1], "is not a root"), (root + "\n", "is not a root")):
        code, told = await verified(processes, books.digest, asked)
        assert code == 1
        assert words in told
    code, told = await verified(processes, books.digest.parent, root)
    assert (code, told) == (1, "--root belongs to one file: give that file with --digest, and no other.")


async def verified(processes: Processes, digest: Path, root: str) -> tuple[int, str]:
    """Return the exit code and the last line of the command."""
    process = processes.start("ledger", "verify", "--digest", str(digest), "--root", root)
    return await process.wait(), process.text.splitlines()[-1]


@pytest.mark.parametrize("time", ["'2020-01-01 00:00:00+00'", "'-infinity'", "'4000-01-01 00:00:00+00 BC'"])
async def test_an_entry_that_is_put_into_the_past_is_named(books: Books, time: str) -> None:
    await forge(books, "hers", time)
    found = await books.wrong()
    assert "a digest" in found
    (line,) = found["a digest"]
    assert line.startswith(f"account {books.ids['hers']}: entry 8 is dated {time.strip(chr(39))[:5]}")
    if "infinity" not in time:
        assert list(found) == ["a digest"], "nothing else sees it"


async def test_so_is_one_of_an_account_that_is_not_in_the_digest(books: Books, owner: Any) -> None:
    for number in ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"):
        user = "INSERT INTO users (id, issuer, subject, display_name) VALUES ($1::uuid, 'local', $1::uuid::text, '')"
        await owner.execute(user, UUID(number))
        await owner.execute("INSERT INTO accounts (id, user_id) VALUES ($1, $1)", UUID(number))
        await forge(books, number, "'2020-01-01 00:00:00+00'")
    found = await books.wrong()
    assert list(found) == ["a digest"]
    assert [line.split()[1][:8] for line in found["a digest"]] == ["00000000", "ffffffff"]
    assert all("entry 1 is dated 2020-01-01 00:00:00 UTC" in line for line in found["a digest"])


async def test_a_clock_that_is_set_back_a_little_is_no_alarm(books: Books, tmp_path: Path) -> None:
    await forge(books, "hers", "now() - interval '9 minutes'")
    assert await books.wrong() == {}
    await forge(books, "hers", "now() - interval '11 minutes'")
    assert list(await books.wrong()) == ["a digest"]
    (tmp_path / "later").mkdir()
    later = await digest_into(books.db, tmp_path / "later")
    assert await audited(books.db, later) == {}, "it was there by then, whenever it is of"


async def forge(books: Books, whose: str, time: str) -> None:
    """Append a grant of that time, with hashes and an account that fit."""
    account = str(books.ids.get(whose, whose))
    statements = [BACKDATED.replace("{time}", time)]
    if "infinity" not in time:  # no hash can be made of that
        statements.append(REWRITE)
    await falsify(books.connection, *(each.replace("{hers}", account) for each in statements))
