"""Where matched runs first differ and why, of many pairs at once: several of them in one short snapshot of each side."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from runs.catalogue import Database
from runs.compare.matching import Match
from runs.compare.pair import bodies, compare_taken, take
from runs.compare.reading import PART_SECONDS, Progress
from runs.compare.records import Cause, Options
from runs.engines.base import Engine
from runs.errors import NotFound, Unreadable

Found = tuple[str, Cause | None]  # the position of the first difference, and its cause
_NOTHING: Found = ("", None)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many pairs are looked into at most, and for how many seconds."""

    pairs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Sides:
    """Both snapshots, and how the runs in them are compared."""

    a: Engine
    b: Engine
    slugs: tuple[str, str]
    options: Options


def looked_into(
    a: Database, b: Database, pairs: Sequence[Match], options: Options, bounds: Bounds, progress: Progress
) -> Mapping[tuple[str, str], Found]:
    """By the ids of both runs, of the first pairs as far as the bounds go. Of what can't be read any more nothing is found."""
    found: dict[tuple[str, str], Found] = {}
    until = time.monotonic() + bounds.seconds
    few = pairs[: bounds.pairs]
    while len(found) < len(few) and time.monotonic() < until:
        progress("looking for causes", len(found), len(few))
        found.update(_part(a, b, few[len(found) :], options))
    return found


def _part(a: Database, b: Database, pairs: Sequence[Match], options: Options) -> dict[tuple[str, str], Found]:
    """The first pairs, one at least."""

    def both(of_a: Engine, of_b: Engine) -> dict[tuple[str, str], Found]:
        return dict(_found(_Sides(of_a, of_b, (a.slug, b.slug), options), pairs))

    try:
        return a.read(lambda of_a: b.read(lambda of_b: both(of_a, of_b)))
    except Unreadable:
        return {(pairs[0].a.id, pairs[0].b.id): _NOTHING}


def _found(sides: _Sides, pairs: Sequence[Match]) -> Iterator[tuple[tuple[str, str], Found]]:
    until = time.monotonic() + PART_SECONDS
    for pair in pairs:
        yield (pair.a.id, pair.b.id), _first(sides, pair.a.id, pair.b.id)
        if time.monotonic() > until:
            return


def _first(sides: _Sides, a_run: str, b_run: str) -> Found:
    try:
        one, other = take(sides.a, sides.slugs[0], a_run), take(sides.b, sides.slugs[1], b_run)
    except NotFound:
        return _NOTHING
    first = compare_taken(one, other, sides.options, partial(bodies, sides.a), partial(bodies, sides.b)).first
    return (first.position, first.cause) if first else _NOTHING
