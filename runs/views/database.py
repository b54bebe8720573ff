"""One database: what it holds in numbers, and what its engine says of it beside its runs."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs.catalogue import served
from runs.engines.base import Engine
from runs.fleet import Contents, survey
from runs.records import Section
from runs.views.live import tag_of, unchanged
from runs.views.preferences import remember


def database(request: HttpRequest, slug: str) -> HttpResponse:
    """``GET /db/<slug>/``."""
    found = served().database(slug)
    tag = tag_of([found])
    if answer := unchanged(request, tag):
        return answer
    (entry,) = survey([found])
    context = {
        "here": "fleet",
        "slug": slug,
        "live_tag": tag,
        "entry": entry,
        "sections": found.read(_sections) if isinstance(entry.contents, Contents) else (),
    }
    response = render(request, "runs/database.html", context)
    remember(request, response)
    return response


def _sections(engine: Engine) -> tuple[Section, ...]:
    return engine.sections()
