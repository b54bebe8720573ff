"""Retrying a run: its plan, the confirmation, and what became of it. What is appended, and whether, runs.retrying decides."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from runs import following, links, lookup, planning, retrying, saving, statements
from runs.catalogue import Database, served
from runs.diagnosis import known_until
from runs.engines.base import Engine
from runs.errors import DurascopeError, RetryNotFound
from runs.following import Followed
from runs.records import Names, Run, Step
from runs.retry import Operation, Options, RetryPlan, count
from runs.sources.openers import Openers
from runs.state import place, retries
from runs.state.models import Progress
from runs.timeline import Pattern, Row, Timeline, Tone, lay_out, whole_of
from runs.views.answers import answered, page
from runs.wording import duration, plural

CHANGES = 6  # changes of one table that a page shows; all of them are in the SQL
KEYS = 12  # rows that are copied alike which a page names
PINS = "dbos"  # the engine whose retries wait for a version, where one is chosen


@dataclass(frozen=True, slots=True)
class Alike:
    """Rows that one change copies: how many, the columns that tell them apart, their values in the first of them, and how many more
    there are."""

    rows: int
    names: str
    first: tuple[tuple[object, ...], ...]
    more: int


@dataclass(frozen=True, slots=True)
class Table:
    """The changes of one table: of how many rows, those that are shown, and of how many rows the others are."""

    name: str
    rows: int
    shown: tuple[tuple[Mapping[str, object], Alike | None], ...]
    more: int


def plan(request: HttpRequest, slug: str, segment: str) -> HttpResponse:
    """``GET /db/<slug>/runs/<id>/retry/`` shows the plan; POST appends it and leads to what becomes of it."""
    if request.method == "POST":
        try:
            database = served().database(slug)
            made = retrying.append(
                database,
                database.read(lambda engine: lookup.run_id(engine, segment)),
                _chosen(request),
                request.POST.get("digest", "")[:200],
                request.POST.get("reason", ""),
                who=str(request.META.get("REMOTE_ADDR") or "unknown"),
                where=request.path,
                key=request.POST.get("key", "")[:200],
            )
            return HttpResponseRedirect(links.retry_page(made.pk))
        except DurascopeError as problem:
            return shown(request, slug, segment, problem)
    return shown(request, slug, segment)


def shown(request: HttpRequest, slug: str, segment: str, problem: DurascopeError | None = None) -> HttpResponse:
    """The plan as it is now, and what kept something that was asked of it from being done; that with all that was typed even where
    there is no plan to show with it."""
    try:
        context = _context(request, slug, segment)
    except DurascopeError as unplanned:
        if problem is None:
            raise
        unread = {"here": "run", "slug": slug, "unplanned": unplanned, "reason": request.POST.get("reason", "")}
        return answered(request, "runs/retry_unplanned.html", unread, problem)
    return answered(request, "runs/retry_plan.html", context, problem)


def _context(request: HttpRequest, slug: str, segment: str) -> dict[str, Any]:
    database = served().database(slug)
    run, steps, names, slug_of_engine = database.read(lambda engine: _read(engine, segment))
    chosen = _chosen(request)
    planned = planning.plan(database, run.id, chosen)
    return {
        "here": "run",
        "slug": slug,
        "run": run,
        "planned": planned,
        "plan": planned.plan,
        "names": names,
        # What a person may choose besides the operation: only a fork begins at a step, and only DBOS knows a pinned version.
        "forks": planned.plan.operation in (None, Operation.FORK),
        "pins": bool(names.versions) and slug_of_engine == PINS,
        "steps": [step for step in steps if step.folded_into is None],
        "chosen": chosen,
        "copy": saving.copy_named(slug, request.GET.get("copy", "")),
        "facts": database.source.facts(),
        "reason": request.POST.get("reason", ""),
        "key": secrets.token_urlsafe(16),
        "drawn": _drawn(run, steps, planned.plan)
        if planned.plan.operation is Operation.FORK and planned.plan.eligible
        else None,
        "what": _what(planned.plan),
        "tables": list(_tables(planned.plan)),
        "count": count(planned.plan.changes),
        "sql": statements.readable(planned.plan),
        "warnings": [*planned.plan.warnings, held(planned.held_by)],
        "earlier": following.that_made(database, planned.plan.earlier) if planned.plan.earlier else None,
    }


def retry(request: HttpRequest, number: int) -> HttpResponse:
    """``GET /retries/<number>/``: one retry, followed until its run has ended."""
    database = _database_of(number)
    followed = following.follow(database, following.retry(number, database))
    unknown = followed.retry.progress == Progress.ASKED
    over = not unknown and (followed.run is None or followed.run.status.finished)
    context = {
        "here": "retries",
        "slug": database.slug,
        "retry": followed.retry,
        "followed": followed,
        "allowed": planning.allowed(database.slug),
        "run": followed.run,
        "taken_up": _taken_up(followed),
        # What the engine does shows in the file; how long it has not done it, in the time alone: so the page always asks anew.
        "live_tag": "" if over else "follow",
        "take_back": statements.taking_back(followed.retry.rows)
        if followed.run is not None and followed.follow_up.taken_up_after is None
        else "",
    }
    return page(request, "runs/retry.html", context)


def _chosen(request: HttpRequest) -> Options:
    return planning.options(*(request.GET.get(name, "") for name in ("operation", "from", "children", "pin")))


def _read(engine: Engine, segment: str) -> tuple[Run, tuple[Step, ...], Names, str]:
    run = engine.run(lookup.run_id(engine, segment))
    return run, engine.steps(run.id), engine.names(), engine.slug


def _database_of(number: int) -> Database:
    if not place.is_kept():
        raise RetryNotFound(remedy="Retrying is off in this process.")
    return served().database(retries.retry_of(number).database)


def _taken_up(followed: Followed) -> str:
    """When the engine took it up: of a run whose clock is whole seconds, only up to the next second."""
    after = followed.follow_up.taken_up_after
    if after is None:
        return ""
    if followed.run is not None and followed.run.coarse:
        return f"within {duration(timedelta(seconds=after // timedelta(seconds=1) + 1))}"
    return f"after {duration(after)}" if after else "at once"


def held(holders: Openers | None) -> str:
    """In a sentence which processes have a file open (Planned.held_by)."""
    if holders is None:
        return "Whether an engine has the file open can’t be told here."
    if not holders.processes:
        who = "Nobody" if holders.all_seen else "No process that this account can look into"
        return f"{who} has the file open: the retry waits in it until an engine starts."
    named = ", ".join(f"{name} ({pid})" for pid, name in holders.processes)
    return f"{plural(len(holders.processes), 'process has', 'processes have')} the file open: {named}"


def _what(plan: RetryPlan) -> str:
    """In a sentence what will happen."""
    match plan.operation:
        case Operation.FORK:
            kept = plural(len(plan.kept), "step is", "steps are")
            again = [part for part in plan.again if part.ordinal is not None]
            if not again:
                return f"{kept} kept in a new run; no recorded one runs again: what comes after them does."
            return f"{kept} kept, {plural(len(again), 'runs', 'run')} again in a new run, and what follows runs for the first time."
        case Operation.RUN_AGAIN:
            return "It runs from its beginning with the same input, as a new run."
        case Operation.RETRY_NOW:
            return "The engine tries again now instead of waiting for the end of the back-off."
        case Operation.UNPAUSE:
            return "The engine goes on with it."
        case Operation.SKIP_DELAY:
            return "The delay ends now."
    return ""


def _tables(plan: RetryPlan) -> Iterator[Table]:
    for name, changes in statements.rows(plan).items():
        shown = tuple((change, _alike(change["each"])) for change in changes[:CHANGES])
        rows = [len(change["each"]) or 1 for change in changes]
        yield Table(name, sum(rows), shown, sum(rows[CHANGES:]))


def _alike(each: Sequence[Mapping[str, object]]) -> Alike | None:
    if not each:
        return None
    return Alike(
        len(each), ", ".join(each[0]), tuple(tuple(one.values()) for one in each[:KEYS]), max(0, len(each) - KEYS)
    )


def _drawn(run: Run, steps: tuple[Step, ...], plan: RetryPlan) -> Timeline:
    """The run as it was: what is kept as ghosts, what runs again as outlines."""
    timeline = lay_out(whole_of(run, steps, as_of=known_until(run, None)[0]))
    again = {part.ordinal for part in plan.again if part.run == run.id}
    kept = {part.ordinal for part in plan.kept if part.run == run.id}
    return replace(timeline, rows=tuple(_marked(row, again, kept) for row in timeline.rows))


def _marked(row: Row, again: set[int | None], kept: set[int | None]) -> Row:
    ordinal = row.step.ordinal if row.step else None
    if row.step is not None and ordinal in again:
        drawn = tuple(
            part._replace(pattern=Pattern.AGAIN, tone=Tone.RUN, final=False, open=False) for part in row.segments
        )
        return replace(row, segments=drawn, kind="again")
    if row.step is not None and ordinal in kept:
        drawn = tuple(part._replace(pattern=Pattern.GHOST, final=False, open=False) for part in row.segments)
        return replace(row, segments=drawn, kind="kept")
    return row
