"""What a list of runs offers where retrying is allowed: a box a line, and all that the filter matches at once.

The chosen runs are named in the address of their plan, which can then be reloaded, gone back to and passed on. A server, or a proxy
before it, refuses an address of more than some 8,000 characters (gunicorn: 8,190), and a page of 500 runs with long ids would pass
that. So a page whose boxes together don't fit is sent as a form with a token instead, to the same view, which still writes nothing.
All that a filter matches is never a list of ids: it is the filter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest

from runs import links, planning, selection
from runs.addresses import encode
from runs.catalogue import Database
from runs.filters import Filter
from runs.records import Run, Status
from runs.selection import MOST, Reference
from runs.views.preferences import COOKIES

SELECT = "select"  # the parameter that ticks what is shown: select=shown
LONGEST = 7000  # characters of an address that carries runs
_OF_A_PAGE = ("after", "limit", SELECT, *COOKIES)


@dataclass(frozen=True, slots=True)
class Offer:
    """``runs``: those of the page that have a box, each as the form names it; ``ticked``: all of them are. ``everything``: where
    all that the filter matches are planned, empty where it lists others too; ``matching``: how many, None where only some databases
    may be retried, or they are not counted yet."""

    runs: Mapping[tuple[str, str], str]
    method: str
    ticked: bool
    everything: str
    matching: int | None

    @property
    def everybody(self) -> str:
        """All that the filter matches, as far as they are planned together, in words."""
        if self.matching is None:
            return f"all that match, {MOST:,} at most"
        if self.matching > MOST:
            return f"the newest {MOST:,} of {self.matching:,} that match"
        return "the one that matches" if self.matching == 1 else f"all {self.matching:,} that match"


def offered(
    request: HttpRequest,
    slug: str,
    databases: Sequence[Database],
    rows: Sequence[tuple[str, Run]],
    where: Filter,
    counts: Mapping[Status, int] | None,
) -> Offer | None:
    """What the list offers; None where runs of none of its databases may be retried."""
    allowed = {database.slug for database in databases if planning.allowed(database.slug)}
    if not allowed:
        return None
    runs = {
        (name, run.id): str(Reference(name, encode(run.id)))
        for name, run in rows
        if name in allowed and selection.may_be_retried(run)
    }
    fits = len(urlencode([("run", value) for value in runs.values()])) <= LONGEST
    whole = selection.are_retried(where.statuses)
    return Offer(
        runs,
        "get" if fits else "post",
        request.GET.get(SELECT) == "shown",
        links.plans_page(_filter(request, slug)) if whole else "",
        None
        if counts is None or len(allowed) != len(databases)
        else sum(counts.get(status, 0) for status in where.statuses),
    )


def pick(offer: Offer | None, slug: str, run: Run) -> str | None:
    """What the form calls a run of the list, empty where it has no box; None where none has one."""
    return offer.runs.get((slug, run.id), "") if offer and offer.runs else None


def _filter(request: HttpRequest, slug: str) -> str:
    query = request.GET.copy()
    for name in _OF_A_PAGE:
        query.pop(name, None)
    if slug:
        query["db"] = slug
    return query.urlencode()
