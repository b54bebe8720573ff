"""The geometry and the words of a timeline, on records whose bars can be worked out by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import timeline as timelines
from runs.records import Attempt, ErrorSummary, Run, Status, Step, StepKind
from runs.timeline import Branch, Pattern, Scale, Timeline, Tone, keep_ledger, whole_of
from runs.timeline.scale import LEFT, RIGHT, between, merge

WHOLE: tuple[None, None] = (None, None)
ZERO = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def a_run(status: Status = Status.SUCCEEDED, *, end: float = 10, started: float = 0, **more: object) -> Run:
    return Run(
        id="r",
        workflow="fulfil_order",
        status=status,
        native_status="",
        created_at=ZERO,
        started_at=at(started),
        finished_at=at(end) if status.finished else None,
        last_event_at=at(end),
        duration=timedelta(seconds=end) if status.finished else None,
        **more,  # type: ignore[arg-type]
    )


def a_step(ordinal: int, start: float | None, end: float | None, **more: object) -> Step:
    values = {
        "kind": StepKind.ACTIVITY,
        "name": f"step_{ordinal}",
        "status": Status.SUCCEEDED,
        "started_at": None if start is None else at(start),
        "finished_at": None if end is None else at(end),
        "duration": None if start is None or end is None else timedelta(seconds=end - start),
    }
    return Step(ordinal=ordinal, **(values | more))  # type: ignore[arg-type]


def lay_out(
    run: Run, steps: Sequence[Step], *, window: tuple[datetime | None, datetime | None] = WHOLE, **about: Any
) -> Timeline:
    return timelines.lay_out(whole_of(run, steps, **about), window=window)


def test_a_bar_lies_where_its_times_lie() -> None:
    timeline = lay_out(a_run(), [a_step(1, 0, 5), a_step(2, 5, 10)], as_of=at(10))
    _, first, second = timeline.rows
    track = RIGHT - LEFT
    assert first.segments[0].x == pytest.approx(LEFT)
    assert first.segments[0].width == pytest.approx(track / 2)
    assert second.segments[0].x == pytest.approx(LEFT + track / 2)
    assert first.segments[0].pattern is Pattern.RAN
    assert first.segments[0].tone is Tone.OK


def test_the_run_itself_is_the_first_row_and_shows_how_long_it_was_queued() -> None:
    row = lay_out(a_run(started=2), [a_step(1, 2, 10)], as_of=at(10)).rows[0]
    assert [segment.pattern for segment in row.segments] == [Pattern.QUEUED, Pattern.LINE]
    assert row.segments[0].width == pytest.approx((RIGHT - LEFT) * 0.2)


def test_attempts_back_off_between_them_and_the_last_failure_is_final() -> None:
    attempts = (
        Attempt(at(1), at(2), Status.FAILED, until=at(4)),
        Attempt(at(4), at(5), Status.FAILED, until=at(8)),
        Attempt(at(8), at(9), Status.FAILED),
    )
    step = a_step(1, 0, 9, status=Status.FAILED, attempts=attempts, attempt_count=3)
    row = lay_out(a_run(Status.FAILED), [step], as_of=at(10)).rows[1]
    assert [segment.pattern for segment in row.segments] == [
        Pattern.QUEUED, Pattern.TRIED, Pattern.BACKING_OFF, Pattern.TRIED, Pattern.BACKING_OFF, Pattern.RAN,
    ]  # fmt: skip
    assert row.segments[-1].final
    assert "failed after 3 attempts" in row.sentence


def test_a_bar_without_an_end_goes_to_what_is_known_and_says_at_least() -> None:
    step = a_step(1, 2, None, status=Status.RUNNING)
    row = lay_out(a_run(Status.RUNNING), [step], as_of=at(10)).rows[1]
    assert row.segments[0].open
    assert row.at_least
    assert row.took == timedelta(seconds=8)
    assert "at least 8.00 s" in row.sentence


def test_copied_steps_are_ghosts_in_a_strip_of_their_own_left_of_zero() -> None:
    timeline = lay_out(a_run(), [a_step(1, -300, -299, inherited=True), a_step(2, 1, 10)], as_of=at(10))
    ghost, own = timeline.rows[1].segments[0], timeline.rows[2].segments[0]
    assert ghost.pattern is Pattern.GHOST
    assert ghost.x + ghost.width < timeline.scale.left <= own.x


def test_a_long_sleep_is_folded_and_its_bar_is_seen_on_both_sides() -> None:
    steps = [a_step(1, 0, 5), a_step(2, 5, 43_205, kind=StepKind.SLEEP), a_step(3, 43_205, 43_210)]
    folded = lay_out(a_run(end=43_210), steps, as_of=at(43_210))
    (gap,) = folded.scale.gaps
    assert gap.label == "12 h"
    assert folded.rows[1].segments[0].width > 30
    sleep = folded.rows[2].segments[0]
    assert sleep.x < gap.x < sleep.x + sleep.width
    shown = lay_out(a_run(end=43_210), steps, as_of=at(43_210), fold=False)
    assert not shown.scale.gaps
    assert shown.rows[1].segments[0].instant


def test_a_step_that_took_no_time_is_an_instant() -> None:
    assert lay_out(a_run(), [a_step(1, 3, 3)], as_of=at(10)).rows[1].segments[0].instant


def test_a_negative_duration_stays_negative() -> None:
    row = lay_out(a_run(), [a_step(1, 3, 2.988)], as_of=at(10)).rows[1]
    assert row.took == timedelta(seconds=-0.012)
    assert "−12.0 ms" in row.sentence


def test_a_window_shows_its_part_and_the_minimap_the_whole() -> None:
    steps = [a_step(1, 0, 5), a_step(2, 5, 10)]
    timeline = lay_out(a_run(), steps, as_of=at(10), window=(at(6), at(8)))
    assert timeline.rows[1].segments == ()
    assert timeline.rows[2].segments[0].width == pytest.approx(RIGHT - LEFT)
    assert timeline.whole.start == ZERO
    assert timeline.whole.end == at(10)
    assert len(timeline.outline) == 3
    assert all(timeline.outline)


def test_steps_that_overlap_say_how_many_ran_at_once() -> None:
    steps = [a_step(1, 0, 4), a_step(2, 1, 3), a_step(3, 2, 6), a_step(4, 6, 7)]
    rows = lay_out(a_run(), steps, as_of=at(10)).rows
    assert [row.at_once for row in rows] == [0, 3, 3, 3, 0]
    assert [row.first_at_once for row in rows] == [False, True, False, False, False]


def test_an_opened_child_lies_below_its_step_one_level_deeper() -> None:
    child = Branch(a_run(), (a_step(1, 2, 3), a_step(2, 3, 4)))
    steps = [a_step(7, 1, 5, kind=StepKind.CHILD_RUN, child="r-7"), a_step(8, 5, 6)]
    rows = lay_out(a_run(), steps, as_of=at(10), opened={7: child}).rows
    assert [(row.path, row.depth) for row in rows] == [("", 0), ("7", 0), ("7.1", 1), ("7.2", 1), ("8", 0)]
    assert rows[1].expanded
    assert rows[1].expandable
    assert not rows[4].expandable


def test_a_folded_step_has_no_row() -> None:
    steps = [a_step(1, 0, 1), a_step(2, 1, 2, folded_into=1)]
    assert [row.path for row in lay_out(a_run(), steps, as_of=at(10)).rows] == ["", "1"]


def test_a_step_without_times_has_a_row_and_no_bar() -> None:
    row = lay_out(a_run(), [a_step(1, None, None)], as_of=at(10)).rows[1]
    assert row.segments == ()
    assert row.took is None


def test_the_ledger_counts_every_instant_once() -> None:
    steps = [a_step(1, 1, 4), a_step(2, 2, 5, kind=StepKind.CHILD_RUN), a_step(3, 6, 8, kind=StepKind.MESSAGE)]
    ledger = keep_ledger(a_run(started=1), steps, at(10))
    assert ledger is not None
    assert {entry.key: entry.time.total_seconds() for entry in ledger.entries} == {
        "queued": 1, "running": 3, "children": 1, "messages": 2, "code": 3,
    }  # fmt: skip
    assert sum(entry.share for entry in ledger.entries) == pytest.approx(1)


def test_a_night_asleep_is_left_out_of_the_ledger_and_said() -> None:
    ledger = keep_ledger(a_run(end=100), [a_step(1, 0, 5), a_step(2, 5, 95, kind=StepKind.SLEEP)], at(100))
    assert ledger is not None
    assert ledger.left_out == timedelta(seconds=90)
    assert ledger.total == timedelta(seconds=10)
    assert sum(entry.share for entry in ledger.entries) == pytest.approx(1)


def test_a_run_that_took_no_time_has_no_ledger() -> None:
    assert keep_ledger(a_run(end=0), [], at(0)) is None


spans = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(sorted), max_size=30)


@given(spans)
def test_merged_spans_and_what_lies_between_them_make_up_the_whole(pairs: list[list[int]]) -> None:
    busy = [(at(start), at(end)) for start, end in pairs]
    free = between(ZERO, at(10**6), busy)
    covered = sum((end - start for start, end in [*merge(busy), *free]), timedelta())
    assert covered == timedelta(seconds=10**6)


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=40), spans)
def test_a_later_instant_never_lies_left_of_an_earlier_one(instants: list[int], idle: list[list[int]]) -> None:
    scale = Scale(ZERO, at(10**6), idle=merge((at(start), at(end)) for start, end in idle))
    places = [scale.x(at(instant)) for instant in sorted(instants)]
    assert places == sorted(places)
    assert LEFT - 1e-6 <= places[0] <= places[-1] <= RIGHT + 1e-6


@given(st.integers(1, 10**15))
def test_ticks_are_few_and_in_order(micros: int) -> None:
    ticks = Scale(ZERO, ZERO + timedelta(microseconds=micros)).ticks(ZERO)
    assert 1 <= len(ticks) <= 12
    assert [tick.x for tick in ticks] == sorted(tick.x for tick in ticks)


def test_an_error_is_named_in_the_sentence() -> None:
    step = a_step(4, 0, 1, status=Status.FAILED, error=ErrorSummary("Timeout", "no answer"))
    row = lay_out(a_run(Status.FAILED), [step], as_of=at(10)).rows[1]
    assert row.sentence == "step_4, failed: Timeout, started +0 s, took 1.00 s"


def test_a_run_whose_own_times_are_whole_seconds_begins_with_its_first_step() -> None:
    steps = [a_step(1, 0.866, 0.869), a_step(2, 0.897, 0.899)]
    timeline = lay_out(a_run(end=0.899, coarse=True), steps, as_of=at(0.899))
    assert timeline.rows[1].segments[0].x == pytest.approx(LEFT)
    assert timeline.rows[1].offset == timedelta()
    ledger = keep_ledger(a_run(end=0.899, coarse=True), steps, at(0.899))
    assert ledger is not None
    assert ledger.total == timedelta(milliseconds=33)
