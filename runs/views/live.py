"""Live pages: a page asks for itself again with the tag it was made from, and gets 204 where nothing changed since."""

import hashlib
from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse

from runs.catalogue import Database

HEADER = "Durascope-Tag"


def tag_of(databases: Iterable[Database]) -> str:
    """Changes whenever one of the databases may have changed, or another is served."""
    parts = "\n".join(f"{database.slug} {database.source.fingerprint()}" for database in databases)
    return hashlib.sha256(parts.encode()).hexdigest()[:24]


def incomplete(tag: str) -> str:
    """The tag of a page that lacks something still to be counted: it asks again even where nothing changes."""
    return f"{tag}-"


def unchanged(request: HttpRequest, tag: str) -> HttpResponse | None:
    """The answer to a page that is still as it was, or None."""
    return HttpResponse(status=204) if request.headers.get(HEADER) == tag else None
