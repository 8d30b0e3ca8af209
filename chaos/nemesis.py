"""Who breaks things: draws faults from a seed with two hands, and writes down each.

The kinds come like cards from a shuffled deck, so that none is missing and none prevails. What each hand draws, on whom
and for how long, depends on the seed alone; what it meets also depends on how fast the machine is.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time

from chaos.faults import KINDS, Kind, Where
from chaos.stack import Stack

HANDS = 2  # faults at once, at most
LOG = "faults.jsonl"

#: Processes of which one at a time is hit, when all of them serve; some faults hit all of a kind on purpose.
_SPARED = ("api", "worker")
_AT_MOST = 8.0  # seconds
_UP_AGAIN = 60.0  # seconds


@dataclass
class Nemesis:
    """One run's. `counts` is of the faults that had an effect, by kind, and `idle` of those that had none."""

    stack: Stack
    counts: Counter[str] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)
    _busy: set[str] = field(default_factory=set)

    @property
    def log(self) -> Path:
        """Where every fault is written down."""
        return self.stack.folder / LOG

    async def rage(self) -> None:
        """Break things for the plan's seconds, and in its overtime until every kind has had an effect once.

        Everything has been undone when this returns, and every process serves again.
        """
        until = monotonic() + self.stack.plan.seconds
        async with asyncio.TaskGroup() as hands:
            for number in range(HANDS):
                hands.create_task(self._hand(number, until))
        for child in self.stack.children.values():
            if not await child.serves_within(_UP_AGAIN):
                child.problems.append(f"{child.name} does not serve {_UP_AGAIN:.0f} s after the last fault")

    async def _hand(self, number: int, until: float) -> None:
        lot = random.Random(f"{self.stack.plan.seed}:nemesis:{number}")
        deck: list[Kind] = []
        while not self._is_done(until):
            deck = deck or _shuffled(KINDS, lot)
            kind = deck.pop()
            if not await self._do(kind, random.Random(lot.random())):
                deck = [kind, *deck] if deck.count(kind) == 0 and deck else deck  # once more, at the end
            await asyncio.sleep(lot.uniform(*self.stack.plan.lull))

    def _is_done(self, until: float) -> bool:
        over = monotonic() - until
        return over > 0 and (len(self.counts) == len(KINDS) or over > self.stack.plan.overtime)

    async def _do(self, kind: Kind, lot: random.Random) -> bool:
        """Do it, unless the other hand is at it; return whether it had an effect."""
        seconds = lot.uniform(*self.stack.plan.span)
        target = kind.target(self.stack, lot)
        place = kind.on if kind.on in _SPARED else target
        if place in self._busy:  # the other hand has it
            return False
        self._busy.add(place)
        began, effect = time(), False
        try:
            await self._until_up(kind.on)
            effect = await kind.do(Where(self.stack, target, seconds, lot))
        finally:
            self._busy.discard(place)
            self._note(kind.name, target, began, effect=effect)
        (self.counts if effect else self.idle)[kind.name] += 1
        return effect

    async def _until_up(self, on: str) -> None:
        """Wait, but not for long, until all of that kind serve again: nothing is learnt from breaking ruins."""
        children = [self.stack.children[name] for name in self.stack.named(on)] if on in _SPARED else []
        until = monotonic() + _AT_MOST
        for child in children:
            await child.serves_within(until - monotonic())

    def _note(self, kind: str, target: str, began: float, *, effect: bool) -> None:
        line = {"at": began, "kind": kind, "target": target, "seconds": round(time() - began, 3), "effect": effect}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _shuffled(kinds: Sequence[Kind], lot: random.Random) -> list[Kind]:
    """Return all kinds in a random order."""
    deck = list(kinds)
    lot.shuffle(deck)
    return deck
