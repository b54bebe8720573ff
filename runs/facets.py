"""What a list of runs can be narrowed to, in numbers: by status, by name, by when they were created; over all its databases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from runs.counting import Countable, Counted, counted
from runs.engines.base import Engine
from runs.errors import DurascopeError
from runs.filters import Filter
from runs.histogram import PARTS, histogram
from runs.records import Histogram, Names, Status


@dataclass(frozen=True, slots=True)
class Facets:
    """Over all databases that could be asked so far: runs by status under the other filters, when they were created, and
    what a filter can be set to.

    ``counted``: no database is still to be counted for the first time. ``as_of`` is when the oldest numbers were counted
    that are older than their file; None where all are of the files as they are.
    """

    counts: Mapping[Status, int]
    names: Names
    created: Histogram
    counted: bool
    fresh: bool
    as_of: datetime | None

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def facets(databases: Sequence[Countable], where: Filter) -> Facets:
    """Of large databases as far as they are counted (runs.counting). One is asked everything in one snapshot: where it is
    live, each costs its engine a moment."""
    if len(databases) == 1:
        return _of_one(databases[0], where)
    unpicked = replace(where, statuses=frozenset())
    counts = counted(databases, ("counts", unpicked), lambda _slug, engine: dict(engine.counts(unpicked)))
    names = counted(databases, "names", lambda _slug, engine: engine.names())
    created, sliced = histogram(databases, where)
    every: list[Counted[dict[Status, int]] | Counted[Names] | None] = [*counts, *names]
    old = [each.at for each in every if each is not None and not each.fresh]
    return Facets(
        _sum([each.answer for each in counts if each and not isinstance(each.answer, DurascopeError)]),
        _all([each.answer for each in names if each and isinstance(each.answer, Names)]),
        created,
        counted=None not in every,
        fresh=sliced and not old and None not in every,
        as_of=min(old, default=None),
    )


def _of_one(database: Countable, where: Filter) -> Facets:
    def ask(_slug: str, engine: Engine) -> tuple[dict[Status, int], Names, Histogram]:
        counts = engine.counts(replace(where, statuses=frozenset()))
        return dict(counts), engine.names(), engine.histogram(where, PARTS)

    (found,) = counted([database], ("facets", where), ask)
    if found is None or isinstance(found.answer, DurascopeError):
        return Facets({}, Names(), Histogram(), found is not None, found is not None, None)
    counts, names, created = found.answer
    as_of = None if found.fresh else found.at
    return Facets(counts, _all([names]), created, counted=True, fresh=found.fresh, as_of=as_of)


def _sum(counts: Sequence[Mapping[Status, int]]) -> dict[Status, int]:
    total: dict[Status, int] = {}
    for each in counts:
        for status, number in each.items():
            total[status] = total.get(status, 0) + number
    return total


def _all(names: Sequence[Names]) -> Names:
    return Names(*(_merged([getattr(each, kind) for each in names]) for kind in ("workflows", "versions", "queues")))


def _merged(names: Sequence[Sequence[tuple[str, int]]]) -> tuple[tuple[str, int], ...]:
    total: dict[str, int] = {}
    for each in names:
        for name, number in each:
            total[name] = total.get(name, 0) + number
    return tuple(sorted(total.items()))
