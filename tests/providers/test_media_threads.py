"""What vendors send is decoded by a few threads of its own."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from tallyframe.errors import ProviderError
from tallyframe.providers import fitting, received
from tallyframe.providers.base import Media
from tallyframe.providers.fitting import FIRST_FRAME, fit
from tallyframe.providers.media_threads import MEDIA_THREADS
from tallyframe.providers.received import received_video
from tallyframe.providers.registry import build_providers
from tallyframe.settings import load_settings


@pytest.fixture(autouse=True)
async def three() -> AsyncIterator[None]:
    build_providers(load_settings(worker_media_threads=3))
    yield
    build_providers(load_settings())


async def test_so_much_is_decoded_at_once_and_no_file_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    go_on = threading.Event()

    def slow(data: bytes, *_: object) -> Media:
        begun.append(threading.current_thread().name)
        go_on.wait(30)
        return Media(data, "video/mp4", 1, 1)

    monkeypatch.setattr(received, "_video", slow)
    monkeypatch.setattr(fitting, "_reduce", slow)
    odd = Media(b"", "image/odd", 1, 1)
    work = [asyncio.create_task(each) for _ in range(20) for each in (received_video(b""), fit(odd, FIRST_FRAME))]
    async with asyncio.timeout(20):
        while len(begun) < 3:
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(lambda: "a file") == "a file"
        assert len(begun) == 3
        go_on.set()
        await asyncio.gather(*work)
    assert len(begun) == 40
    assert len(set(begun)) == 3


async def test_what_goes_wrong_there_is_raised_here() -> None:
    with pytest.raises(ProviderError):
        await received_video(b"no film")
    with pytest.raises(ZeroDivisionError):
        await MEDIA_THREADS.run(divmod, 1, 0)
