"""Who breaks things: draws faults from a seed with two hands, and writes down each.

The kinds come like cards from a shuffled deck, so that none is missing and none prevails. What each hand draws, on whom
and for how long, depends on the seed alone; what it meets also depends on how fast the machine is.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time

from chaos.faults import KINDS, Kind, Where
from chaos.stack import Stack

HANDS = 2  # faults at once, at most
LOG = "faults.jsonl"


@dataclass
class Nemesis:
    """One run's. `counts` is of the faults that were done, by kind."""

    stack: Stack
    counts: Counter[str] = field(default_factory=Counter)
    _busy: set[str] = field(default_factory=set)

    @property
    def log(self) -> Path:
        """Where every fault is written down."""
        return self.stack.folder / LOG

    async def rage(self) -> None:
        """Break things for the plan's seconds, and, however long that takes, until every kind has come once.

        Everything has been undone when this returns.
        """
        until = monotonic() + self.stack.plan.seconds
        await asyncio.gather(*(self._hand(number, until) for number in range(HANDS)))

    async def _hand(self, number: int, until: float) -> None:
        lot = random.Random(f"{self.stack.plan.seed}:nemesis:{number}")
        for kind in _shuffled(KINDS, lot):
            if monotonic() > until and len(self.counts) == len(KINDS):
                return
            await self._do(kind, random.Random(lot.random()))
            await asyncio.sleep(lot.uniform(*self.stack.plan.lull))

    async def _do(self, kind: Kind, lot: random.Random) -> None:
        seconds = lot.uniform(*self.stack.plan.span)
        target = lot.choice(kind.targets(self.stack))
        if target in self._busy:  # the other hand has it
            return
        self._busy.add(target)
        began = time()
        try:
            await kind.do(Where(self.stack, target, seconds, lot))
        finally:
            self._busy.discard(target)
            self._note(kind.name, target, began)
        self.counts[kind.name] += 1

    def _note(self, kind: str, target: str, began: float) -> None:
        line = {"at": began, "kind": kind, "target": target, "seconds": round(time() - began, 3)}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _shuffled(kinds: Sequence[Kind], lot: random.Random) -> Iterator[Kind]:
    """Deal all kinds in a random order, again and again."""
    while True:
        deck = list(kinds)
        lot.shuffle(deck)
        yield from deck
