"""Two databases side by side: overview, pairs of runs, runs without a counterpart, steps, errors, settings, integrity."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from urllib.parse import urlencode

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.safestring import mark_safe

from runs import comparing, links, planning
from runs.addresses import encode
from runs.catalogue import Database, served
from runs.clock import rfc3339
from runs.compare import asking, words
from runs.compare.records import Cause, Comparison, Options, Pair, Presence, Progress, Relation, Rung, Verdict
from runs.compare.store import Kept, PairFilter
from runs.errors import BadFilter, Unreadable
from runs.fleet import survey
from runs.lookup import page_length, refuse_unknown, whole_number
from runs.records import Status
from runs.selection import Reference
from runs.views.answers import answered, page
from runs.views.dumbbells import axis
from runs.views.preferences import COOKIES
from runs.views.suggestions import suggestions

KEPT = ("a", "b", "match", "path", "ignore", "tolerance")
PAIR_FILTERS = ("verdict", "cause", "workflow", "rung", "a_status", "b_status", "q")
SIDES = ("a", "b")
LAST = 10**18 - 1
EXPORTED = 1000  # pairs, and runs of each side without a counterpart
STYLES = ("tokens", "base", "layout", "components", "timeline", "compare")
ERRORS = (
    ("new", "New in B"),
    ("gone", "Gone in B"),
    ("more", "More in B"),
    ("fewer", "Fewer in B"),
    ("same", "As before"),
)
PASTS = (
    (Verdict.SAME, "the same events, byte by byte"),
    (Verdict.A_AHEAD, "all of B’s events, and more in A: it went on there"),
    (Verdict.B_AHEAD, "all of A’s events, and more in B: it went on there"),
    (Verdict.DIVERGED, "the same beginning, then other events at other times: it went on in both, as after a fork"),
    (Verdict.REWRITTEN, "an event differs although its recorded time is the same, or an equal one follows"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which two databases, and how. ``shared`` is the part of the address that every page of the comparison has."""

    a: Database
    b: Database
    options: Options
    shared: tuple[tuple[str, str], ...]

    @property
    def kept(self) -> str:
        return urlencode(self.shared)

    @property
    def swapped(self) -> str:
        """The same with A and B in each other's place."""
        other = {"a": "b", "b": "a"}
        return urlencode([(other.get(name, name), value) for name, value in self.shared])

    @property
    def pair_options(self) -> str:
        """What follows the address of two runs: how their payloads and times are compared."""
        text = urlencode([(name, value) for name, value in self.shared if name in ("ignore", "tolerance")])
        return f"&{text}" if text else ""


@dataclass(frozen=True, slots=True)
class Offer:
    """The failed runs of one side that a page shows, as the form that plans their retry names them."""

    letter: str
    slug: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Newer:
    """A plain list of the runs of one side from an instant on."""

    letter: str
    since: str
    page: str


def choose(request: HttpRequest) -> HttpResponse:
    """``GET /compare/``: the overview; without both databases, a form to choose them."""
    if not (request.GET.get("a") and request.GET.get("b")):
        databases = served().databases()
        context = {
            "here": "compare",
            "databases": databases,
            "matches": _matches(),
            "suggestions": suggestions(survey(databases)) if len(databases) > 1 else (),
        }
        return page(request, "runs/compare_choose.html", context)
    return _page(request, "overview", "runs/compare.html", lambda kept: {"axis": axis(kept.comparison.workflows)})


def pairs(request: HttpRequest) -> HttpResponse:
    """``GET /compare/runs/``: the runs that were matched."""
    given = {name: request.GET.get(name, "") for name in PAIR_FILTERS}
    after, limit = _part(request)

    def more(kept: Kept) -> dict[str, object]:
        where = PairFilter(**given)
        rows = kept.pairs(where, after, limit + 1)
        it = kept.comparison
        return {
            "rows": rows[:limit],
            "offers": [
                *_offer("A", it.a.slug, [(pair.a_run, pair.a_status) for pair in rows[:limit]]),
                *_offer("B", it.b.slug, [(pair.b_run, pair.b_status) for pair in rows[:limit]]),
            ],
            "next": rows[limit - 1].number if len(rows) > limit else None,
            "after": after,
            "count": kept.count_pairs(where),
            "facets": kept.facets(),
            "where": where,
            "chips": [(name, _chip(name, value)) for name, value in given.items() if value],
            "statuses": [status.value for status in Status],
        }

    return _page(request, "runs", "runs/compare_runs.html", more, "after", "limit", *PAIR_FILTERS)


def lone(request: HttpRequest) -> HttpResponse:
    """``GET /compare/lone/``: the runs of one side that have no counterpart."""
    asked_side, asked_presence = request.GET.get("side", ""), request.GET.get("presence", "")
    if asked_side not in ("", *SIDES):
        raise BadFilter(f"side={asked_side[:20]!r} is not one of {', '.join(SIDES)}.")
    if asked_presence and asked_presence not in {each.value for each in Presence}:
        raise BadFilter(f"presence={asked_presence[:20]!r} is not one of {', '.join(Presence)}.")
    after, limit = _part(request)

    def more(kept: Kept) -> dict[str, object]:
        counts = kept.count_lone()
        presences = [Presence(asked_presence)] if asked_presence else list(Presence)
        sides = (asked_side,) if asked_side else SIDES
        # Where neither is asked for: the first list that isn't empty.
        listed = list(product(presences, sides))
        presence, side = next(((why, of) for why, of in listed if counts.get((of, why))), listed[0])
        rows = kept.lone(side, presence, after, limit + 1)
        slug = getattr(kept.comparison, side).slug
        return {
            "rows": rows[:limit],
            "offers": _offer(side.upper(), slug, [(row.run, row.status) for row in rows[:limit]]),
            "next": rows[limit - 1].number if len(rows) > limit else None,
            "after": after,
            "side": side,
            "presence": presence,
            "presence_words": words.PRESENCES[presence].format(side=side.upper()),
            "sides": [(of, sum(counts.get((of, why), 0) for why in Presence)) for of in SIDES],
            "presences": [(why, counts.get((side, why), 0)) for why in Presence],
            "count": counts.get((side, presence), 0),
            "slug": slug,
        }

    return _page(request, "lone", "runs/compare_lone.html", more, "after", "limit", "side", "presence")


def steps(request: HttpRequest) -> HttpResponse:
    """``GET /compare/steps/``: by name of a step."""
    return _page(request, "steps", "runs/compare_steps.html", lambda kept: {"axis": axis(kept.comparison.steps)})


def errors(request: HttpRequest) -> HttpResponse:
    """``GET /compare/errors/``: what went wrong, new, gone, more and fewer."""
    return _page(request, "errors", "runs/compare_errors.html", lambda kept: _error_groups(kept.comparison))


def settings(request: HttpRequest) -> HttpResponse:
    """``GET /compare/settings/``: schema and configuration of both sides."""
    everything = request.GET.get("all") == "on"
    return _page(request, "settings", "runs/compare_settings.html", lambda _: {"everything": everything}, "all")


def integrity(request: HttpRequest) -> HttpResponse:
    """``GET /compare/integrity/``: whether the past that both share is the same."""

    def more(kept: Kept) -> dict[str, object]:
        found = kept.comparison.counts.pasts
        return {"pasts": [(verdict, found.get(verdict, 0), meaning) for verdict, meaning in PASTS if found]}

    return _page(request, "integrity", "runs/compare_integrity.html", more)


def export(request: HttpRequest) -> HttpResponse:
    """``GET /compare/export/``: the comparison as one file that needs no server."""
    asked = _asked(request)
    found = comparing.find(asked.a, asked.b, asked.options)
    if isinstance(found, Progress):
        return HttpResponseRedirect(f"{links.COMPARE}?{asked.kept}")
    it = found.comparison
    differing = [verdict for verdict, number in it.counts.verdicts.items() if number and verdict is not Verdict.SAME]
    listed: list[Pair] = []
    for verdict in differing:
        listed += found.pairs(PairFilter(verdict=verdict), 0, EXPORTED - len(listed))
    context = {
        "it": it,
        **_words(it),
        **_error_groups(it),
        "matched": words.matched(it.counts),
        "pairs": listed,
        "missing": found.missing(EXPORTED),
        "only_one": it.counts.only_a + it.counts.only_b,
        "differing": sum(it.counts.verdicts[verdict] for verdict in differing),
        "workflow_axis": axis(it.workflows),
        "step_axis": axis(it.steps),
        # Our own stylesheets, and nothing that a database says.
        "styles": mark_safe("\n".join(Path(str(finders.find(f"css/{name}.css"))).read_text() for name in STYLES)),  # noqa: S308
    }
    response = render(request, "runs/compare_export.html", context)
    name = f"{it.a.slug}-and-{it.b.slug}.html"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def cancel(request: HttpRequest) -> HttpResponse:
    """``POST /compare/cancel/``: stops a comparison that is being made; what it has read is forgotten."""
    asked = _asked(request)
    comparing.cancel(asked.a, asked.b, asked.options)
    return HttpResponseRedirect(f"{links.COMPARE}?{asked.kept}")


def again(request: HttpRequest) -> HttpResponse:
    """``POST /compare/again/``: compares anew, whatever was kept."""
    asked = _asked(request)
    comparing.forget(asked.a, asked.b, asked.options)
    return HttpResponseRedirect(f"{links.COMPARE}?{asked.kept}")


def _chip(name: str, value: str) -> str:
    """A filter in words; one that can't match anything as it was given."""
    with suppress(ValueError):
        match name:
            case "verdict":
                return words.VERDICTS[Verdict(value)][1]
            case "cause":
                return words.CAUSES[Cause(value)]
            case "rung":
                return f"matched by {words.RUNGS[Rung(value)]}"
    return {"workflow": value, "a_status": f"A {value}", "b_status": f"B {value}", "q": f"“{value}”"}.get(name, value)


def _offer(letter: str, slug: str, runs: Sequence[tuple[str, Status]]) -> list[Offer]:
    """Planning the retry of those that failed, of this one side; empty where there are none, or retrying is off."""
    failed = tuple(str(Reference(slug, encode(run))) for run, status in runs if status is Status.FAILED)
    return [Offer(letter, slug, failed)] if failed and planning.allowed(slug) else []


def _part(request: HttpRequest) -> tuple[int, int]:
    """After which number a list goes on, and how many rows are wanted."""
    query = dict(request.GET.lists())
    return whole_number(query, "after", default=0, least=0, most=LAST), page_length(query)


def _page(
    request: HttpRequest,
    tab: str,
    template: str,
    more: Callable[[Kept], Mapping[str, object]] = lambda _: {},
    *also: str,
) -> HttpResponse:
    """One page of a comparison, or how far it is."""
    refuse_unknown(request.GET, (*KEPT, *also, *COOKIES))
    asked = _asked(request)
    context: dict[str, object] = {
        "here": "compare",
        "tab": tab,
        "asked": asked,
        "kept": asked.kept,
        "shared": asked.shared,
        "pair_options": asked.pair_options,
        "databases": served().databases(),
        "matches": _matches(),
        "tolerance": asking.tolerance_text(asked.options.tolerance),
    }
    try:
        found = comparing.find(asked.a, asked.b, asked.options)
    except Unreadable as problem:
        # With the form, so that another one can be chosen.
        context |= {"progress": Progress("", 0, 0, problem=str(problem)), "live_tag": ""}
        return answered(request, "runs/compare_progress.html", context, problem)
    if isinstance(found, Progress):
        over = found.cancelled or found.problem
        context |= {"progress": found, "live_tag": "" if over else "follow"}
        return page(request, "runs/compare_progress.html", context)
    context |= {"it": found.comparison, "changed": found.changed, **_words(found.comparison), **more(found)}
    return page(request, template, context)


def _words(it: Comparison) -> dict[str, object]:
    changed = sum(not setting.same for setting in it.settings)
    return {
        "relation": words.relation(it),
        "summary": words.summary(it),
        "changed_settings": changed,
        "newer": list(_newer(it)),
    }


def _newer(it: Comparison) -> Iterator[Newer]:
    """The runs that one side recorded after the other ended; of a fork, those of both sides since they parted."""
    parted = it.alike_until if it.relation in (Relation.FORKED, Relation.REWRITTEN) else None
    for letter, side, of, other in (("A", it.a, "B", it.b), ("B", it.b, "A", it.a)):
        since = parted or other.last_at
        if since and side.last_at and side.last_at > since:
            query = urlencode({"since": rfc3339(since), "children": "show"})
            words_of = "since they parted" if parted else f"since {of} ended"
            yield Newer(letter, words_of, f"{links.runs_page(side.slug)}?{query}")


def _error_groups(it: Comparison) -> dict[str, object]:
    named = [(name, title, getattr(it.errors, name)) for name, title in ERRORS]
    return {"error_groups": named, "any_errors": any(groups for _, _, groups in named)}


def _matches() -> list[tuple[str, str]]:
    return [(asking.AUTO, "auto"), *((rung.value, words.RUNGS[rung]) for rung in Rung)]


def _asked(request: HttpRequest) -> Asked:
    given = request.GET
    slug_a, slug_b = given.get("a", ""), given.get("b", "")
    if not slug_a or not slug_b:
        raise BadFilter("A comparison needs two databases, a and b.")
    a, b = served().database(slug_a), served().database(slug_b)
    ignore = [text for text in given.getlist("ignore") if text.strip()]
    options = asking.options(given.get("match", ""), given.get("path", ""), ignore, given.get("tolerance", ""))
    more = [(name, value) for name in ("match", "path", "tolerance") if (value := given.get(name, ""))]
    ignored = [("ignore", path) for path in options.ignore]
    return Asked(a, b, options, (("a", slug_a), ("b", slug_b), *more, *ignored))
