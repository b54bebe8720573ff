"""The search box: an id, or a native link that holds one, opens the run wherever it is; anything else becomes a list."""

import re
from collections.abc import Sequence
from urllib.parse import unquote, urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render

from runs import links
from runs.catalogue import Database, served
from runs.counting import read_each
from runs.engines.base import Engine
from runs.errors import DurascopeError
from runs.filters import Filter
from runs.lookup import MAX_LIMIT
from runs.wording import short_id

_LINK = re.compile(r"/(?:execution|executions|workflow|workflows|workflow-uuid|runs)/([^/?#]+(?:/[^?#]*)?)")


def search(request: HttpRequest) -> HttpResponse:
    """``GET /search/?q=``: a redirect to the run, or to the list of runs that match."""
    text = request.GET.get("q", "").strip()
    if not text or len(text) > 4000:
        return redirect("/runs/")
    databases = served().databases()
    for candidate in _candidates(text):

        def has(slug: str, engine: Engine, wanted: str = candidate) -> str:
            engine.demand(wanted)
            return wanted

        found = [
            (database.slug, answer)
            for database, answer in zip(databases, read_each(databases, has), strict=True)
            if not isinstance(answer, DurascopeError)
        ]
        if found:
            return _found(request, text, found)
    if cut := _cut(databases, text):
        return _found(request, text, cut)
    return HttpResponseRedirect(f"/runs/?{urlencode({'q': text})}")


def _found(request: HttpRequest, text: str, found: Sequence[tuple[str, str]]) -> HttpResponse:
    """The one run that was found, by database and id, or a choice among several."""
    if len(found) == 1:
        return HttpResponseRedirect(links.run_page(*found[0]))
    return render(request, "runs/found.html", {"here": "runs", "searched": text, "found": found})


def _cut(databases: Sequence[Database], text: str) -> list[tuple[str, str]]:
    """Database and id of the runs whose ids are cut in the middle to this text, as lists show them (wording.short_id)."""
    beginning, cut, end = text.partition("…")
    if not (beginning and cut and end):
        return []

    def alike(slug: str, engine: Engine) -> list[tuple[str, str]]:
        rows = engine.runs(Filter(q=beginning), None, MAX_LIMIT).rows
        return [(slug, run.id) for run in rows if short_id(run.id) == text]

    answers = read_each(databases, alike)
    return [run for answer in answers if not isinstance(answer, DurascopeError) for run in answer]


def _candidates(text: str) -> list[str]:
    """The text itself, and the id inside a link of an engine's own dashboard."""
    candidates = [text]
    # Some dashboards keep their place behind the #. No urlsplit: it raises for what merely looks like an address.
    places = text.partition("://")[2].split("#") if "://" in text else [text]
    places = [place.partition("?")[0] for place in places]
    if match := next(filter(None, map(_LINK.search, places)), None):
        inner = unquote(match[1]).strip("/")
        candidates += [inner, inner.split("/")[0]]
    return list(dict.fromkeys(candidates))
