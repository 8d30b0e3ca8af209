"""Every scenario, by its name, in the order in which they are run. A new one is a function and a line here."""

from collections.abc import Mapping

from bench.scenarios.accept import accept, hot_account
from bench.scenarios.context import Context, Scenario
from bench.scenarios.growth import growth
from bench.scenarios.pickup import pickup, refund
from bench.scenarios.pipeline import pipeline, second_worker
from bench.scenarios.poll import poll
from bench.scenarios.verify import verify
from bench.scenarios.waiting import waiting_videos

__all__ = ["LARGE_ONES", "SCENARIOS", "Context", "Scenario"]

SCENARIOS: Mapping[str, Scenario] = {
    "accept": accept,
    "poll": poll,
    "hot_account": hot_account,
    "pickup": pickup,
    "refund": refund,
    "pipeline": pipeline,
    "second_worker": second_worker,
    "waiting_videos": waiting_videos,
    "verify": verify,
    "growth": growth,
}

#: Those that fill databases with many rows first.
LARGE_ONES = ("verify", "growth")
