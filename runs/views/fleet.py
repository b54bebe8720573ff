"""The fleet: one row a database, what needs a look first."""

from django.http import HttpRequest, HttpResponse

from runs import clock
from runs.catalogue import served
from runs.errors import DurascopeError
from runs.fleet import Contents, Entry, Pending, glance
from runs.views.answers import page
from runs.views.live import incomplete, tag_of, unchanged

MOST = 200  # rows that are shown unless all are asked for


def fleet(request: HttpRequest) -> HttpResponse:
    """``GET /``."""
    databases = [database.seen() for database in served().databases()]
    tag = tag_of(databases)
    if answer := unchanged(request, tag):
        return answer
    entries = sorted(glance(databases), key=_urgency)
    readable = [entry.contents for entry in entries if isinstance(entry.contents, Contents)]
    shown = len(entries) if request.GET.get("rows") == "all" else MOST
    context = {
        "here": "fleet",
        "live_tag": tag if all(entry.fresh for entry in entries) else incomplete(tag),
        "entries": entries,
        "shown": entries[:shown],
        "readable": len(entries) - sum(isinstance(entry.contents, DurascopeError) for entry in entries),
        "failures": sum(sum(contents.overview.failures) for contents in readable),
        "now": clock.now(),
        "specs": served().specs,
        "cut": served().cut,
    }
    return page(request, "runs/fleet.html", context)


def _urgency(entry: Entry | Pending) -> tuple[bool, int, str]:
    if isinstance(entry.contents, Contents):
        return False, -sum(entry.contents.overview.failures), entry.slug
    return entry.contents is not None, 0, entry.slug
