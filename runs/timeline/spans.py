"""What a row's bar says, in instants: which kind of time from when to when, before any geometry."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from runs.records import Attempt, Run, Status, Step, StepKind


class Pattern(StrEnum):
    """The kind of a segment. The drawing and the legend are made from this table."""

    QUEUED = "queued"
    RAN = "ran"
    TRIED = "tried"  # an attempt that was tried again
    BACKING_OFF = "backing_off"
    WAITED = "waited"  # asleep, waiting for a message or an answer, or a child at work
    AGAIN = "again"  # what a retry does once more
    GHOST = "ghost"  # copied from a forked run
    LINE = "line"  # the run itself


class Tone(StrEnum):
    """The outcome of a segment, as the stylesheet names its colour."""

    OK = "ok"
    FAIL = "fail"
    RUN = "run"
    WAIT = "wait"
    RETRY = "retry"
    QUIET = "quiet"


TONES = {
    Status.SUCCEEDED: Tone.OK,
    Status.FAILED: Tone.FAIL,
    Status.RUNNING: Tone.RUN,
    Status.WAITING: Tone.WAIT,
    Status.RETRYING: Tone.RETRY,
}
WAITING_KINDS = frozenset({StepKind.SLEEP, StepKind.CHILD_RUN})
# A message or value that took this long was waited for; a shorter one was merely sent or set.
WAITED_FOR = timedelta(milliseconds=20)


class Span(NamedTuple):
    """One kind of time from ``start`` to ``end``; ``open``: the end is not known, only that it lasted so long."""

    pattern: Pattern
    tone: Tone
    start: datetime
    end: datetime
    open: bool = False
    final: bool = False  # the failure that ended it: drawn with a cross

    @property
    def duration(self) -> timedelta:
        return self.end - self.start


class Segment(NamedTuple):
    """A span drawn: ``x`` and ``width`` in per cent of the track. An ``instant`` is too short for its width to mean anything."""

    pattern: Pattern
    tone: Tone
    x: float
    width: float
    open: bool = False
    final: bool = False
    instant: bool = False


def tone(status: Status) -> Tone:
    """The colour of an outcome; quiet for what has none."""
    return TONES.get(status, Tone.QUIET)


def spans_of(steps: Sequence[Step], as_of: datetime) -> dict[int, tuple[Span, ...]]:
    """The spans of all steps of a run, by ordinal."""
    return {step.ordinal: step_spans(step, as_of) for step in steps}


def step_spans(step: Step, as_of: datetime) -> tuple[Span, ...]:
    """The spans of one step, by start. Empty where no time was recorded. ``as_of``: the last instant that is known about."""
    # A child workflow's attempts are the times its code ran until it blocked: the step waited through all of them.
    if step.attempts and step.kind is not StepKind.CHILD_RUN and any(attempt.started_at for attempt in step.attempts):
        return tuple(_attempt_spans(step.attempts, step.started_at, step.status, as_of))
    if step.started_at is None:
        return ()
    finished = step.status.finished and step.finished_at is not None
    end = step.finished_at if finished and step.finished_at else max(step.started_at, as_of)
    if step.inherited:
        pattern = Pattern.GHOST
    elif step.status in (Status.QUEUED, Status.SCHEDULED, Status.PAUSED):
        pattern = Pattern.QUEUED
    elif step.kind in WAITING_KINDS or (step.kind is StepKind.MESSAGE and end - step.started_at > WAITED_FOR):
        pattern = Pattern.WAITED
    else:
        pattern = Pattern.RAN
    failed = step.status is Status.FAILED
    begun = step.started_at
    if step.attempts:
        begun = next((attempt.started_at for attempt in step.attempts if attempt.started_at), begun)
    bar = Span(pattern, tone(step.status), max(begun, step.started_at), end, open=not finished, final=failed)
    if begun > step.started_at:
        return (Span(Pattern.QUEUED, Tone.QUIET, step.started_at, begun), bar)
    return (bar,)


def beginning(run: Run, steps: Sequence[Step]) -> datetime:
    """When a run began: created_at; for one whose own times are whole seconds its first step's start, within that second."""
    if not run.coarse:
        return run.created_at
    own = [step.started_at for step in steps if step.started_at and not step.inherited]
    first = min(own, default=run.created_at)
    return first if timedelta() <= first - run.created_at < timedelta(seconds=1) else run.created_at


def run_spans(run: Run, as_of: datetime, begun_at: datetime | None = None) -> tuple[Span, ...]:
    """The run's own row: queued until it was taken up; then its attempts where it has them and no steps, else one line.

    ``begun_at`` stands for created_at where it is known better.
    """
    if run.steps == 0 and any(attempt.started_at for attempt in run.tries):
        return tuple(_attempt_spans(run.tries, run.created_at, run.status, as_of))
    created = begun_at or run.created_at
    begun = run.started_at if run.started_at and run.started_at >= created else created
    over = run.status.finished
    end = (run.last_event_at or run.finished_at or as_of) if over else as_of
    if run.status in (Status.QUEUED, Status.SCHEDULED) and run.started_at is None:
        return (Span(Pattern.QUEUED, Tone.QUIET, run.created_at, max(as_of, run.created_at), open=True),)
    line = Span(Pattern.LINE, Tone.QUIET, begun, max(end, begun), open=not over)
    if begun > created:
        return (Span(Pattern.QUEUED, Tone.QUIET, created, begun), line)
    return (line,)


def _attempt_spans(
    attempts: tuple[Attempt, ...], queued_at: datetime | None, status: Status, as_of: datetime
) -> Iterator[Span]:
    timed = [attempt for attempt in attempts if attempt.started_at]
    free_at = queued_at
    for position, attempt in enumerate(timed):
        assert attempt.started_at is not None  # noqa: S101 - timed holds only those
        last = position == len(timed) - 1
        if free_at and position == 0 and free_at < attempt.started_at:
            yield Span(Pattern.QUEUED, Tone.QUIET, free_at, attempt.started_at)
        end = attempt.finished_at or max(as_of, attempt.started_at)
        again = not last or (attempt.until is not None and not status.finished)
        failed = attempt.status is Status.FAILED
        if failed and again:
            yield Span(Pattern.TRIED, Tone.FAIL, attempt.started_at, end)
            until = as_of if last else timed[position + 1].started_at or end
            yield Span(Pattern.BACKING_OFF, Tone.RETRY, end, max(until, end), open=last)
        else:
            yield Span(
                Pattern.RAN,
                tone(attempt.status),
                attempt.started_at,
                end,
                open=attempt.finished_at is None,
                final=failed,
            )
