"""The offline provider, with a count of what a vendor would bill."""

from tallyframe.providers.base import Answer, Call, Task
from tallyframe.providers.offline import OfflineProvider


class Counting(OfflineProvider):
    """Counts what a vendor would bill."""

    def __init__(self, *, repeatable: bool = True) -> None:
        super().__init__()
        self.repeatable = repeatable
        self.bought: list[str] = []

    async def start(self, task: Task, call: Call) -> Answer:
        self.bought.append(call.key)
        return await super().start(task, call)
