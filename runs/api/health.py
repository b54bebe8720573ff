"""Whether this process answers, for whatever watches it.

It says nothing of any database: one that can't be read is no reason to restart.
"""

from django.http import HttpRequest, HttpResponse


def health(request: HttpRequest) -> HttpResponse:
    """``GET /healthz``."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")
