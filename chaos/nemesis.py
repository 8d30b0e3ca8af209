"""The nemesis: draws faults from a seed with two hands, commits them, and writes down each.

A hand draws the kinds from a shuffled deck, so that all come equally often. Which kind a hand draws, whom it hits and
how long it lasts depends on the seed alone. What the stack is doing at that moment also depends on the machine's speed.
"""

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time

from chaos.faults import KINDS, Kind, Where
from chaos.stack import Stack

HANDS = 2  # faults at once, at most
LOG = "faults.jsonl"

#: Of these processes only one at a time is hit, and only while all serve. Some faults hit all of a kind on purpose.
_ONE_AT_A_TIME = ("api", "worker")
_WAIT_FOR_ALL = 8.0  # seconds
_UP_AGAIN = 60.0  # seconds


@dataclass
class Nemesis:
    """The nemesis of one run. `counts` are faults with an effect, by kind, and `idle` faults without one."""

    stack: Stack
    counts: Counter[str] = field(default_factory=Counter)
    idle: Counter[str] = field(default_factory=Counter)
    _busy: set[str] = field(default_factory=set)

    @property
    def log(self) -> Path:
        """The file with a line per fault."""
        return self.stack.folder / LOG

    async def rage(self) -> None:
        """Commit faults for the plan's seconds, and then until every kind has had an effect, in its overtime at most.

        When this returns, all faults are over and every process serves again; if one doesn't, its `problems` say so.
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
            if not deck:
                deck = list(KINDS)
                lot.shuffle(deck)
            kind = deck.pop()
            had_effect = await self._commit(kind, random.Random(lot.random()))
            if not had_effect and deck and kind not in deck:
                deck.insert(0, kind)  # once more, at the end of this deck
            await asyncio.sleep(lot.uniform(*self.stack.plan.lull))

    def _is_done(self, until: float) -> bool:
        over = monotonic() - until
        return over > 0 and (len(self.counts) == len(KINDS) or over > self.stack.plan.overtime)

    async def _commit(self, kind: Kind, lot: random.Random) -> bool:
        """Commit a fault, unless the other hand is at the same place; return whether it had an effect."""
        seconds = lot.uniform(*self.stack.plan.span)
        target = kind.target(self.stack, lot)
        place = kind.on if kind.on in _ONE_AT_A_TIME else target
        if place in self._busy:
            return False
        self._busy.add(place)
        began, effect = time(), False
        try:
            if kind.on in _ONE_AT_A_TIME:  # a fault shows nothing at a process that is down, so we wait a little
                until = monotonic() + _WAIT_FOR_ALL
                for name in self.stack.named(kind.on):
                    await self.stack.children[name].serves_within(until - monotonic())
            effect = await kind.do(Where(self.stack, target, seconds, lot))
        finally:
            self._busy.discard(place)
            took = round(time() - began, 3)
            line = {"at": began, "kind": kind.name, "target": target, "seconds": took, "effect": effect}
            with self.log.open("a") as file:
                file.write(json.dumps(line) + "\n")
        (self.counts if effect else self.idle)[kind.name] += 1
        return effect
