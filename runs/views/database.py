"""One database: what it holds in numbers, and what its engine says of it beside its runs."""

from django.http import HttpRequest, HttpResponse

from runs.catalogue import served
from runs.counting import Counted, counted
from runs.engines.base import Engine
from runs.errors import DurascopeError
from runs.fleet import Contents, glance
from runs.records import Section
from runs.views.answers import page
from runs.views.live import incomplete, tag_of, unchanged


def database(request: HttpRequest, slug: str) -> HttpResponse:
    """``GET /db/<slug>/``."""
    found = served().database(slug).seen()
    tag = tag_of([found])
    if answer := unchanged(request, tag):
        return answer
    (entry,) = glance([found])
    (said,) = counted([found], "sections", _sections) if isinstance(entry.contents, Contents) else (None,)
    complete = entry.fresh and (said is None or said.fresh)
    context = {
        "here": "fleet",
        "slug": slug,
        "live_tag": tag if complete else incomplete(tag),
        "entry": entry,
        "sections": _shown(said),
    }
    return page(request, "runs/database.html", context)


def _sections(_slug: str, engine: Engine) -> tuple[Section, ...]:
    return engine.sections()


def _shown(said: Counted[tuple[Section, ...]] | None) -> tuple[Section, ...]:
    """What was read so far. Raises why it can't be."""
    if said is None:
        return ()
    if isinstance(said.answer, DurascopeError):
        raise said.answer
    return said.answer
