"""What may be written to, and by whom: the addresses of retries, by forms of our own pages and by clients that send JSON.

A browser sends a form, or JSON as text/plain, to any address on behalf of any page. So a form carries Django's CSRF token; JSON is
accepted as application/json only, which no page of another site can send unasked, and refused where Origin or Sec-Fetch-Site
names another site. Whether retrying is allowed at all is for runs.planning to say.
"""

import re

from django.http import HttpRequest

from runs.errors import DurascopeError, MethodNotAllowed, NotAllowed, WrongMediaType

SAFE_METHODS = ("GET", "HEAD")
_JSON = re.compile(r"/api/v1/(retries/|jobs/[^/]+/cancel/|databases/[^/]+/runs/[^/]+/retry/)")
_FORMS = re.compile(r"/(compare/(again|cancel)/|retries/([0-9a-z]+/)*|db/[^/]+/runs/[^/]+/retry/([a-z]+/)?)")
_ONLY_WRITTEN = re.compile(r"(/api/v1/jobs|/retries/jobs)/[^/]+/cancel/|/compare/(again|cancel)/")


def allowed_methods(path: str) -> tuple[str, ...]:
    """The methods that an address may answer to."""
    if _ONLY_WRITTEN.fullmatch(path):
        return ("POST",)
    return (*SAFE_METHODS, "POST") if _JSON.fullmatch(path) or _FORMS.fullmatch(path) else SAFE_METHODS


def refused(request: HttpRequest) -> DurascopeError | None:
    """Why a request is not let through to its view; None where it is."""
    methods = allowed_methods(request.path)
    if request.method is None or request.method not in methods:
        return MethodNotAllowed(f"{request.method} is not one of {', '.join(methods)}.")
    if request.method in SAFE_METHODS:
        return None
    if _is_foreign(request):
        return NotAllowed("The request comes from a page of another site.")
    if _JSON.fullmatch(request.path) and request.content_type != "application/json":
        return WrongMediaType(f"This is {(request.content_type or 'nothing')[:80]}.")
    return None


def _is_foreign(request: HttpRequest) -> bool:
    """Whether a browser says that a page of another origin sent this: another port of this machine is one as well."""
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("Origin")
    return origin is not None and origin != f"{request.scheme}://{request.get_host()}"
