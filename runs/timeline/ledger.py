"""Where a run's time went: every instant from first to last is counted once, so that the parts sum to the whole."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs.records import Run, Step, StepKind
from runs.timeline.spans import Pattern, Span, beginning, run_spans, spans_of

# By precedence: an instant in which several things happened counts as the first of these.
PARTS = (
    ("running", "running steps"),
    ("children", "in children"),
    ("backing_off", "backing off"),
    ("messages", "waiting for messages"),
    ("sleeping", "asleep"),
    ("queued", "queued"),
    ("code", "between steps"),
)
LEAVE_OUT = 0.5  # sleep beyond this share would make everything else a hair: it is left out, and said


@dataclass(frozen=True, slots=True)
class Entry:
    """One part: ``share`` of the counted time, 0 to 1; ``x`` and ``width`` in per cent of the bar."""

    key: str
    label: str
    time: timedelta
    share: float
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """The parts that are not empty, in order of time; ``total`` is what they sum to, ``left_out`` the sleep not counted."""

    entries: tuple[Entry, ...]
    total: timedelta
    left_out: timedelta


def keep_ledger(
    run: Run, steps: Sequence[Step], as_of: datetime, known: Mapping[int, tuple[Span, ...]] | None = None
) -> Ledger | None:
    """The ledger of a run, or None where no time has passed. ``known``: the spans of the steps, where they have been made."""
    start = beginning(run, steps)
    own = [step for step in steps if not step.inherited]
    of_steps = spans_of(own, as_of) if known is None else known
    spans = [(key, span) for step in own for span in of_steps[step.ordinal] if (key := _part(step, span))]
    spans += [(_RUN_PARTS[span.pattern], span) for span in run_spans(run, as_of, start) if span.pattern in _RUN_PARTS]
    end = max(
        [run.last_event_at or as_of if run.status.finished else as_of, *(span.end for _, span in spans)], default=as_of
    )
    times = _sweep(start, end, spans)
    total = sum(times.values(), timedelta())
    asleep = times["sleeping"]
    left_out = timedelta()
    if total and asleep / total > LEAVE_OUT and asleep < total:
        left_out, total, times["sleeping"] = asleep, total - asleep, timedelta()
    if total <= timedelta():
        return None
    return Ledger(_entries(times, total), total, left_out)


_RUN_PARTS = {
    Pattern.QUEUED: "queued",
    Pattern.RAN: "running",
    Pattern.TRIED: "running",
    Pattern.BACKING_OFF: "backing_off",
}


def _part(step: Step, span: Span) -> str:
    if span.pattern is Pattern.QUEUED:
        return "queued"
    if span.pattern is Pattern.BACKING_OFF:
        return "backing_off"
    if step.kind is StepKind.CHILD_RUN:
        return "children"
    if step.kind is StepKind.SLEEP:
        return "sleeping"
    return "messages" if step.kind is StepKind.MESSAGE else "running"


def _sweep(start: datetime, end: datetime, spans: Iterable[tuple[str, Span]]) -> dict[str, timedelta]:
    rank = {key: position for position, (key, _) in enumerate(PARTS)}
    marks: list[tuple[datetime, int, int]] = []
    for key, span in spans:
        begin, finish = max(span.start, start), min(span.end, end)
        if begin < finish:
            marks += [(begin, rank[key], 1), (finish, rank[key], -1)]
    times = {key: timedelta() for key, _ in PARTS}
    active = [0] * len(PARTS)
    at = start
    for moment, position, change in sorted(marks):
        if moment > at:
            times[_current(active)] += moment - at
            at = moment
        active[position] += change
    if end > at:
        times["code"] += end - at
    return times


def _current(active: Sequence[int]) -> str:
    for position, count in enumerate(active):
        if count:
            return PARTS[position][0]
    return "code"


def _entries(times: dict[str, timedelta], total: timedelta) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    x = 0.0
    for key, label in (*PARTS[5:6], *PARTS[:5], *PARTS[6:]):
        if time := times[key]:
            share = time / total
            entries.append(Entry(key, label, time, share, x, 100 * share))
            x += 100 * share
    return tuple(entries)
