"""Checks of the phase after the faults (`chaos/calm.py`): every key is answered, and the product works.

Each check yields a line per comparison (see `chaos/compared.py`).
"""

from collections.abc import Iterator
from dataclasses import replace

from chaos.compared import expect
from chaos.evidence import Evidence
from chaos.keys import ALONE, Key, keys_of
from chaos.reasons import bought_at

_NOT_FOUND = 404


def every_key_is_answered(evidence: Evidence) -> Iterator[str]:
    """A key that is sent again gets a definite answer: the first one again, if the order had been accepted."""
    deleted = evidence.deleted
    bought = bought_at(evidence)
    for key in keys_of(evidence.history).values() if evidence.checks_idempotency else ():
        before = replace(key, lines=tuple(line for line in key.lines if not line.calm))
        again = replace(key, lines=tuple(line for line in key.lines if line.calm))
        if before.lines and (again.lines or before.outcome == "info"):
            yield _compare(before, again, is_deleted=key.is_among(deleted), bought=bought.get(key.name))


def the_product_works(evidence: Evidence) -> Iterator[str]:
    """After the faults, each API process is ready and accepts an order of each kind that succeeds."""
    succeeded = {row["id"] for row in evidence.generations if row["status"] == "succeeded"}
    calm = [line for line in evidence.history if line.calm and line.outcome == "ok"]
    for api in evidence.apis:
        is_ready = any(line.op == "ready" and line.api == api for line in calm)
        yield expect(is_ready, f"{api} is not ready although all faults are over")
        for op in ALONE:
            made = [line for line in calm if (line.api, line.op) == (api, op) and line.generation in succeeded]
            asked = [line for line in made if f"-calm-{api}-" in line.key]
            yield expect(bool(asked), f"no {op} that was ordered at {api} after the faults has succeeded")


def _compare(before: Key, again: Key, *, is_deleted: bool, bought: float | None) -> str:
    """Return what is wrong with the answers to a key that was sent again, or nothing."""
    name = f"key {before.name} ({before.op})"
    definite = [line for line in again.lines if line.outcome != "info"]
    if not definite:
        codes = sorted({f"{line.status} {line.code}" for line in again.lines})
        return f"{name} has no answer although all faults are over: sent {len(again.lines)} times, told {codes}"
    last = definite[-1]
    if last.outcome == "refused":
        is_lawful = before.outcome != "ok" or (is_deleted and last.status == _NOT_FOUND)
        return expect(is_lawful, f"{name} was acknowledged, and is refused now: {last.status} {last.code}")
    if before.outcome == "ok" and (last.generation not in before.generations or last.project != before.project):
        return f"{name} was told {sorted(before.generations)}, and is told {last.generation} of {last.project} now"
    was_taken = before.outcome == "ok" or (bought is not None and bought < last.sent)
    return expect(last.replayed or not was_taken, f"{name} had been taken, and is answered as if it were new")
