"""Pictures are cleaned in processes of their own: bounded in number and time, and ended when nobody waits any more."""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tallyframe.assets import decoders, pictures
from tallyframe.assets.line import Bounds, RateLimited
from tallyframe.errors import TallyframeError, Unavailable, ValidationFailed
from tests.support.crafted import full_png, write
from tests.support.decoding import children, clean, decoding, odd
from tests.support.drawn import picture, turned_photo


async def begun(file: Path) -> int:
    """Wait until the decoder works on the picture; return its process id."""
    async with asyncio.timeout(20):
        while not file.exists() or not file.read_text():
            await asyncio.sleep(0.01)
    return int(file.read_text())


async def test_a_picture_comes_out_as_if_it_were_cleaned_here() -> None:
    async with decoding() as made:
        for data in (picture(), turned_photo("JPEG"), turned_photo("WEBP")):
            cleaned = await clean(made, data)
            assert cleaned.media == pictures.clean(data, max_bytes=5 * 2**20, max_pixels=40_000_000)
            assert cleaned.sha256 == hashlib.sha256(cleaned.media.data).hexdigest()
        refused = [bytes(5 * 2**20 + 1), full_png(30_001, 1), b"<svg/>", b"", picture()[:40]]
        for data in refused:
            with pytest.raises(TallyframeError) as here:
                pictures.clean(data, max_bytes=5 * 2**20, max_pixels=40_000_000)
            with pytest.raises(TallyframeError) as there:
                await clean(made, data)
            assert (type(there.value), there.value.detail, there.value.data) == (
                type(here.value),
                here.value.detail,
                here.value.data,
            )
        [process] = children()  # the same for all of them
        assert process.nice() >= 10
        assert os.getsid(process.pid) == process.pid  # Ctrl-C in a terminal is not for it


async def test_a_picture_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    odd(monkeypatch)
    async with decoding(cpu_seconds=0.1) as made:
        for _ in range(2):  # of the process's time so far, nothing counts
            assert (await clean(made, b"fine")).media.data == b"fine"
        with pytest.raises(ValidationFailed) as caught:
            await clean(made, b"spin")
        words = "This picture takes longer than 0.1 seconds to decode. Send it with fewer pixels."
        assert caught.value.detail == words
        assert (await clean(made, b"fine")).media.data == b"fine"


async def test_what_becomes_of_a_decoder_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    odd(monkeypatch)
    kinds = {"crash": ValidationFailed, "killed": Unavailable, "bug": Unavailable, "memory": Unavailable}
    async with decoding() as made:
        for word, kind in kinds.items():
            with pytest.raises(kind):
                await clean(made, word.encode())
        assert (await clean(made, b"fine")).media.data == b"fine"
        [idle] = children()
        idle.kill()
        idle.wait()
        assert (await clean(made, b"fine")).media.data == b"fine"


async def test_a_process_that_can_not_be_started_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "_COMMAND", ("/no/such/python",))
    async with decoding() as none:
        for _ in range(2):
            with pytest.raises(Unavailable, match="can't be decoded right now"):
                await clean(none, picture())


async def test_who_leaves_ends_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd(monkeypatch)
    async with decoding() as made:
        assert await clean(made, b"fine")
        leaving = asyncio.create_task(clean(made, b"spin %s" % bytes(tmp_path / "begun")))
        following = asyncio.create_task(clean(made, b"fine"))
        pid = await begun(tmp_path / "begun")
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (await following).media.data == b"fine"
        assert not psutil.pid_exists(pid)


async def test_who_leaves_while_the_process_starts_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    odd(monkeypatch)
    async with decoding() as made:
        leaving = asyncio.create_task(clean(made, b"wait"))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (await clean(made, b"fine")).media.data == b"fine"


async def test_one_users_pictures_keep_nobody_else_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    odd(monkeypatch)
    async with decoding(Bounds(2, 1, 8, 2, 60)) as made:
        slow = [asyncio.create_task(clean(made, b"wait %s" % bytes(tmp_path / "begun"), "a")) for _ in range(4)]
        await begun(tmp_path / "begun")
        with pytest.raises(RateLimited, match="Too many of your pictures are being decoded"):
            await slow[3]
        assert (await clean(made, b"fine", "b")).media.data == b"fine"
        assert [task.done() for task in slow] == [False, False, False, True]
        for task in slow[2::-1]:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


PARENT = """
import asyncio, os, sys
from tests.support.decoding import clean, children, decoding

async def main():
    async with decoding() as made:
        await clean(made, open(sys.argv[1], "rb").read())
        print(children()[0].pid, flush=True)
        os._exit(9)

asyncio.run(main())
"""


async def test_with_an_api_that_is_killed_its_decoders_end(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    parent = subprocess.run(
        [sys.executable, "-c", PARENT, str(tmp_path / "a.png")], stdout=subprocess.PIPE, check=False
    )
    assert parent.returncode == 9
    async with asyncio.timeout(20):
        while alive(int(parent.stdout)):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("size", [(8, 6), (900, 900)], ids=["short", "longer than a pipe"])
def test_a_decoder_whose_api_is_killed_meanwhile_ends_without_a_word(size: tuple[int, int]) -> None:
    data = write(Image.effect_noise(size, 99), "PNG")
    asked = {"bytes": len(data), "max_bytes": len(data), "max_pixels": 10**6, "cpu_seconds": 9}
    ours, its = os.pipe()
    os.close(ours)  # nobody reads the answer
    with os.fdopen(its) as answers:
        request = json.dumps(asked).encode() + b"\n" + data
        left = subprocess.run(decoders._COMMAND, input=request, stdout=answers, stderr=-1, timeout=20, check=False)
    assert (left.returncode, left.stderr) == (0, b"")


def alive(pid: int) -> bool:
    """Whether it works still: a process without a parent may stay in the table when it has ended."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
