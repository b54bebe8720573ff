"""Instants to per cent of the track: zoomed to a window, long idle gaps folded, a strip at the left for copied steps."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs.wording import duration

LEFT = 0.6  # per cent before 0, and the strip of copied steps where there are any
COPIED = 5.5
RIGHT = 95.5  # the rest is for the marks that follow an end
GAP_WIDTH = 3.9
FOLD_SHARE = 0.10
FOLD_MIN = timedelta(seconds=10)  # a shorter gap reads well as it is
MAX_GAPS = 6  # the longest: each takes its width from what is drawn
_STEPS = [
    timedelta(seconds=unit * factor)
    for unit, factors in (
        (1e-6, (1, 2, 5, 10, 20, 50, 100, 200, 500)),
        (1e-3, (1, 2, 5, 10, 20, 50, 100, 200, 500)),
        (1, (1, 2, 5, 10, 20, 30)),
        (60, (1, 2, 5, 10, 20, 30)),
        (3600, (1, 2, 3, 6, 12)),
        (86400, (1, 2, 7, 14, 30, 90, 180, 365, 730, 1825, 3650)),
    )
    for factor in factors
]


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the axis: ``x`` in per cent, the offset from the run's beginning in words."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Idle time that is not drawn."""

    start: datetime
    end: datetime
    x: float
    width: float

    @property
    def label(self) -> str:
        return duration(self.end - self.start)


@dataclass(frozen=True, slots=True)
class _Piece:
    start: datetime
    end: datetime
    x: float
    width: float


class Scale:
    """The window from ``start`` to ``end``, drawn between ``left`` and RIGHT per cent, without the folded gaps."""

    def __init__(
        self, start: datetime, end: datetime, *, idle: Iterable[tuple[datetime, datetime]] = (), copied: bool = False
    ) -> None:
        self.start, self.end = start, max(end, start + timedelta(microseconds=1))
        self.left = COPIED if copied else LEFT
        folded = self._folded(idle)
        self._pieces, self.gaps = self._cut(folded)
        self._starts = [piece.start for piece in self._pieces]

    def x(self, moment: datetime) -> float:
        """Per cent of the track; instants outside the window lie on its edges."""
        piece = self._pieces[max(0, bisect_right(self._starts, moment) - 1)]
        if moment <= piece.start:
            return piece.x
        if moment >= piece.end:
            return piece.x + piece.width
        return piece.x + piece.width * ((moment - piece.start) / (piece.end - piece.start))

    def moment(self, x: float) -> datetime:
        """The instant that is drawn at so many per cent; what lies in a gap is the gap's end."""
        for piece in self._pieces:
            if x <= piece.x:
                return piece.start
            if x <= piece.x + piece.width:
                return piece.start + (piece.end - piece.start) * ((x - piece.x) / piece.width)
        return self.end

    def shows(self, start: datetime, end: datetime) -> bool:
        """Whether any of that time lies in the window."""
        return end >= self.start and start <= self.end

    def ticks(self, zero: datetime, wanted: int = 9) -> tuple[Tick, ...]:
        """Lines at round offsets from ``zero``, about so many over the whole track."""
        drawn = sum((piece.end - piece.start for piece in self._pieces), timedelta())
        step = next((step for step in _STEPS if drawn / step <= wanted), _STEPS[-1])
        ticks: list[Tick] = []
        for piece in self._pieces:
            number = -((zero - piece.start) // step)
            while zero + number * step <= piece.end and len(ticks) < 4 * wanted:
                offset = number * step
                x = self.x(zero + offset)
                if not ticks or x - ticks[-1].x > 4:
                    ticks.append(Tick(x, _offset(offset)))
                number += 1
        return tuple(ticks)

    def _folded(self, idle: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
        whole = self.end - self.start
        inside = [(max(start, self.start), min(end, self.end)) for start, end in idle]
        long = [(start, end) for start, end in inside if end - start > max(whole * FOLD_SHARE, FOLD_MIN)]
        return sorted(sorted(long, key=lambda gap: gap[0] - gap[1])[:MAX_GAPS])

    def _cut(self, folded: Sequence[tuple[datetime, datetime]]) -> tuple[list[_Piece], tuple[Gap, ...]]:
        # A sliver of each gap stays drawn on both sides, so that a bar that spans it is seen to enter and to leave.
        awake = (self.end - self.start) - sum((end - start for start, end in folded), timedelta())
        sliver = max(awake * 0.02, timedelta(microseconds=1))
        gaps = [(start + sliver, end - sliver) for start, end in folded if end - start > 4 * sliver]
        drawn = (self.end - self.start) - sum((end - start for start, end in gaps), timedelta())
        per_time = (RIGHT - self.left - GAP_WIDTH * len(gaps)) / (drawn / timedelta(microseconds=1))
        pieces: list[_Piece] = []
        made: list[Gap] = []
        at, x = self.start, self.left
        for start, end in [*gaps, (self.end, self.end)]:
            width = (start - at) / timedelta(microseconds=1) * per_time
            pieces.append(_Piece(at, max(start, at + timedelta(microseconds=1)), x, width))
            x += width
            if start < end:
                made.append(Gap(start, end, x, GAP_WIDTH))
                x += GAP_WIDTH
            at = end
        return pieces, tuple(made)


def _offset(offset: timedelta) -> str:
    """``0``, ``20 s``, ``12 h 40 s``: exact, without noise digits."""
    micros = offset // timedelta(microseconds=1)
    if micros == 0:
        return "0"
    sign = "−" if micros < 0 else ""
    micros = abs(micros)
    if micros < 1_000_000:
        return f"{sign}{micros / 1000:g} ms" if micros >= 1000 else f"{sign}{micros} µs"
    seconds, part = divmod(micros, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    words = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if count]
    if seconds or part:
        words.append(f"{seconds + part / 1_000_000:g} s")
    return sign + " ".join(words)


def merge(spans: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """The spans joined where they touch, by start."""
    joined: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def between(
    start: datetime, end: datetime, busy: Iterable[tuple[datetime, datetime]]
) -> list[tuple[datetime, datetime]]:
    """The times from ``start`` to ``end`` in which none of ``busy`` lies."""
    free: list[tuple[datetime, datetime]] = []
    at = start
    for begin, finish in merge(busy):
        if begin > at:
            free.append((at, min(begin, end)))
        at = max(at, finish)
    if at < end:
        free.append((at, end))
    return free
