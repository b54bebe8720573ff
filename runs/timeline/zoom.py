"""Windows of a timeline to go to: parts of the whole, nearer, farther, earlier, later. Each is an address."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from runs.timeline.layout import Timeline

SLICES = 24  # parts of the minimap that can be gone to
LEAST = timedelta(microseconds=20)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the run."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Zoom:
    """Where to go from here; None where there is nothing more in that direction."""

    slices: tuple[Window, ...]
    nearer: Window | None
    farther: Window | None
    earlier: Window | None
    later: Window | None


def zoom(timeline: Timeline, middle: datetime | None = None) -> Zoom:
    """From the window that is drawn. ``middle``: what to stay with when going nearer, the window's own where None."""
    whole, drawn = timeline.whole, timeline.scale
    edges = [whole.moment(100 * part / SLICES) for part in range(SLICES + 1)]
    span = drawn.end - drawn.start
    centre = middle if middle is not None and drawn.start <= middle <= drawn.end else drawn.start + span / 2
    return Zoom(
        slices=tuple(Window(start, end) for start, end in pairwise(edges)),
        nearer=_inside(whole.start, whole.end, centre - span / 4, span / 2) if span > LEAST else None,
        farther=_inside(whole.start, whole.end, drawn.start - span / 2, 2 * span) if drawn is not whole else None,
        earlier=_inside(whole.start, whole.end, drawn.start - span / 2, span) if drawn.start > whole.start else None,
        later=_inside(whole.start, whole.end, drawn.start + span / 2, span) if drawn.end < whole.end else None,
    )


def _inside(first: datetime, last: datetime, start: datetime, span: timedelta) -> Window:
    start = min(max(start, first), max(first, last - span))
    return Window(start, min(start + span, last))
