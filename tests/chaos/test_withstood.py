"""What counts as slow, and what is left out: written evidence, without a run."""

from chaos.evidence import Evidence
from chaos.withstood import growth, meant_to_be_up, percentile, processes_answer_in_time
from tests.chaos.tampering_strangers import pulse


def lives(*what: tuple[float, str]) -> list[dict[str, object]]:
    return [{"api": "api-1", "at": at, "what": word} for at, word in what]


def evidence(took: list[float], *what: tuple[float, str]) -> Evidence:
    return Evidence([], [], apis=["api-1"], pulse=pulse("api-1", took), lives=lives(*what))


def kept(of: Evidence) -> list[float]:
    return [row["sent"] - 1000 for row in meant_to_be_up(of, "api-1")]


def test_a_frozen_process_is_left_out_until_a_second_later() -> None:
    took = [0.001, 0.001, 3.0, 0.001, 0.001, 0.001, 0.001, 0.001]
    assert kept(evidence(took, (1002.5, "SIGSTOP"), (1004.5, "SIGCONT"))) == [0, 1, 6, 7]


def test_a_process_that_was_ended_is_left_out_until_it_answers() -> None:
    for signal in ("SIGKILL", "SIGTERM"):
        assert kept(evidence([0.001] * 8, (999.0, "started"), (1001.5, signal), (1002.5, "started"))) == [0, 1, 5, 6, 7]
    assert kept(evidence([0.001] * 4, (1001.5, "SIGKILL"))) == [0, 1]


def test_a_frozen_process_that_is_killed_is_left_out_as_a_killed_one() -> None:
    ends = [(1000.5, "SIGSTOP"), (1001.5, "SIGKILL"), (1002.5, "started"), (1003.5, "SIGCONT")]
    assert kept(evidence([0.001] * 8, *ends)) == [0, 5, 6, 7]


def test_a_process_that_ended_by_itself_is_not_left_out() -> None:
    gone = evidence([0.001] * 4, (1001.5, "started"))
    assert kept(gone) == [0, 1, 2, 3]
    gone.pulse[2]["status"] = 0
    assert "p99 of /healthz is 4950 ms" in "".join(processes_answer_in_time(gone))


def test_who_would_have_waited_counts_too() -> None:
    """An answer that took a second kept nineteen more turns waiting, and they are none of the quick ones."""
    assert percentile([0.01] * 99 + [1.0], 0.99, 0.05) > 0.9
    assert percentile([0.01] * 10_000 + [1.0], 0.99, 0.05) == 0.01


def test_memory_is_compared_with_that_of_the_first_answer() -> None:
    """Before, the process is still being started. Each start is looked at by itself."""
    rows = [(1, 999.5, 20), (1, 1000.5, 80), (1, 1001.5, 95), (1, 1002.2, 90), (2, 1002.5, 10), (2, 1003.5, 80)]
    of = evidence([0.001] * 4)
    of.memory.extend({"api": "api-1", "start": start, "at": at, "bytes": size} for start, at, size in rows)
    assert growth(of) == {("api-1", 1): 15, ("api-1", 2): 0}


def test_what_a_process_waits_for_a_processor_is_the_machines() -> None:
    of = evidence([0.5] * 200)
    assert "p99 of /healthz is 500 ms" in "".join(processes_answer_in_time(of))
    for row in of.pulse:
        row["waited"] = 0.45
    assert list(processes_answer_in_time(of)) == [""]
