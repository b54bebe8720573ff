"""When the runs of a list were created, over one database or many, in equal parts of one window."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from runs.counting import Countable, counted
from runs.filters import Filter
from runs.records import Histogram

PARTS = 48


def histogram(databases: Sequence[Countable], where: Filter, parts: int = PARTS) -> tuple[Histogram, bool]:
    """The sum over all databases that could be asked so far, and whether those are all of them as they are. The window is
    the filter's, else from the first to the last run of all."""
    fresh = True
    if len(databases) > 1:
        found, fresh = _ask(databases, where, 1)
        starts = [one.start for one in found if one.start is not None]
        ends = [one.end for one in found if one.end is not None]
        if not starts or not ends:
            return Histogram(), fresh
        where = replace(
            where, since=where.since or min(starts), until=where.until or max(ends) + timedelta(microseconds=1)
        )
    found, summed = _ask(databases, where, parts)
    found = [one for one in found if one.parts]
    if not found:
        return Histogram(), fresh and summed
    columns = (zip(*part, strict=True) for part in zip(*(one.parts for one in found), strict=True))
    sums = tuple((sum(every), sum(failed)) for every, failed in columns)
    return replace(found[0], parts=sums), fresh and summed


def _ask(databases: Sequence[Countable], where: Filter, parts: int) -> tuple[list[Histogram], bool]:
    answers = counted(databases, ("histogram", where, parts), lambda _slug, engine: engine.histogram(where, parts))
    found = [each.answer for each in answers if each is not None and isinstance(each.answer, Histogram)]
    return found, all(each is not None and each.fresh for each in answers)
