"""No arrow on noise, and an arrow where there is something: intervals against published values, tests against known samples."""

import itertools
import random
from datetime import timedelta

import pytest

from runs.compare import statistics, tables
from runs.compare.errors import errors, pattern
from runs.compare.records import Change, Tolerance
from runs.digests import RunDigest, StepSample
from runs.records import ErrorSummary, Status

TOLERANCE = Tolerance()
SECOND = 1_000_000


def a_run(
    number: int, status: Status = Status.SUCCEEDED, took: int = SECOND, message: str = "", workflow: str = "order"
) -> RunDigest:
    return RunDigest(
        id=f"run-{number}",
        workflow=workflow,
        status=status,
        created_at=number * SECOND,
        finished_at=number * SECOND + took,
        duration=took,
        events=2,
        last_at=number * SECOND + took,
        history=number.to_bytes(16),
        content=b"",
        input=b"",
        error=ErrorSummary("TimeoutError", message) if message else None,
    )


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998 (Two-sided confidence intervals for the single proportion), table I: 81 of 263 and 0 of 20.
    found = statistics.rate(81, 263)
    assert (found.low, found.high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    found = statistics.rate(0, 20)
    assert (found.low, found.high) == (pytest.approx(0, abs=5e-5), pytest.approx(0.1611, abs=5e-5))


def test_the_interval_of_a_difference_is_the_published_one() -> None:
    # Newcombe 1998, table II (a): 56 of 70 less 48 of 80, method 10, 95 %.
    low, high = statistics._difference(statistics.rate(48, 80), statistics.rate(56, 70), statistics._SHOWN)
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_the_rank_test_agrees_with_every_way_to_deal_the_same_ranks() -> None:
    a, b = [1, 2, 3, 5, 6, 8, 9], [4, 7, 10, 11, 12, 13, 14]
    both = sorted(a + b)
    middle = len(a) * (len(both) + 1) / 2
    distance = abs(sum(a) - middle)
    deals = [sum(deal) for deal in itertools.combinations(both, len(a))]
    exact = sum(abs(total - middle) >= distance for total in deals) / len(deals)
    assert statistics._rank_test(a, b) == pytest.approx(exact, abs=0.004)


def test_samples_of_one_kind_draw_hardly_an_arrow() -> None:
    chance = random.Random(20)
    drawn = 0
    for _ in range(400):
        a, b = ([int(chance.lognormvariate(0, 1) * SECOND) for _ in range(60)] for _ in range(2))
        change, _ = statistics.compare_durations(a, b, TOLERANCE)
        drawn += change is not Change.SAME
    assert drawn <= 8  # 2 %: two tests, each for 1 %


def test_a_slower_tail_is_seen_behind_the_same_middle() -> None:
    chance = random.Random(3)
    a = [int(chance.uniform(0.9, 1.1) * SECOND) for _ in range(400)]
    b = [took * 5 if number % 10 == 0 else took for number, took in enumerate(a)]
    change, evidence = statistics.compare_durations(a, b, TOLERANCE)
    assert change is Change.WORSE
    assert evidence.startswith("p95 1.0")
    assert "intervals lie apart" in evidence
    assert statistics.compare_durations(b, a, TOLERANCE)[0] is Change.BETTER


def test_a_difference_inside_the_tolerance_is_none_however_sure() -> None:
    a, b = [SECOND + number for number in range(1000)], [SECOND + 100_000 + number for number in range(1000)]
    assert statistics.compare_durations(a, b, TOLERANCE)[0] is Change.SAME
    assert statistics.compare_durations(a, b, Tolerance(0.05, timedelta(milliseconds=50)))[0] is Change.WORSE


def test_below_twenty_nothing_is_said() -> None:
    change, evidence = statistics.compare_durations([1] * 19, [SECOND] * 1000, TOLERANCE)
    assert change is Change.TOO_FEW
    assert "19 in A" in evidence
    assert statistics.compare_rates(statistics.rate(0, 19), statistics.rate(19, 19))[0] is Change.TOO_FEW


def test_rates_that_differ_by_chance_are_the_same() -> None:
    assert statistics.compare_rates(statistics.rate(3, 172), statistics.rate(0, 187))[0] is Change.SAME
    change, evidence = statistics.compare_rates(statistics.rate(48, 4004), statistics.rate(198, 4120))
    assert change is Change.WORSE
    assert "1.2 % → 4.8 %" in evidence


def test_what_differs_from_one_time_to_the_next_is_left_out_of_an_error() -> None:
    assert pattern("Timeout after 3012 ms for 018f6e0c-8a7b-7c3d-9e2f-1a2b3c4d5e6f") == "Timeout after # ms for #"
    assert pattern("E_01JD3ZK6W8X3N6T9Q2M5V7B4C1 refused") == "E_# refused"
    assert pattern("deadbeef") == "deadbeef"  # a word, as far as one can tell


def test_errors_are_new_gone_more_and_fewer_by_how_many_could_have_failed() -> None:
    fine = [a_run(number) for number in range(1000)]
    a = [
        *fine,
        *(a_run(5000 + n, Status.FAILED, message=f"slow {n}") for n in range(10)),
        a_run(1, Status.FAILED, message="old"),
    ]
    b = [
        *fine,
        *(a_run(5000 + n, Status.FAILED, message=f"slow {n}") for n in range(90)),
        a_run(2, Status.FAILED, message="strange"),
    ]
    found = errors(a, b)
    assert [(group.error.message, group.a_count, group.b_count) for group in found.more] == [("slow 0", 10, 90)]
    assert [group.b_example for group in found.new] == ["run-2"]
    assert [group.a_example for group in found.gone] == ["run-1"]
    mirrored = errors(b, a)
    assert [group.fingerprint for group in mirrored.fewer] == [group.fingerprint for group in found.more]
    assert [group.fingerprint for group in mirrored.gone] == [group.fingerprint for group in found.new]


def test_the_table_of_workflows_counts_every_run_and_puts_what_got_worse_first() -> None:
    a = [a_run(n) for n in range(100)] + [a_run(n, workflow="sync") for n in range(200, 500)]
    b = [a_run(n, took=3 * SECOND + n) for n in range(100)] + [a_run(n, workflow="sync") for n in range(200, 500)]
    whole, by_name = tables.workflows(a, b, {"order": 90, "sync": 300}, TOLERANCE)
    assert (whole.a_count, whole.b_count, whole.matched) == (400, 400, 390)
    assert [(group.name, group.durations) for group in by_name] == [("order", Change.WORSE), ("sync", Change.SAME)]


def test_steps_count_what_failed_and_what_was_tried_again() -> None:
    quick, slow = StepSample((SECOND,) * 50, 60, 10, 3), StepSample((5 * SECOND,) * 50, 52, 2, 0)
    (group,) = tables.steps({"charge": quick}, {"charge": slow}, TOLERANCE)
    assert (group.durations, group.failures) == (Change.WORSE, Change.SAME)
    assert (group.a_failed.failed, group.a_failed.of, group.a_retried) == (10, 60, 3)
