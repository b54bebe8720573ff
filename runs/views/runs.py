"""The list of runs: of one database, or of all of them merged; everything that is chosen is in the address."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from django.http import HttpRequest, HttpResponse

from runs import clock
from runs.catalogue import Database, served
from runs.counting import STAYS_TRUE
from runs.diagnosis import known_until
from runs.errors import BadFilter
from runs.facets import facets
from runs.filters import Filter
from runs.fleet import last_event_at, newest_by_slug
from runs.lookup import ListQuery, list_query
from runs.merge import ASKED_TOGETHER, Merged, merged_runs
from runs.records import UNSUCCESSFUL, Histogram, Run, Status
from runs.timeline.zoom import Window
from runs.views import picking
from runs.views.answers import page
from runs.views.live import incomplete, tag_of, unchanged
from runs.views.preferences import COOKIES, preferences
from runs.wording import clock_time, visible

WITHIN = {
    "1h": ("last hour", timedelta(hours=1)),
    "24h": ("last 24 h", timedelta(days=1)),
    "7d": ("last 7 d", timedelta(days=7)),
}


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter that is set, and the parameter that leaves the address when it is removed."""

    label: str
    parameter: str


def runs(request: HttpRequest, slug: str = "") -> HttpResponse:
    """``GET /runs/`` and ``GET /db/<slug>/runs/``."""
    databases = tuple(database.seen() for database in databases_of(request, slug))
    tag = tag_of(databases)
    if answer := unchanged(request, tag):
        return answer
    asked = asked_of(request)
    newest = newest_by_slug(databases) if len(databases) > ASKED_TOGETHER else {}
    merged = merged_runs(databases, asked.where, asked.after, asked.limit, newest)
    numbers = facets(databases, _steady(asked.where, request.GET.get("within", "")))
    rows = _rows(databases, merged)
    offer = picking.offered(
        request, slug, databases, merged.rows, asked.where, numbers.counts if numbers.counted else None
    )
    context = {
        "here": "runs",
        "live_tag": tag if numbers.fresh else incomplete(tag),
        "slug": slug,
        "databases": databases,
        "all_slugs": [database.slug for database in served().databases()],
        "chosen": request.GET.getlist("db"),
        "asked": asked,
        "where": asked.where,
        "merged": merged,
        "facets": numbers,
        "created": numbers.created,
        "slices": _slices(numbers.created),
        "chips": list(_chips(request, asked.where)),
        "within": request.GET.get("within", ""),
        "within_choices": [(key, label) for key, (label, _) in WITHIN.items()],
        "children": request.GET.get("children") == "show",
        # Only where there is something that can have recovered.
        "hides_recovered": asked.where.recovered is None and any(numbers.counts.get(each) for each in UNSUCCESSFUL),
        "searched": asked.where.q,
        "partial": _partial(merged),
        "rows": [(slug, run, until, picking.pick(offer, slug, run)) for slug, run, (until, _) in rows],
        "offer": offer,
        "stale": sorted({(slug, until) for slug, run, (until, stale) in rows if stale}),
    }
    return page(request, "runs/runs.html", context)


def databases_of(request: HttpRequest, slug: str = "") -> tuple[Database, ...]:
    """The databases that a list is of: the one of its address, else those that are chosen, else all."""
    if slug:
        return (served().database(slug),)
    chosen = [name for name in request.GET.getlist("db") if name]
    return tuple(served().database(name) for name in chosen) if chosen else served().databases()


def asked_of(request: HttpRequest) -> ListQuery:
    """What a list is asked for. Raises BadFilter."""
    asked = list_query(dict(request.GET.lists()), also=("db", "within", "children", picking.SELECT, *COOKIES))
    where = asked.where
    within = request.GET.get("within", "")
    if within:
        if within not in WITHIN:
            raise BadFilter(f"within={within[:20]!r} is not one of {', '.join(WITHIN)}.")
        where = replace(where, since=clock.now() - WITHIN[within][1])
    # A list of what people started: children are seen inside their parents until they are asked for, or looked for.
    if where.root is None and request.GET.get("children") != "show" and not where.q:
        where = replace(where, root=True)
    return replace(asked, where=where)


def _steady(where: Filter, within: str) -> Filter:
    """The filter whose numbers are counted: ``within`` moves with the clock, and would never be counted twice."""
    if not within or where.since is None:
        return where
    beyond = timedelta(seconds=where.since.timestamp() % STAYS_TRUE)
    return replace(where, since=where.since - beyond)


def _slices(created: Histogram) -> list[Window]:
    """The part of the window that each column stands for."""
    if created.start is None or created.end is None or not created.parts:
        return []
    part = (created.end - created.start) / len(created.parts)
    # The last run lies on the window's own end, which a half open part would leave out.
    edges = [created.start + number * part for number in range(len(created.parts))] + [
        created.end + timedelta(microseconds=1)
    ]
    return [Window(start, end) for start, end in pairwise(edges)]


def _rows(databases: tuple[Database, ...], merged: Merged) -> list[tuple[str, Run, tuple[datetime, bool]]]:
    """Each run with what its database knows: until when, and whether nobody wrote it since."""
    going_on = {slug for slug, run in merged.rows if not run.status.finished}
    newest = {database.slug: last_event_at(database) for database in databases if database.slug in going_on}
    return [(slug, run, known_until(run, newest.get(slug))) for slug, run in merged.rows]


def _chips(request: HttpRequest, where: Filter) -> list[Chip]:
    zone = preferences(request).zone
    chosen = [name for name in request.GET.getlist("db") if name]
    chips = [Chip(", ".join(chosen), "db")] if chosen else []
    if where.statuses:
        chips.append(Chip(", ".join(status for status in Status if status in where.statuses), "status"))
    for parameter, text in (
        ("workflow", where.workflow),
        ("q", where.q),
        ("version", where.version),
        ("queue", where.queue),
    ):
        if text:
            chips.append(Chip(f"{parameter} {visible(text)}" if parameter != "q" else f"“{visible(text)}”", parameter))
    if request.GET.get("within"):
        chips.append(Chip(WITHIN[request.GET["within"]][0], "within"))
    elif where.since:
        chips.append(Chip(f"from {clock_time(where.since, zone)}", "since"))
    if where.until:
        chips.append(Chip(f"before {clock_time(where.until, zone)}", "until"))
    if where.active_at:
        chips.append(Chip(f"active at {clock_time(where.active_at, zone)}", "active_at"))
    if request.GET.get("children") == "show":
        chips.append(Chip("children too", "children"))
    if request.GET.get("root"):
        chips.append(Chip("no children" if where.root else "children only", "root"))
    if where.recovered is not None:
        chips.append(Chip("recovered failures only" if where.recovered else "recovered failures left out", "recovered"))
    return chips


def _partial(merged: Merged) -> str:
    return " ".join(f"{slug}: {words}" for slug, words in merged.partial)
