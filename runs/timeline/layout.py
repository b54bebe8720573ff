"""The timeline of a run: one row a step, children nested where they are opened, every bar in per cent of the track."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from runs import wording
from runs.clock import FIRST
from runs.records import ErrorSummary, Run, Status, Step, StepKind, Usual
from runs.timeline.outline import Outline, outline
from runs.timeline.scale import Scale, between
from runs.timeline.spans import Pattern, Segment, Span, beginning, run_spans, spans_of

LONG_WAIT = timedelta(minutes=10)  # a wait beyond this is idle time: a shorter one is worth seeing
SLOW = 1.2  # times its p95: a step is said to be slower than usual from here on
THIN = 0.12  # per cent: what is narrower is drawn as an instant
KIND_WORDS = {
    StepKind.CHILD_RUN: "child",
    StepKind.SLEEP: "sleep",
    StepKind.MESSAGE: "message",
    StepKind.VALUE: "value",
    StepKind.CODE: "code",
    StepKind.ACTIVITY: "",
}


@dataclass(frozen=True, slots=True)
class Branch:
    """An opened child: its run, its steps, and which of its own children are opened, by the ordinal of their step."""

    run: Run
    steps: tuple[Step, ...]
    opened: Mapping[int, "Branch"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One row. ``path`` names it from the root run: ``8.2`` is step 2 of the child that step 8 started; empty for the run itself.

    ``took`` is None where no time was recorded; ``at_least``: it lasted that long, the end is not known. ``band`` is where a step
    of this name usually ends: x and width from its p50 to its p95.
    """

    path: str
    depth: int
    run_id: str
    name: str
    status: Status
    kind: str
    segments: tuple[Segment, ...]
    took: timedelta | None
    at_least: bool
    offset: timedelta | None
    step: Step | None = None
    expanded: bool = False
    at_once: int = 0
    first_at_once: bool = False
    note: str = ""
    usual: Usual | None = None
    band: tuple[float, float] | None = None
    error: ErrorSummary | None = None
    attempts: int | None = None

    @property
    def expandable(self) -> bool:
        """It has a child whose steps can be opened in place."""
        return self.step is not None and self.step.child is not None and self.step.kind is StepKind.CHILD_RUN

    @property
    def sentence(self) -> str:
        """In words what the bar shows, for those who can't see it."""
        parts = [self.name, self.kind]
        state = self.status.value
        if self.attempts and self.attempts > 1:
            state += f" after {self.attempts} attempts"
        if self.error:
            state += f": {self.error.type}"
        parts.append(state)
        if self.step is not None and self.step.inherited:
            parts.append("copied from the forked run")
        elif self.offset is not None:
            parts.append(f"started {'' if self.offset < timedelta() else '+'}{wording.duration(self.offset)}")
        if self.took is not None:
            parts.append(f"{'at least' if self.at_least else 'took'} {wording.duration(self.took)}")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The drawing: its rows in reading order, from the ``first`` of ``total`` on, the scale they were drawn with, and the whole
    run for the minimap."""

    rows: tuple[Row, ...]
    scale: Scale
    whole: Scale
    outline: Outline
    zero: datetime
    copied: bool
    first: int
    total: int


@dataclass(frozen=True, slots=True)
class Whole:
    """A run laid out as a whole, whichever part of it is then drawn: its rows in reading order, each with its spans."""

    items: tuple["_Item", ...]
    scale: Scale
    idle: Sequence[tuple[datetime, datetime]]
    ghosts: Scale | None
    zero: datetime
    copied: bool
    outline: Outline


def whole_of(
    run: Run,
    steps: Sequence[Step],
    *,
    as_of: datetime,
    opened: Mapping[int, Branch] | None = None,
    fold: bool = True,
    known: Mapping[int, tuple[Span, ...]] | None = None,
) -> Whole:
    """Lay a run out. ``as_of``: the last instant the file knows about; ``fold``: idle time is left out; ``known``: the spans of the
    steps, where they have been made."""
    root = Branch(run, tuple(steps), opened or {})
    items = tuple(_plan(root, "", 0, as_of, known))
    own = [span for item in items if not item.ghost for span in item.spans]
    zero = beginning(run, steps)
    start = min([zero, *(span.start for span in own)])
    end = max([span.end for span in own], default=zero)
    idle = _idle(start, end, items) if fold else []
    ghosts = _ghost_scale(items)
    copied = any(item.ghost for item in items)
    scale = Scale(start, end, idle=idle, copied=copied)
    segments = [tuple(_segments(item, scale, ghosts)) for item in items]
    return Whole(items, scale, idle, ghosts, zero, copied, outline(segments))


def lay_out(
    whole: Whole,
    *,
    window: tuple[datetime | None, datetime | None] = (None, None),
    usual: Mapping[str, Usual] | None = None,
    pick: Callable[[Sequence[str]], range] | None = None,
) -> Timeline:
    """Draw a run. ``window``: the part to draw, the whole where None; ``usual``: how long steps take, by name; ``pick``: which rows
    to draw, of those with these paths, all where None.
    """
    zoomed = window != (None, None)
    scale = whole.scale
    if zoomed:
        scale = Scale(window[0] or scale.start, window[1] or scale.end, idle=whole.idle)
    picked = pick([item.path for item in whole.items]) if pick else range(len(whole.items))
    drawn = whole.items[picked.start : picked.stop]
    rows = tuple(_row(item, scale, None if zoomed else whole.ghosts, whole.zero, usual or {}) for item in drawn)
    return Timeline(rows, scale, whole.scale, whole.outline, whole.zero, whole.copied, picked.start, len(whole.items))


class _Item(NamedTuple):
    path: str
    depth: int
    branch: Branch
    step: Step | None
    spans: tuple[Span, ...]
    expanded: bool
    at_once: int
    first_at_once: bool

    @property
    def ghost(self) -> bool:
        return self.step is not None and self.step.inherited


def _plan(
    branch: Branch, prefix: str, depth: int, as_of: datetime, known: Mapping[int, tuple[Span, ...]] | None = None
) -> Iterator[_Item]:
    if depth == 0:
        yield _Item(
            "", 0, branch, None, run_spans(branch.run, as_of, beginning(branch.run, branch.steps)), False, 0, False
        )
    shown = [step for step in branch.steps if step.folded_into is None]
    spans = spans_of(shown, as_of) if known is None else known
    crowd = _at_once(shown, spans)
    for step in shown:
        path = f"{prefix}{step.ordinal}"
        child = branch.opened.get(step.ordinal)
        count, first = crowd.get(step.ordinal, (0, False))
        yield _Item(path, depth, branch, step, spans[step.ordinal], child is not None, count, first)
        if child is not None:
            yield from _plan(child, f"{path}.", depth + 1, as_of)


def _at_once(steps: Sequence[Step], spans: Mapping[int, tuple[Span, ...]]) -> dict[int, tuple[int, bool]]:
    """By ordinal: how many steps ran at the same time in its group of overlapping ones, and whether it is the group's first."""
    timed = sorted(
        (spans[step.ordinal][0].start, spans[step.ordinal][-1].end, step.ordinal)
        for step in steps
        if spans[step.ordinal] and not step.inherited and step.kind in (StepKind.ACTIVITY, StepKind.CHILD_RUN)
    )
    found: dict[int, tuple[int, bool]] = {}
    group: list[tuple[datetime, datetime, int]] = []
    over = FIRST  # when the last of the group has ended
    for item in [*timed, None]:
        if item is not None and group and item[0] < over:
            group.append(item)
            over = max(over, item[1])
            continue
        if len(group) > 1:
            most = _most(group)
            first = min(ordinal for _, _, ordinal in group)
            found.update({ordinal: (most, ordinal == first) for _, _, ordinal in group})
        group = [item] if item else []
        over = item[1] if item else FIRST
    return found


def _most(group: Sequence[tuple[datetime, datetime, int]]) -> int:
    marks = sorted([(start, 1) for start, _, _ in group] + [(end, -1) for _, end, _ in group])
    most = now = 0
    for _, change in marks:
        now += change
        most = max(most, now)
    return most


def _idle(start: datetime, end: datetime, planned: Sequence[_Item]) -> list[tuple[datetime, datetime]]:
    busy = [(span.start, span.end) for item in planned for span in item.spans if not waits(item.step, span)]
    return between(start, end, busy) if busy else []


def waits(step: Step | None, span: Span) -> bool:
    """Whether a span of a step, or of the run itself, is idle time that may be folded."""
    if (step is not None and step.inherited) or span.pattern is Pattern.LINE:
        return True
    if step is not None and step.kind is StepKind.SLEEP:
        return True
    return span.pattern in (Pattern.QUEUED, Pattern.WAITED, Pattern.BACKING_OFF) and span.duration > LONG_WAIT


def _ghost_scale(planned: Sequence[_Item]) -> Scale | None:
    spans = [span for item in planned if item.ghost for span in item.spans]
    if not spans:
        return None
    return Scale(min(span.start for span in spans), max(span.end for span in spans))


def _segments(item: _Item, scale: Scale, ghosts: Scale | None) -> Iterator[Segment]:
    if item.ghost:
        if ghosts is not None:
            for span in item.spans:
                x = 0.3 + ghosts.x(span.start) * 0.048
                yield Segment(span.pattern, span.tone, x, max(0.5, 0.3 + ghosts.x(span.end) * 0.048 - x))
        return
    yield from segments_of(item.spans, scale)


def segments_of(spans: Iterable[Span], scale: Scale) -> Iterator[Segment]:
    """The spans as they are drawn on a scale; those outside of it are left out."""
    for span in spans:
        if scale.shows(span.start, span.end) if span.start <= span.end else scale.shows(span.end, span.start):
            x, end = scale.x(span.start), scale.x(span.end)
            width = max(end - x, 0.0)
            thin = width < THIN and span.pattern is not Pattern.LINE
            open_here = span.open and span.end <= scale.end
            yield Segment(span.pattern, span.tone, x, width, open_here, span.final and span.end <= scale.end, thin)


def _row(item: _Item, scale: Scale, ghosts: Scale | None, zero: datetime, usual: Mapping[str, Usual]) -> Row:
    segments = tuple(_segments(item, scale, ghosts))
    step, run = item.step, item.branch.run
    started = item.spans[0].start if item.spans else None
    last = item.spans[-1] if item.spans else None
    source: Step | Run = step if step is not None else run
    open_end = last is not None and last.open
    took = source.duration
    if took is None and last is not None and started is not None and open_end:
        took = last.end - started
    known = usual.get(step.name) if step is not None and not item.ghost and segments else None
    return Row(
        path=item.path,
        depth=item.depth,
        run_id=run.id,
        name=step.name if step is not None else run.workflow,
        status=source.status,
        kind=KIND_WORDS[step.kind] if step is not None else "run",
        segments=segments,
        took=took,
        at_least=open_end,
        offset=started - zero if started is not None else None,
        step=step,
        expanded=item.expanded,
        at_once=item.at_once,
        first_at_once=item.first_at_once,
        note=_note(step, item.spans, known) if step is not None else "",
        usual=known,
        band=_band(item.spans, scale, known) if known else None,
        error=source.error,
        attempts=step.attempt_count if step is not None else run.attempts,
    )


def _note(step: Step, spans: Sequence[Span], usual: Usual | None) -> str:
    # As the usual times are: from when it was taken up, without what it queued.
    begun = _begun(spans)
    slow = (spans[-1].end - begun) / usual.p95 if usual and begun and usual.p95 > timedelta() else 0
    words = f"{slow:.1f}× p95" if slow >= SLOW else ""
    return ", ".join(part for part in (step.detail, words) if part)


def _band(spans: Sequence[Span], scale: Scale, usual: Usual) -> tuple[float, float] | None:
    begun = _begun(spans)
    if begun is None or not scale.shows(begun + usual.p50, begun + usual.p95):
        return None
    x = scale.x(begun + usual.p50)
    return x, max(scale.x(begun + usual.p95) - x, THIN)


def _begun(spans: Sequence[Span]) -> datetime | None:
    return next((span.start for span in spans if span.pattern is not Pattern.QUEUED), None)
