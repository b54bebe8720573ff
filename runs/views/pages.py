"""Pages without data: the keys."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs.views.preferences import remember

KEYS = (
    ("Go", (("/", "search"), ("g f", "fleet"), ("g r", "runs"), ("?", "this page"))),
    (
        "In a list or a timeline",
        (
            ("j k", "next, previous row"),
            ("Enter", "open the row"),
            ("o", "open or fold a child"),
            ("e w", "open all, fold all"),
            ("n p", "next, previous failure"),
        ),
    ),
    (
        "In a run",
        (("u", "up to its parent"), ("y", "copy its id"), ("c", "copy the link"), ("Esc", "close the opened step")),
    ),
    ("Everywhere", (("t", "light or dark"),)),
)


def keys(request: HttpRequest) -> HttpResponse:
    """``GET /keys/``."""
    response = render(request, "runs/keys.html", {"groups": KEYS})
    remember(request, response)
    return response
