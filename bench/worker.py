"""A worker as `tallyframe worker` runs it, but with a vendor that takes no time and notes when it was called.

    python -m bench.worker

The vendor obeys the test cards of the offline provider. Pictures are ready-made and small, so that what is measured is
the service, and not the drawing.
"""

from io import BytesIO

import uvloop
from PIL import Image

from bench.notes import note
from tallyframe.errors import ProviderError
from tallyframe.logs import configure_logs
from tallyframe.providers import offline
from tallyframe.providers.base import Answer, Call, Media, Task
from tallyframe.providers.offline import provider
from tallyframe.settings import load_settings
from tallyframe.worker import run_worker

_SIDE = 64  # pixels


class Vendor(offline.OfflineProvider):
    """The offline provider, which notes under the generation's id when it is called, and when it refuses."""

    async def start(self, task: Task, call: Call) -> Answer:
        """Answer as the offline provider does."""
        generation_id = call.key.partition(":")[0]
        note("called", generation_id)
        try:
            return await super().start(task, call)
        except ProviderError:
            note("refused", generation_id)
            raise


def main() -> None:
    """Put the vendor in the place of the offline provider, and run the worker."""
    file = BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), (180, 60, 40)).save(file, "PNG")
    picture = Media(file.getvalue(), "image/png", _SIDE, _SIDE)
    offline.build = lambda name, settings, models: Vendor()  # noqa: ARG005  # called with keywords or without
    setattr(provider, "draw_image", lambda order, given, prompt: picture)  # noqa: ARG005, B010  # as above; it is imported there
    settings = load_settings(needs=("database_url", "redis_url"))
    configure_logs(settings.observability.log_format, settings.observability.log_level, "worker")
    uvloop.run(run_worker(settings))


if __name__ == "__main__":
    main()
