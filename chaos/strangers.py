"""Hostile strangers, a process of their own: hundreds of connections to the API processes, none of which may be served.

    python -m chaos.strangers SPEC LINES

SPEC is a file with a `Spec` in JSON. The file LINES gets a line per connection: what was done, when, at which API
process, which statuses of HTTP came, and how it ended (`chaos/wires.py`). What each hand does depends on the seed
alone. On SIGTERM everybody hangs up. Nobody reads more of an answer than its status.
"""

import asyncio
import json
import random
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import Any, TextIO

from chaos.malicious import MALICIOUS
from chaos.rude import RUDE, Draw, Limits
from chaos.wires import Act, End, Wire
from tallyframe.priority import stand_back

KINDS: Mapping[Callable[[Draw], Act], int] = RUDE | MALICIOUS
_MEMBERS = 6  # one hand in so many has the member's key
_HEAVY = ("huge", "flood", "endless", "hostile")  # how the names of acts begin that send much
_MOST_HEAVY = 6  # of these at once: one machine is API and stranger here


@dataclass(frozen=True, slots=True)
class Spec:
    """What strangers know. `ports`: those of the API processes, by name; `key`: the member's."""

    seed: int
    ports: dict[str, int]
    key: str
    unknown_keys: list[str]
    hands: int  # connections at once
    pause: tuple[float, float]  # seconds of a hand, between two acts
    limits: dict[str, float]


@dataclass
class Crowd:
    """All hands, each with one connection at a time."""

    spec: Spec
    lines: TextIO
    heavy: asyncio.Semaphore

    async def rage(self) -> None:
        """Act until canceled."""
        await asyncio.gather(*(self._hand(number) for number in range(self.spec.hands)))

    async def _hand(self, number: int) -> None:
        """Do one act after the other. The first kinds are dealt out, so that each comes; the others are drawn."""
        lot = random.Random(f"{self.spec.seed}:stranger:{number}")
        is_member = number % _MEMBERS == 0
        kinds = MALICIOUS if is_member else RUDE
        limits, order = Limits(**self.spec.limits), list(kinds)
        place = number // _MEMBERS if is_member else number - number // _MEMBERS - 1  # among those of its sort
        first = [order[place % len(order)]]
        await asyncio.sleep(lot.uniform(*self.spec.pause))
        while True:
            kind = first.pop() if first else lot.choices(order, list(kinds.values()))[0]
            key = self.spec.key if is_member else lot.choice(self.spec.unknown_keys)
            act = kind(Draw(lot, key, limits))
            async with self.heavy if act.name.startswith(_HEAVY) else nullcontext():
                end = await self._do(act, lot.choice(list(self.spec.ports)))
            first = [kind] if end == "refused" else []  # it is tried again where somebody listens
            await asyncio.sleep(lot.uniform(*self.spec.pause))

    async def _do(self, act: Act, api: str) -> End:
        """Do an act, write down what became of it, also when it is cut short, and return how it ended."""
        at, began, wire = time(), monotonic(), Wire(act, self.spec.ports[api])
        try:
            await wire.run()
        finally:
            told = wire.told
            line: dict[str, Any] = {"act": act.name, "api": api, "at": at, "seconds": round(monotonic() - began, 3)}
            line |= {"statuses": told.statuses, "end": told.end, "sent": told.sent}
            self.lines.write(json.dumps(line) + "\n")
        return told.end


async def act_until_stopped(spec: Spec, lines: TextIO) -> None:
    """Act until SIGTERM. Raises what a hand raises: that would be a bug of ours."""
    raging = asyncio.create_task(Crowd(spec, lines, asyncio.Semaphore(_MOST_HEAVY)).rage())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, raging.cancel)
    with suppress(asyncio.CancelledError):
        await raging


if __name__ == "__main__":
    stand_back()  # it stands for one on another machine
    with Path(sys.argv[2]).open("w") as written:
        asyncio.run(act_until_stopped(Spec(**json.loads(Path(sys.argv[1]).read_text())), written))
