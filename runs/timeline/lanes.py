"""Two runs on one scale: each from its own beginning, so that what took longer is seen to; what both idle through is folded."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs.records import Run, Step
from runs.timeline.layout import segments_of, waits
from runs.timeline.scale import Scale, between, merge
from runs.timeline.spans import Pattern, Segment, Span, Tone, beginning, run_spans, step_spans

MANY = 60  # spans of one line; more of them are drawn joined


@dataclass(frozen=True, slots=True)
class Lane:
    """One of the two runs. ``as_of``: the last instant that is known about it."""

    run: Run
    steps: Sequence[Step]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Drawn:
    """One of the two runs, drawn: all of it in one line, and its steps as they are asked for."""

    scale: Scale
    later: timedelta
    spans: Mapping[int, tuple[Span, ...]]
    run: tuple[Segment, ...]

    def segments(self, ordinal: int) -> tuple[Segment, ...]:
        """The segments of a step; empty where it has no times."""
        return tuple(segments_of(_moved(self.spans.get(ordinal, ()), self.later), self.scale))


@dataclass(frozen=True, slots=True)
class Lanes:
    """The drawing. ``zero`` is the beginning of both."""

    scale: Scale
    zero: datetime
    a: Drawn
    b: Drawn

    @property
    def end(self) -> timedelta:
        """How long the longer of the two is."""
        return self.scale.end - self.zero


@dataclass(frozen=True, slots=True)
class _Spans:
    later: timedelta
    steps: Mapping[int, tuple[Span, ...]]
    line: tuple[Span, ...]
    busy: list[tuple[datetime, datetime]]


def two_lanes(a: Lane, b: Lane) -> Lanes:
    """Draw two runs, the second moved to where the first began. Steps copied from another run have no time of their own here."""
    zero = beginning(a.run, a.steps)
    lanes = [_spans(lane, zero - beginning(lane.run, lane.steps)) for lane in (a, b)]
    start = min([zero, *(span.start for lane in lanes for span in lane.line)])
    end = max([zero, *(span.end for lane in lanes for span in lane.line)])
    busy = merge(part for lane in lanes for part in lane.busy)
    scale = Scale(start, end, idle=between(start, end, busy) if busy else [])
    drawn = [Drawn(scale, lane.later, lane.steps, tuple(segments_of(lane.line, scale))) for lane in lanes]
    return Lanes(scale, zero, drawn[0], drawn[1])


def _spans(lane: Lane, later: timedelta) -> _Spans:
    own = run_spans(lane.run, lane.as_of, beginning(lane.run, lane.steps))
    shown = [step for step in lane.steps if step.folded_into is None and not step.inherited]
    steps = {step.ordinal: step_spans(step, lane.as_of) for step in shown}
    busy = [(span.start, span.end) for step in shown for span in steps[step.ordinal] if not waits(step, span)]
    busy += [(span.start, span.end) for span in own if not waits(None, span)]
    every = [span for spans in steps.values() for span in spans]
    line = _moved((*own, *(every if len(every) <= MANY else _joined(every))), later)
    return _Spans(later, steps, line, [(start + later, end + later) for start, end in merge(busy)])


def _moved(spans: Iterable[Span], later: timedelta) -> tuple[Span, ...]:
    return tuple(span._replace(start=span.start + later, end=span.end + later) for span in spans)


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Many spans as few: those of one tone together where no gap between them could be seen; failures last, so that they lie on
    top."""
    unseen = (max(span.end for span in spans) - min(span.start for span in spans)) / 1000
    by_tone: dict[Tone, list[Span]] = {}
    for span in spans:
        by_tone.setdefault(span.tone, []).append(span)
    for tone in sorted(by_tone, key=lambda tone: tone is Tone.FAIL):
        ordered = sorted(by_tone[tone], key=lambda span: span.start)
        first, end = ordered[0], ordered[0].end
        for span in ordered[1:]:
            if span.start - end > unseen:
                yield Span(Pattern.RAN, tone, first.start, end)
                first, end = span, span.end
            end = max(end, span.end)
        yield Span(Pattern.RAN, tone, first.start, end)
