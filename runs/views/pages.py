"""Pages without data: the keys."""

from django.http import HttpRequest, HttpResponse

from runs.views.answers import page

KEYS = (
    ("Go", (("/", "search"), ("g f", "fleet"), ("g r", "runs"), ("g c", "compare"), ("?", "this page"))),
    (
        "In a list or a timeline",
        (
            ("j k", "next, previous row"),
            ("Enter", "open the row"),
            ("n p", "next, previous failure"),
            ("x", "choose the run, or no longer"),
            ("r", "plan a retry of the chosen ones"),
            ("o", "open or fold a child"),
            ("e w", "unfold, fold what is stored"),
        ),
    ),
    ("In a timeline", (("+ -", "zoom in, out"), ("← →", "earlier, later"), ("0", "the whole run"))),
    (
        "In a run",
        (
            ("[ ]", "previous, next run of the workflow"),
            ("u", "up to its parent"),
            ("y", "copy its id"),
            ("c", "copy the link"),
            ("Esc", "close the opened step"),
        ),
    ),
    ("Everywhere", (("t", "light or dark"),)),
)


def keys(request: HttpRequest) -> HttpResponse:
    """``GET /keys/``."""
    return page(request, "runs/keys.html", {"groups": KEYS})
