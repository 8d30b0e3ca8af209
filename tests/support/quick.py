"""A provider that answers at once with the same tiny files, for tests that are not about drawing."""

from tallyframe.providers.base import Answer, Call, ImageTask, Media, Task, VideoTask
from tallyframe.providers.offline import OfflineProvider
from tests.support.drawn import GREEN, picture
from tests.support.working import Bench

IMAGE = picture(GREEN)
VIDEO = b"\x00\x00\x00\x18ftypmp42 not much of a film"


class Quick(OfflineProvider):
    """Makes what is ordered without drawing; remembers the pictures that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []

    async def start(self, task: Task, call: Call) -> Answer:
        if not isinstance(task, ImageTask | VideoTask):
            return await super().start(task, call)
        self.given = [(await each.read()).data for each in task.inputs]
        if isinstance(task, ImageTask):
            return Media(IMAGE, "image/png", 8, 6)
        return Media(VIDEO, "video/mp4", 8, 6, 1.0)


async def make_all(bench: Bench) -> Quick:
    """Make everything that has been ordered; return the provider that did."""
    provider = Quick()
    outcomes = await bench.drain(bench.with_provider(provider))
    assert set(outcomes) == {"succeeded"}, outcomes
    return provider
