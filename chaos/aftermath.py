"""Checks of what was asked after the faults (`chaos/calm.py`): every key is answered, and the product works.

Each check takes the evidence and yields a line for each thing that it has compared, empty where all is well.
"""

from collections.abc import Iterator

from chaos.compared import expect
from chaos.evidence import Evidence
from chaos.keys import NEW, Key, keys_of
from chaos.reasons import bought_at

_NOT_FOUND = 404


def every_key_is_answered(evidence: Evidence) -> Iterator[str]:
    """A key that is sent once more gets a definite answer, and the first one again if it has been taken before."""
    deleted = {row["id"] for row in evidence.projects if row["is_deleted"]}
    bought = bought_at(evidence)
    for key in keys_of(evidence.history).values() if evidence.checks_idempotency else ():
        before, again = _parted(key)
        if before.lines and (again.lines or before.outcome == "info"):
            yield _answered(before, again, is_deleted=key.project in deleted, bought=bought.get(key.name))


def the_product_works(evidence: Evidence) -> Iterator[str]:
    """Once the faults are over each API process is ready, and takes an image and a video that succeed."""
    succeeded = {row["id"] for row in evidence.generations if row["status"] == "succeeded"}
    calm = [line for line in evidence.history if line.calm and line.outcome == "ok"]
    for api in evidence.apis:
        is_ready = any(line.op == "ready" and line.api == api for line in calm)
        yield expect(is_ready, f"{api} is not ready although all faults are over")
        for op in NEW:
            made = [line for line in calm if (line.api, line.op) == (api, op) and line.generation in succeeded]
            asked = [line for line in made if f"-calm-{api}-" in line.key]
            yield expect(bool(asked), f"no {op} that was ordered at {api} after the faults has succeeded")


def _parted(key: Key) -> tuple[Key, Key]:
    """Return what was asked with a key before all faults were over, and what after that."""
    before, again = (tuple(line for line in key.lines if line.calm is calm) for calm in (False, True))
    return Key(key.name, key.op, key.client, before), Key(key.name, key.op, key.client, again)


def _answered(before: Key, again: Key, *, is_deleted: bool, bought: float | None) -> str:
    """Say what is wrong with the answers to a key that was sent once more, or nothing."""
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
