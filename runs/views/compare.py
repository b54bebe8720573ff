"""Two databases side by side: overview, pairs of runs, runs without a counterpart, steps, errors, settings, integrity."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.safestring import mark_safe

from runs import comparing, links, retrying
from runs.addresses import encode
from runs.catalogue import Database, served
from runs.compare import asking, words
from runs.compare.records import Comparison, Options, Pair, Presence, Progress, Rung, Verdict
from runs.compare.store import Kept, PairFilter
from runs.errors import BadFilter, MethodNotAllowed
from runs.lookup import page_length, refuse_unknown, whole_number
from runs.records import Status
from runs.selection import Reference
from runs.views.dumbbells import axis
from runs.views.preferences import COOKIES, remember

KEPT = ("a", "b", "match", "path", "ignore", "tolerance")
PAIR_FILTERS = ("verdict", "cause", "workflow", "rung", "a_status", "b_status", "q")
LAST = 10**18 - 1
EXPORTED = 1000  # pairs
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


def choose(request: HttpRequest) -> HttpResponse:
    """``GET /compare/``: the overview; without both databases, a form to choose them."""
    if not (request.GET.get("a") and request.GET.get("b")):
        context = {"here": "compare", "databases": served().databases(), "chosen": request.GET, "matches": _matches()}
        return _answer(request, "runs/compare_choose.html", context)
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
            "chips": [(name, value) for name, value in given.items() if value],
            "statuses": [status.value for status in Status],
        }

    return _page(request, "runs", "runs/compare_runs.html", more, "after", "limit", *PAIR_FILTERS)


def lone(request: HttpRequest) -> HttpResponse:
    """``GET /compare/lone/``: the runs of one side that have no counterpart."""
    side, presence = request.GET.get("side", "a"), request.GET.get("presence", Presence.ONLY.value)
    if side not in ("a", "b"):
        raise BadFilter(f"side={side[:20]!r} is not one of a, b.")
    if presence not in {each.value for each in Presence}:
        raise BadFilter(f"presence={presence[:20]!r} is not one of {', '.join(Presence)}.")
    after, limit = _part(request)

    def more(kept: Kept) -> dict[str, object]:
        rows = kept.lone(side, Presence(presence), after, limit + 1)
        slug = getattr(kept.comparison, side).slug
        return {
            "rows": rows[:limit],
            "offers": _offer(side.upper(), slug, [(row.run, row.status) for row in rows[:limit]]),
            "next": rows[limit - 1].number if len(rows) > limit else None,
            "after": after,
            "side": side,
            "presence": Presence(presence),
            "presence_words": words.PRESENCES[Presence(presence)].format(side=side.upper()),
            "presences": list(Presence),
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
        counted = kept.comparison.counts.verdicts
        return {"pasts": [(verdict, counted.get(verdict, 0), meaning) for verdict, meaning in PASTS]}

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
    asked = _confirmed(request)
    comparing.cancel(asked.a, asked.b, asked.options)
    return HttpResponseRedirect(f"{links.COMPARE}?{asked.kept}")


def again(request: HttpRequest) -> HttpResponse:
    """``POST /compare/again/``: compares anew, whatever was kept."""
    asked = _confirmed(request)
    comparing.forget(asked.a, asked.b, asked.options)
    return HttpResponseRedirect(f"{links.COMPARE}?{asked.kept}")


def _offer(letter: str, slug: str, runs: Sequence[tuple[str, Status]]) -> list[Offer]:
    """Planning the retry of those that failed, of this one side; empty where there are none, or retrying is off."""
    failed = tuple(str(Reference(slug, encode(run))) for run, status in runs if status is Status.FAILED)
    return [Offer(letter, slug, failed)] if failed and retrying.allowed(slug) else []


def _part(request: HttpRequest) -> tuple[int, int]:
    """After which number a list goes on, and how many rows are wanted."""
    query = dict(request.GET.lists())
    return whole_number(query, "after", default=0, least=0, most=LAST), page_length(query)


def _confirmed(request: HttpRequest) -> Asked:
    """What was asked of a form, never of a link."""
    if request.method != "POST":
        raise MethodNotAllowed("Only the button does this.")
    return _asked(request)


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
    found = comparing.find(asked.a, asked.b, asked.options)
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
    if isinstance(found, Progress):
        over = found.cancelled or found.problem
        context |= {"progress": found, "live_tag": "" if over else "follow"}
        return _answer(request, "runs/compare_progress.html", context)
    context |= {"it": found.comparison, "changed": found.changed, **_words(found.comparison), **more(found)}
    return _answer(request, template, context)


def _words(it: Comparison) -> dict[str, object]:
    changed = sum(not setting.same for setting in it.settings)
    return {"relation": words.relation(it), "summary": words.summary(it), "changed_settings": changed}


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


def _answer(request: HttpRequest, template: str, context: Mapping[str, object]) -> HttpResponse:
    response = render(request, template, dict(context))
    remember(request, response)
    return response
