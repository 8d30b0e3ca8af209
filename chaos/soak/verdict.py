"""The checks of a soak. Pure, so that a test can prove each with tampered figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaos.compared import expect
from chaos.soak.watch import Lap

#: How much more there may be after the last lap than after the first.
MOST_MEMORY = 0.1  # of what a process had in the first lap, and as much again as a film more at once takes:
FILM = 50 * 10**6  # bytes
MOST_DESCRIPTORS = 10
MOST_KEYS = 5
MOST_CONNECTIONS = 5


@dataclass(frozen=True, slots=True)
class Ended:
    """How a generation has ended: its status, the code of its failure or nothing, and its operation."""

    status: str
    code: str
    operation: str


@dataclass(frozen=True, slots=True)
class Found:
    """All that a soak has found. `verify` is the exit code and the output of `ledger verify`."""

    expected: dict[str, str]
    canceled: set[str]
    ended: dict[str, Ended]
    balances: dict[str, tuple[int, int]]  # per account: what is there, and what comes out of its generations
    verify: tuple[int, str]
    exits: Sequence[float]  # seconds from SIGTERM to the end
    bad_exits: Sequence[str]
    alarms: Sequence[str]
    grace: float
    laps: Sequence[Lap]


def everything_ended_as_ordered(found: Found) -> Iterator[str]:
    """Each generation has succeeded or failed as its test card says; a canceled one may have been quicker."""
    for generation, code in found.expected.items():
        ended = found.ended.get(generation)
        wanted = {("failed", code) if code else ("succeeded", "")}
        wanted |= {("canceled", "canceled")} if generation in found.canceled else set()
        is_so = ended is not None and (ended.status, ended.code) in wanted
        yield expect(is_so, f"generation {generation} has ended as {ended}, not as one of {sorted(wanted)}")
    for generation in found.ended.keys() - found.expected.keys():
        yield f"generation {generation} was ordered by nobody"


def every_credit_is_accounted_for(found: Found) -> Iterator[str]:
    """Each buyer has paid for what has succeeded, and for nothing else; `ledger verify` agrees."""
    for account, (there, due) in found.balances.items():
        yield expect(there == due, f"account {account} has {there} credits, and {due} come out")
    code, printed = found.verify
    yield expect(code == 0, f"`ledger verify` has ended with {code}: {printed[-300:]}")


def every_worker_ends_in_time(found: Found) -> Iterator[str]:
    """Each worker that got SIGTERM has ended by itself, with exit code 0, within its grace; no process died."""
    yield expect(bool(found.exits), "no worker was ever asked to end")
    for seconds in found.exits:
        yield expect(seconds <= found.grace, f"a worker took {seconds:.1f} s to end")
    yield from found.bad_exits


def nobody_raised_an_alarm(found: Found) -> Iterator[str]:
    """There is no bug in the logs."""
    yield from ("" for _ in found.laps)
    yield from found.alarms


def processes_stay_as_they_are(found: Found) -> Iterator[str]:
    """Neither memory nor descriptors of a process grow from lap to lap."""
    first, last = found.laps[0], found.laps[-1]
    for name, before in first.memory.items():
        after = last.memory[name]
        words = f"{name} had {before / 10**6:.0f} MB in the first lap, and {after / 10**6:.0f} MB in the last"
        yield expect(after <= before * (1 + MOST_MEMORY) + FILM, words)
    for name, before in first.descriptors.items():
        after = last.descriptors[name]
        words = f"{name} had {before} descriptors in the first lap, and {after} in the last"
        yield expect(after <= before + MOST_DESCRIPTORS, words)


def nothing_is_left_behind(found: Found) -> Iterator[str]:
    """No Redis keys, connections, rows or files stay that only work under way needs."""
    first, last = found.laps[0], found.laps[-1]
    words = f"Redis had {first.redis_keys} keys after the first lap, and {last.redis_keys} after the last"
    yield expect(last.redis_keys <= first.redis_keys + MOST_KEYS, words)
    words = f"Postgres had {first.connections} connections after the first lap, and {last.connections} after the last"
    yield expect(last.connections <= first.connections + MOST_CONNECTIONS, words)
    for number, lap in enumerate(found.laps, 1):
        for name, count in lap.passing.items():
            yield expect(not count, f"lap {number} has left {count} {name}")
        yield expect(lap.files == lap.known, f"lap {number}: {lap.files} files, and rows name {lap.known}")


CHECKS = {
    "everything ended as ordered": everything_ended_as_ordered,
    "every credit is accounted for": every_credit_is_accounted_for,
    "every worker ends within its grace": every_worker_ends_in_time,
    "no bug in the logs": nobody_raised_an_alarm,
    "memory and descriptors don't grow": processes_stay_as_they_are,
    "nothing is left behind": nothing_is_left_behind,
}
