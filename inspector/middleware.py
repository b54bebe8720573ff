"""Headers on every answer, and our errors as a page, a fragment or JSON. Nothing here knows a database."""

import json
from collections.abc import Callable, Mapping

from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from inspector import writes
from runs.errors import AddressNotFound, BadRequest, DurascopeError, MethodNotAllowed, NotAllowed
from runs.views.answers import Refusal

GetResponse = Callable[[HttpRequest], HttpResponseBase]

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# What a browser keeps must be asked for again: the database may have changed, and payloads are nobody else's.
CACHE_CONTROL = "private, no-cache"


class SecurityHeaders:
    """Puts HEADERS on every answer, where the view has not set a stricter one, and refuses hosts that are not ours.

    A name that an attacker points at 127.0.0.1 (DNS rebinding) arrives in the Host header: it gets a plain 400.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            request.get_host()
        except DisallowedHost:
            response: HttpResponseBase = HttpResponse(
                "Durascope does not answer for this host name. DURASCOPE_ALLOWED_HOSTS names those it answers for.\n",
                content_type="text/plain; charset=utf-8",
                status=400,
            )
        else:
            response = self.get_response(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", CACHE_CONTROL)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            patch_vary_headers(response, ("HX-Request-Type",))
        return response


class Errors:
    """Every answer of 400 and above speaks our language: a page, a fragment for htmx, or JSON below ``/api/``.

    Only reading is answered, but for the addresses of retries: inspector.writes says what else reaches a view.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if refused := writes.refused(request):
            return answer(request, refused)
        response = self.get_response(request)
        if isinstance(response, HttpResponse) and response.status_code >= 400 and not _is_ours(response):
            # Said anew in place: its status stays, and Django knows whether it has logged it.
            said = answer(request, _error_for(request.path, response.status_code))
            response.content = said.content
            response.headers["Content-Type"] = said.headers["Content-Type"]
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The answer to what a view raised; None leaves it to Django, which logs it and answers 500."""
        if isinstance(exception, Http404):
            return answer(request, _nowhere(request.path))
        return answer(request, exception) if isinstance(exception, DurascopeError) else None


class _ErrorPage(HttpResponse):
    """An answer that ``answer`` made."""


def answer(request: HttpRequest, error: DurascopeError) -> HttpResponse:
    """The error in the form that this request can read, with the error's own status."""
    response: HttpResponse
    if request.path.startswith("/api/"):
        response = JsonResponse({"error": type(error).__name__, "detail": str(error)}, status=error.status)
    else:
        partial = request.headers.get("HX-Request-Type") == "partial"
        template = "runs/_error.html" if partial else "runs/error.html"
        response = _ErrorPage(render(request, template, {"error": error}).content, status=error.status)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(writes.allowed_methods(request.path))
    return response


def _nowhere(path: str) -> AddressNotFound:
    return AddressNotFound(remedy="/api/v1/docs lists the addresses." if path.startswith("/api/") else "")


def _error_for(path: str, status: int) -> DurascopeError:
    """Our word for an answer that Django, or a library, made."""
    if status == 404:
        return _nowhere(path)
    if status == 403:
        return NotAllowed("The form has no token of this page, or an old one.", remedy="Load the page again.")
    if status == 405:
        return MethodNotAllowed()
    if status < 500:
        return BadRequest()
    return DurascopeError("The log on the server's terminal says what it was.")


def _is_ours(response: HttpResponse) -> bool:
    """Whether the answer is already an error page of ours, a page that says the error itself, or JSON with our error object."""
    if isinstance(response, _ErrorPage | Refusal):
        return True
    if not response.headers.get("Content-Type", "").startswith("application/json"):
        return False
    try:
        body = json.loads(response.content)
    except ValueError:
        return False
    return isinstance(body, dict) and body.keys() >= {"error", "detail"}
