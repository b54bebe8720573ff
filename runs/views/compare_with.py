"""What one run can be compared with: itself in another database, its retries and what it is a retry of, the run of that workflow
before it, the last one that succeeded, or any other by its id."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse

from runs import following, links, lookup
from runs.catalogue import Database, served
from runs.compare.pair import RunComparison, compare_runs
from runs.compare.records import Options
from runs.counting import read_each
from runs.engines.base import Engine
from runs.errors import BadFilter, DurascopeError, RunNotFound
from runs.filters import Filter
from runs.records import Neighbours, Relatives, Run, Status
from runs.views.answers import page

MOST_COMPARED = 8  # retries of one run that are compared side by side
MOST_STEPS = 2000  # of a run that is compared just to be listed


@dataclass(frozen=True, slots=True)
class Other:
    """A run to compare with. ``why`` says what it is to the first; ``page`` leads to the two; ``found`` is there where they were
    compared."""

    why: str
    slug: str
    run: Run
    page: str
    found: RunComparison | None = None


@dataclass(frozen=True, slots=True)
class _Around:
    run: Run
    relatives: Relatives
    neighbours: Neighbours
    original: Run | None
    previous: Run | None
    succeeded: Run | None


def choose(request: HttpRequest, query: lookup.Query) -> HttpResponse:
    """``GET /compare/run/?a=…&a_run=…``: the run, and what it can be compared with."""
    slug, run_id = lookup.last(query, "a"), lookup.last(query, "a_run")
    if not slug or not run_id:
        raise BadFilter("Two runs are needed: a, a_run, b and b_run.", remedy="Choose them on the page of a run.")
    database = served().database(slug)
    around = database.read(lambda engine: _around(engine, run_id))
    retries = tuple(_retries(database, around))
    context = {
        "here": "compare",
        "slug": slug,
        "run": around.run,
        "retries": retries,
        "others": (*_elsewhere(database, around.run), *_alike(slug, around)),
        "databases": served().databases(),
        "b": lookup.last(query, "b") or slug,
    }
    return page(request, "runs/compare_with.html", context)


def _around(engine: Engine, run_id: str) -> _Around:
    run = engine.run(run_id)
    neighbours = engine.neighbours(run_id)
    where = Filter(statuses=frozenset({Status.SUCCEEDED}), workflow=run.workflow)
    good = [other for other in engine.runs(where, None, 2).rows if other.id != run.id]
    return _Around(
        run,
        engine.relatives(run_id),
        neighbours,
        _run(engine, run.forked_from),
        _run(engine, neighbours.previous),
        good[0] if good else None,
    )


def _run(engine: Engine, run_id: str | None) -> Run | None:
    try:
        return engine.run(run_id) if run_id is not None else None
    except RunNotFound:
        return None


def _read(database: Database, run_id: str) -> Run | None:
    return database.read(lambda engine: _run(engine, run_id))


def _retries(database: Database, around: _Around) -> Iterator[Other]:
    """What the run is a retry of, and its own retries, oldest first, each compared with it."""
    run = around.run
    kin: dict[str, tuple[str, Run]] = {}
    if around.original is not None:
        kin[around.original.id] = "the run it was forked from", around.original
    for fork in around.relatives.forks:
        kin[fork.id] = "forked from it", fork
    for retry in following.retries_of(database, run.id):
        if retry.new_run and retry.new_run != run.id and retry.new_run not in kin:
            other = _read(database, retry.new_run)
            if other is not None:
                kin[other.id] = f"retry {retry.pk}", other
    for number, (why, other) in enumerate(kin.values()):
        # The original stands on the left: what a retry did otherwise is read from A to B.
        turned = why == "the run it was forked from"
        a_run, b_run = (other.id, run.id) if turned else (run.id, other.id)
        few = max(run.steps or 0, other.steps or 0) <= MOST_STEPS
        found = compare_runs(database, a_run, database, b_run, Options()) if number < MOST_COMPARED and few else None
        yield Other(why, database.slug, other, links.pair_page(database.slug, a_run, database.slug, b_run), found)


def _elsewhere(database: Database, run: Run) -> Iterator[Other]:
    """The run of the same id in the other databases that are served."""
    others = [other for other in served().databases() if other.slug != database.slug]
    for other, found in zip(others, read_each(others, lambda _slug, engine: _run(engine, run.id)), strict=True):
        if found is not None and not isinstance(found, DurascopeError):
            page = links.pair_page(database.slug, run.id, other.slug, run.id)
            yield Other(f"the same id in {other.slug}", other.slug, found, page)


def _alike(slug: str, around: _Around) -> Iterator[Other]:
    for why, other in (("the last that succeeded", around.succeeded), ("the one before it", around.previous)):
        if other is not None:
            yield Other(why, slug, other, links.pair_page(slug, other.id, slug, around.run.id))
