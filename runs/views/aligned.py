"""The rows of two runs as a page shows them: equal ones folded, a window of the rest, one or more opened."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from runs.compare.verdicts import StepRow
from runs.records import Step
from runs.timeline import Drawn, Lanes, Pattern, Segment

AROUND = 2  # equal rows that stay beside a difference
FEWEST = 3  # equal rows that are worth folding
WINDOW = 200  # lines of one page


@dataclass(frozen=True, slots=True)
class Bars:
    """What is drawn of a row: segments of A and B."""

    a: tuple[Segment, ...]
    b: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the table: a ``row``, or the equal ``rows`` that it stands for."""

    rows: tuple[StepRow, ...]
    bars: Bars
    folded: bool = False
    first: bool = False
    opened: bool = False

    @property
    def row(self) -> StepRow:
        return self.rows[0]

    @property
    def closed(self) -> bool:
        return not self.opened

    @property
    def number(self) -> int:
        return self.rows[0].number

    @property
    def label(self) -> str:
        """``13``, ``13·15`` where its place in B is another, ``1–10``."""
        if self.folded:
            return f"{self.row.step.ordinal}–{self.rows[-1].step.ordinal}"
        a, b = self.row.a, self.row.b
        return f"{a.ordinal}·{b.ordinal}" if a and b and a.ordinal != b.ordinal else str(self.row.step.ordinal)

    @property
    def a_took(self) -> timedelta | None:
        return _took([row.a for row in self.rows])

    @property
    def b_took(self) -> timedelta | None:
        return _took([row.b for row in self.rows])

    @property
    def delta(self) -> timedelta | None:
        """How much longer B took."""
        return self.b_took - self.a_took if self.a_took is not None and self.b_took is not None else None


@dataclass(frozen=True, slots=True)
class Listed:
    """The lines of one page. ``next`` and ``previous`` are where the other windows begin, None at an end."""

    items: tuple[Item, ...]
    total: int
    start: int
    next: int | None
    previous: int | None


Lines = Sequence[tuple[StepRow, ...]]


def lines_of(
    rows: Sequence[StepRow], *, only_differing: bool, opened: Collection[int], unfolded: Collection[int]
) -> Lines:
    """The rows by line: those of a folded block together. A block is named by its first row; one that holds an opened row is
    unfolded."""
    if only_differing:
        return [(row,) for row in rows if row.differs or row.number in opened]
    lines: list[tuple[StepRow, ...]] = []
    block: list[StepRow] = []
    for row in rows:
        if row.differs:
            lines += _folded(block, AROUND if lines else 0, AROUND, opened, unfolded)
            lines.append((row,))
            block = []
        else:
            block.append(row)
    return [*lines, *_folded(block, AROUND if lines else 0, 0, opened, unfolded)]


def window_start(lines: Lines, number: int) -> int:
    """Where the window begins that shows a row; 0 where the first one does."""
    place = next((place for place, rows in enumerate(lines) if rows[-1].number >= number), 0)
    return 0 if place < WINDOW else place - AROUND


def listed(lines: Lines, lanes: Lanes, start: int, first: int | None, opened: Collection[int]) -> Listed:
    """The lines from number ``start`` on; ``first`` is the row where the two runs part."""
    start = min(start, max(len(lines) - 1, 0))
    end = min(start + WINDOW, len(lines))
    items = tuple(item_of(rows, lanes, first, opened) for rows in lines[start:end])
    return Listed(
        items, len(lines), start, end if end < len(lines) else None, max(start - WINDOW, 0) if start else None
    )


def item_of(rows: tuple[StepRow, ...], lanes: Lanes, first: int | None, opened: Collection[int]) -> Item:
    """One line."""
    alone = len(rows) == 1
    number = rows[0].number
    return Item(rows, _bars(rows, lanes), not alone, alone and number == first, alone and number in opened)


def _folded(
    block: Sequence[StepRow], before: int, after: int, opened: Collection[int], unfolded: Collection[int]
) -> Iterator[tuple[StepRow, ...]]:
    """Equal rows, those in the middle of them together."""
    end = len(block) - after
    middle = tuple(block[before:end])
    shown = len(middle) < FEWEST or middle[0].number in unfolded or any(row.number in opened for row in middle)
    for row in block if shown else block[:before]:
        yield (row,)
    if not shown:
        yield middle
        for row in block[end:]:
            yield (row,)


def _bars(rows: Sequence[StepRow], lanes: Lanes) -> Bars:
    return Bars(_drawn([row.a for row in rows], lanes.a), _drawn([row.b for row in rows], lanes.b))


def _drawn(steps: Sequence[Step | None], lane: Drawn) -> tuple[Segment, ...]:
    """A step's segments; of several steps one bar from the first to the last."""
    known = [step for step in steps if step is not None]
    segments = [
        segment
        for step in (known[:1] + known[-1:] if len(known) > 1 else known)
        for segment in lane.segments(step.ordinal)
    ]
    if len(known) < 2 or not segments:
        return tuple(segments)
    first = min(segments, key=lambda segment: segment.x)
    end = max(segment.x + segment.width for segment in segments)
    return (Segment(Pattern.RAN, first.tone, first.x, end - first.x),)


def _took(steps: Sequence[Step | None]) -> timedelta | None:
    """From the beginning of the first to the end of the last; of one step its own time."""
    known = [step for step in steps if step is not None]
    if len(known) == 1:
        return known[0].duration
    started = [step.started_at for step in known if step.started_at is not None and not step.inherited]
    finished = [step.finished_at for step in known if step.finished_at is not None and not step.inherited]
    return max(finished) - min(started) if started and finished else None
