"""Several runs, planned at once: of each what a retry would append, in outline, or why there can be none. Nothing is written.

A plan holds a change for each row, so a thousand plans are outlined as they are made. Each is made from a snapshot of its own time:
what is confirmed is every plan by its own digest, so they need not be of one instant.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runs import appending, lookup, planning
from runs.addresses import encode
from runs.catalogue import Database, served
from runs.engines import engine_for
from runs.errors import BadFilter, DurascopeError, QueryTooSlow, RunNotFound
from runs.filters import Filter
from runs.merge import merged_runs
from runs.records import UNSUCCESSFUL, Run, Status
from runs.retry import Operation, Options, RetryPlan, count_by_table
from runs.sources.base import Reader

MOST = 1000  # runs that are planned, and retried, together
CHOSEN = Options()  # what fits each run best: who wants another choice makes it run by run
# Of one snapshot, which a reader gives up after some seconds: so an engine that writes is not held up, and many runs are no error.
_SECONDS = 1.5
_SLOW = 4  # plans of one database that take too long, before the others are not tried any more
_MAY_BE_RETRIED = UNSUCCESSFUL | {Status.RETRYING, Status.PAUSED}


@dataclass(frozen=True, slots=True)
class Reference:
    """A run by its database's slug and the segment that stands for it in addresses."""

    slug: str
    segment: str

    def __str__(self) -> str:
        return f"{self.slug}/{self.segment}"


@dataclass(frozen=True, slots=True)
class Outline:
    """A plan in outline. ``rows``: how many are appended, by table; ``also``: the other runs that are retried with it; ``known``:
    what to know first. ``run`` is None where it could not be read: ``reason`` says why."""

    reference: Reference
    run: Run | None
    operation: Operation | None = None
    eligible: bool = False
    reason: str = ""
    new_run: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    also: frozenset[str] = frozenset()
    known: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Matching:
    """The runs that a filter matches, newest first, at most MOST; whether there are ``more``; what kept some from being found."""

    references: tuple[Reference, ...]
    more: bool
    problems: tuple[tuple[str, str], ...]


def may_be_retried(run: Run) -> bool:
    """Whether a list offers it: what it is speaks for a retry. Only its plan says whether there can be one."""
    return run.status in _MAY_BE_RETRIED and all(retry.status in UNSUCCESSFUL for retry in run.retries)


def are_retried(statuses: Iterable[Status]) -> bool:
    """Whether a filter by these statuses lists nothing but runs that may be retried."""
    return bool(chosen := frozenset(statuses)) and chosen <= _MAY_BE_RETRIED


def reference(text: str) -> Reference:
    """The run that ``str`` of a reference wrote. Raises BadFilter."""
    slug, slash, segment = text.partition("/")
    if not (slug and slash and segment):
        raise BadFilter(f"run={text[:80]!r} is not a database and a run, like shop/wf-42.")
    return Reference(slug, segment)


def matching(databases: Sequence[Database], where: Filter) -> Matching:
    """The runs of a filtered list, over all its pages."""
    found = merged_runs(databases, where, None, MOST)
    problems = [(slug, str(problem)) for slug, problem in found.problems]
    return Matching(
        tuple(Reference(slug, encode(run.id)) for slug, run in found.rows),
        found.next is not None,
        (*problems, *found.partial),
    )


def plan_all(references: Sequence[Reference]) -> tuple[Outline, ...]:
    """One outline each, in their order; a run that is named twice counts once. Raises NotAllowed for the first database whose runs
    may not be retried, DatabaseNotFound, and BadFilter where they are more than MOST."""
    references = tuple(dict.fromkeys(references))
    if len(references) > MOST:
        raise BadFilter(f"{len(references):,} runs are chosen; {MOST:,} can be retried together.")
    by_slug: dict[str, list[Reference]] = {}
    for one in references:
        by_slug.setdefault(one.slug, []).append(one)
    for slug in by_slug:
        planning.require_allowed(slug)
    outlines: dict[Reference, Outline] = {}
    for slug, some in by_slug.items():
        outlines |= zip(some, _without_doubles(_planned(served().database(slug), some)), strict=True)
    return tuple(outlines[one] for one in references)


def _planned(database: Database, references: Sequence[Reference]) -> list[Outline]:
    done: list[Outline] = []
    slow: list[bool] = []

    def work(reader: Reader) -> list[Outline]:
        until = time.monotonic() + _SECONDS
        made: list[Outline] = []
        for one in references[len(done) :]:
            try:
                made.append(_outline(database, reader, one))
            except DurascopeError as problem:
                slow.append(isinstance(problem, QueryTooSlow))
                if sum(slow) > _SLOW:
                    raise
                # What was made before it is kept; in a snapshot of its own it may be made yet.
                return made or [Outline(one, None, reason=str(problem))]
            if time.monotonic() > until:
                break
        return made

    while len(done) < len(references):
        try:
            done += database.source.read(work)
        except DurascopeError as problem:
            done += [Outline(one, None, reason=str(problem)) for one in references[len(done) :]]
    return done


def _outline(database: Database, reader: Reader, one: Reference) -> Outline:
    engine = engine_for(reader)
    try:
        run = engine.run(lookup.run_id(engine, one.segment))
        found = appending.plan_by(reader, run.id, planning.fitted(database, CHOSEN))
    except RunNotFound as gone:
        return Outline(one, None, reason=str(gone))
    return _outlined(one, run, *planning.confirmable(database, found, reader.opened))


def _outlined(one: Reference, run: Run, plan: RetryPlan, digest: str) -> Outline:
    return Outline(
        one,
        run,
        plan.operation,
        plan.eligible,
        plan.reason,
        plan.new_run,
        rows=dict(count_by_table(plan.changes)),
        also=frozenset(part.run for part in plan.again) - {run.id},
        known=(*plan.effects, *plan.warnings),
        digest=digest if plan.eligible else "",
    )


def _without_doubles(outlines: Sequence[Outline]) -> list[Outline]:
    """A run that is retried with another one that is chosen, or of which a retry is, is left out: whichever came second would be
    skipped."""
    eligible = {one.run.id for one in outlines if one.eligible and one.run is not None}
    reasons: dict[str, str] = {}
    for one in outlines:
        if one.run is not None and one.run.id in eligible:
            reasons |= dict.fromkeys(one.also, f"It is retried with {one.run.id}, which is chosen too.")
            if newer := [retry.id for retry in one.run.retries if retry.id in eligible]:
                reasons[one.run.id] = f"Its retry {newer[0]} is chosen too."
    return [
        replace(one, eligible=False, digest="", reason=reasons[one.run.id])
        if one.eligible and one.run is not None and one.run.id in reasons
        else one
        for one in outlines
    ]
