"""The whole run in few lines, as the minimap draws it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from runs.timeline.spans import Segment, Tone

LINES = 40  # what lies closer is drawn as one
SMALLEST = 0.1  # per cent of the minimap

Outline: TypeAlias = tuple[tuple[tuple[Tone, float, float], ...], ...]


def outline(rows: Sequence[Iterable[Segment]]) -> Outline:
    """Of each line, a row or a few rows, what is drawn on it as (tone, x, width)."""
    lines = min(len(rows), LINES)
    return tuple(
        tuple(_silhouette(rows[line * len(rows) // lines : (line + 1) * len(rows) // lines])) for line in range(lines)
    )


def _silhouette(rows: Iterable[Iterable[Segment]]) -> Iterator[tuple[Tone, float, float]]:
    """The segments of some rows, joined where they touch; failures last, so that they lie on top."""
    segments = sorted((segment for row in rows for segment in row), key=lambda segment: segment.x)
    for tone in sorted(Tone, key=lambda tone: tone is Tone.FAIL):
        start = end = -1.0
        for segment in (segment for segment in segments if segment.tone is tone):
            if segment.x > end + SMALLEST:
                if end >= 0:
                    yield tone, start, max(end - start, SMALLEST)
                start = segment.x
            end = max(end, segment.x + segment.width)
        if end >= 0:
            yield tone, start, max(end - start, SMALLEST)
