"""How long, how many and how fast: all of a run that isn't drawn by chance."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. Times are in seconds."""

    seed: int
    seconds: float  # with faults
    apis: int = 2
    workers: int = 3
    clients: int = 8
    lease: float = 5.0
    vendor_timeout: float = 4.0
    client_timeout: float = 4.0
    max_age: float = 45.0  # from acceptance until a generation expires
    is_stuck_at_times: bool = True  # some films at the vendor never get ready; their generations expire
    think: tuple[float, float] = (0.05, 0.8)  # of a client, between two requests
    lull: tuple[float, float] = (0.2, 1.5)  # between the end of one fault and the next
    span: tuple[float, float] = (0.5, 6.0)  # of a fault
    overtime: float = (
        90.0  # beyond `seconds`, at most, until every kind has had an effect: a busy machine starts slowly
    )
    quiet: float = 120.0  # after the faults; by then all generations must have ended
    strangers: int = 240  # their connections, at once
    pause: tuple[float, float] = (0.5, 4.0)  # of one of them, between two connections
    pulse: float = 0.05  # between two requests for /healthz
    header_timeout: float = 10.0  # for a request's head
    stalled_timeout: float = 60.0  # for a client that doesn't read
    most_seconds: float = 0.2  # p99 of /healthz must be below
    checks_idempotency: bool = True


def quick(seed: int, *, checks_idempotency: bool = True) -> Plan:
    """Return a run of half a minute in all, in which every kind of fault comes once or more."""
    return Plan(
        seed=seed,
        seconds=11.0,
        workers=2,
        clients=6,
        lease=2.0,
        vendor_timeout=1.5,
        client_timeout=2.0,
        max_age=3600.0,  # nobody waits for a stuck film
        is_stuck_at_times=False,
        think=(0.02, 0.2),
        lull=(0.0, 0.1),
        span=(0.2, 0.7),
        strangers=48,
        pulse=0.2,
        header_timeout=3.0,
        stalled_timeout=3.0,
        most_seconds=2.0,  # beside other tests, half of the processes are just starting
        checks_idempotency=checks_idempotency,
    )
