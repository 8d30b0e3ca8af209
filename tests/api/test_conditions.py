"""What a client has is not sent again, and a file is sent in the parts that it has (RFC 9110, sections 13 and 14)."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tallyframe.settings import Settings
from tests.support.cast import Member
from tests.support.remains import problem

DATA = bytes(range(256)) * 4
SIZE = len(DATA)
PATH = "/media/uploads/a.png"


@pytest.fixture
async def file(settings: Settings, anybody: httpx.AsyncClient) -> tuple[str, datetime]:
    """A file, by its tag and the time of its last change."""
    folder: Path = settings.server.data_dir / "media/uploads"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(DATA)
    headers = (await anybody.get(PATH)).headers
    return headers["etag"], parsedate_to_datetime(headers["last-modified"])


def known(etag: str) -> dict[str, bool]:
    """`If-None-Match` → whether it names the tag."""
    return {
        etag: True,
        f"W/{etag}": True,
        f'"other", W/{etag} , "more"': True,
        f'"a,b",{etag}': True,
        "*": True,
        " * ": True,
        '"other"': False,
        'W/"other", "*"': False,
        '"a,*,b"': False,
        etag.strip('"'): False,
        "": False,
    }


async def test_a_file_that_the_client_has(anybody: httpx.AsyncClient, file: tuple[str, datetime]) -> None:
    etag, changed = file
    for tags, is_known in known(etag).items():
        for method in ("GET", "HEAD"):
            answer = await anybody.request(method, PATH, headers={"If-None-Match": tags})
            assert answer.status_code == (304 if is_known else 200), tags
            assert answer.headers["etag"] == etag
            assert ("content-type" in answer.headers) == (not is_known)
    lines = [("If-None-Match", '"other"'), ("If-None-Match", etag)]
    assert (await anybody.get(PATH, headers=lines)).status_code == 304
    earlier, later = (format_datetime(changed + timedelta(days=days), usegmt=True) for days in (-1, 1))
    same = format_datetime(changed, usegmt=True)
    for since, status in ((same, 304), (later, 304), (earlier, 200), ("yesterday", 200), ("", 200)):
        assert (await anybody.get(PATH, headers={"If-Modified-Since": since})).status_code == status, since
    both = {"If-None-Match": '"other"', "If-Modified-Since": later}  # the tag counts, 13.1.3
    assert (await anybody.get(PATH, headers=both)).status_code == 200


async def test_a_file_that_must_be_as_it_was(anybody: httpx.AsyncClient, file: tuple[str, datetime]) -> None:
    etag, changed = file
    early = format_datetime(datetime(2001, 1, 1, tzinfo=UTC), usegmt=True)
    good = [{"If-Match": etag}, {"If-Match": "*"}, {"If-Unmodified-Since": format_datetime(changed, usegmt=True)}]
    for headers in [*good, {"If-Match": f'"other", {etag}', "If-Unmodified-Since": early}]:
        assert (await anybody.get(PATH, headers=headers)).status_code == 200, headers
    for headers in [{"If-Match": '"other"'}, {"If-Match": f"W/{etag}"}, {"If-Unmodified-Since": early}]:
        problem(await anybody.get(PATH, headers=headers), 412, "precondition_failed", headers)


async def test_parts_that_are_there_and_ranges_that_are_none(
    anybody: httpx.AsyncClient, file: tuple[str, datetime]
) -> None:
    whole = ("items=0-9", "seconds=1-2", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=9-2", "bytes=0-9,5-1", "0-9")
    for asked in (*whole, "bytes=0-9;", "bytes=1-2-3", "bytes=0x1-", "bytes=٣-٤".encode(), f"bytes={'0-0,' * 200}"):
        answer = await anybody.get(PATH, headers=[(b"Range", asked if isinstance(asked, bytes) else asked.encode())])
        assert (answer.status_code, answer.content) == (200, DATA), asked
    parts = {"bytes=0-9": DATA[:10], "BYTES=0-9": DATA[:10], "bytes=-10": DATA[-10:], f"bytes={SIZE}-,0-9": DATA[:10]}
    for asked, part in parts.items():
        answer = await anybody.get(PATH, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206, part), asked
    for beyond in (f"bytes={SIZE}-", "bytes=-0", f"bytes={SIZE}-{SIZE + 5},9999-"):
        answer = await anybody.get(PATH, headers={"Range": beyond})
        problem(answer, 416, "range_not_satisfiable", beyond)
        assert answer.headers["content-range"] == f"bytes */{SIZE}", beyond
        assert (await anybody.head(PATH, headers={"Range": beyond})).status_code == 200  # HEAD has no ranges
    many = await anybody.get(PATH, headers={"Range": "bytes=0-0,10-19"})
    assert (many.status_code, many.headers["content-type"].split(";")[0]) == (206, "multipart/byteranges")


async def test_a_part_of_one_state_only(anybody: httpx.AsyncClient, file: tuple[str, datetime]) -> None:
    etag, changed = file
    states = {etag: 206, f"W/{etag}": 200, '"other"': 200, format_datetime(changed, usegmt=True): 206}
    for state, status in {**states, format_datetime(changed + timedelta(days=1), usegmt=True): 200}.items():
        answer = await anybody.get(PATH, headers={"Range": "bytes=0-9", "If-Range": state})
        assert (answer.status_code, len(answer.content)) == (status, 10 if status == 206 else SIZE), state
    beyond = {"Range": f"bytes={SIZE}-", "If-Range": '"other"'}
    assert (await anybody.get(PATH, headers=beyond)).status_code == 200


async def test_polls_know_every_form_of_a_tag(alice: Member) -> None:
    project: dict[str, Any] = await alice.order()
    for path in (f"/v1/projects/{project['id']}", f"/v1/generations/{project['generation']['id']}"):
        etag = (await alice.http.get(path)).headers["etag"]
        for tags, is_known in known(etag).items():
            answer = await alice.http.get(path, headers={"If-None-Match": tags})
            assert answer.status_code == (304 if is_known else 200), (path, tags)
            assert answer.headers["etag"] == etag
        lines = [("If-None-Match", '"other"'), ("If-None-Match", etag)]
        assert (await alice.http.get(path, headers=lines)).status_code == 304
