"""When the runs of a list were created, over one database or many, in equal parts of one window."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from runs.filters import Filter
from runs.fleet import Readable, read_each
from runs.records import Histogram

PARTS = 48


def histogram(databases: Sequence[Readable], where: Filter, parts: int = PARTS) -> Histogram:
    """The sum over all databases that can be asked; the window is the filter's, else from the first to the last run of all."""
    if len(databases) > 1:
        found = _ask(databases, where, 1)
        starts = [one.start for one in found if one.start is not None]
        ends = [one.end for one in found if one.end is not None]
        if not starts or not ends:
            return Histogram()
        where = replace(
            where, since=where.since or min(starts), until=where.until or max(ends) + timedelta(microseconds=1)
        )
    found = [one for one in _ask(databases, where, parts) if one.parts]
    if not found:
        return Histogram()
    sums = tuple(
        (sum(every for every, _ in part), sum(failed for _, failed in part))
        for part in zip(*(one.parts for one in found), strict=True)
    )
    return replace(found[0], parts=sums)


def _ask(databases: Sequence[Readable], where: Filter, parts: int) -> list[Histogram]:
    answers = read_each(databases, lambda _slug, engine: engine.histogram(where, parts))
    return [answer for answer in answers if isinstance(answer, Histogram)]
