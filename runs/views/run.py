"""One run: identity, diagnosis, where the time went, and one of its views: timeline, table, history, payloads and so on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest, HttpResponse

from runs import following, links, long_runs
from runs.catalogue import Database, served
from runs.clock import parse_instant
from runs.diagnosis import diagnose, failing_step
from runs.errors import AddressNotFound, BadFilter
from runs.records import UNSUCCESSFUL, Run, Status, Usual
from runs.timeline import Row, Span, Timeline, Whole, keep_ledger, lay_out, spans_of, whole_of, zoom
from runs.views.answers import page
from runs.views.drawing import BLOCK
from runs.views.live import tag_of, unchanged
from runs.views.payload import show
from runs.views.snapshot import Opened, Snapshot, known_as_of, read, stored_of, usual_of
from runs.wording import size

TABS = ("timeline", "table", "history", "payloads", "family", "logs", "details", "raw")
RETRYABLE = (Status.FAILED, Status.CANCELLED, Status.RETRYING, Status.PAUSED, Status.WAITING)
LOG_LEVELS = ("error", "warn", "info", "debug", "trace", "stdout", "stderr")
MANY = 2000  # rows that are drawn at once; beyond, windows
WINDOW = 200


@dataclass(frozen=True, slots=True)
class Block:
    """Up to 100 rows with one picture behind them; it ends where a step is opened."""

    rows: tuple[Row, ...]
    opened: Opened | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """The timeline as the page shows it: in blocks, all rows or a window of them."""

    timeline: Timeline
    blocks: tuple[Block, ...]
    total: int
    first: int
    last: int

    @property
    def previous(self) -> int:
        """The first row of the window before this one."""
        return max(self.first - WINDOW, 0)


def run(request: HttpRequest, slug: str, segment: str, tab: str = "timeline") -> HttpResponse:
    """``GET /db/<slug>/runs/<id>/`` and its views."""
    if tab not in TABS:
        raise AddressNotFound(f"A run has the views {', '.join(TABS)}.")
    database = served().database(slug).seen()
    tag = tag_of([database])
    if answer := unchanged(request, tag):
        return answer
    seen = known_as_of(database, database.read(lambda engine: read(database, engine, request, segment, tab)))
    spans = long_runs.derived(seen.steps, ("spans", seen.as_of), lambda: spans_of(seen.steps, seen.as_of))
    context = {
        "here": "run",
        "slug": slug,
        "tab": tab,
        "live_tag": tag if _goes_on(seen.run) else "",
        "seen": seen,
        "run": seen.run,
        "diagnosis": diagnose(seen.run, seen.steps, seen.as_of),
        "ledger": long_runs.derived(
            seen.steps, ("ledger", seen.as_of), lambda: keep_ledger(seen.run, seen.steps, seen.as_of, spans)
        ),
        "bodies": [show(body) for body in seen.bodies],
        "step_body": show(seen.opened.body) if seen.opened and seen.opened.body else None,
        "tabs": _tabs(seen),
        "retryable": RETRYABLE,
        "unsuccessful": UNSUCCESSFUL,
        **_retries(database, seen.run),
        "curl": request.build_absolute_uri(links.run_href(slug, seen.run.id)),
        "log_levels": LOG_LEVELS,
    }
    if tab == "timeline":
        context["usual"] = usual = usual_of(database, seen)
        context["drawn"] = drawn = _draw(request, seen, usual, spans)
        focus = seen.opened.step.started_at if seen.opened else None
        context["zoom"] = zoom(drawn.timeline, focus)
        context["gaps"] = request.GET.get("gaps") == "show"
    return page(request, "runs/run.html", context)


def _goes_on(run: Run) -> bool:
    """Whether it, or a retry that its page shows, has yet to end."""
    return not (run.status.finished and all(retry.status.finished for retry in run.retries))


def _retries(database: Database, run: Run) -> dict[str, object]:
    """Its retries as the database tells them, whoever made them, each with what is recorded of it here; what was done to the run
    itself; and which retry began it."""
    recorded = following.retries_of(database, run.id)
    by_run = {retry.new_run: retry for retry in recorded}
    made_by = following.that_made(database, run.id)
    return {
        "again": [(retry, by_run.get(retry.id)) for retry in run.retries],
        "in_place": [retry for retry in recorded if retry.new_run == run.id],
        "made_by": made_by if made_by and made_by.run != run.id else None,
    }


def _draw(
    request: HttpRequest, seen: Snapshot, usual: Mapping[str, Usual], spans: Mapping[int, tuple[Span, ...]]
) -> Drawn:
    fold = request.GET.get("gaps") != "show"

    def whole() -> Whole:
        return whole_of(seen.run, seen.steps, as_of=seen.as_of, opened=seen.branches, fold=fold, known=spans)

    timeline = lay_out(
        whole() if seen.branches else long_runs.derived(seen.steps, ("whole", seen.as_of, fold), whole),
        window=(_moment(request, "from"), _moment(request, "to")),
        usual=usual,
        pick=lambda paths: _window(request, paths, seen),
    )
    last = timeline.first + len(timeline.rows)
    return Drawn(timeline, tuple(_blocks(timeline.rows, seen.opened)), timeline.total, timeline.first, last)


def _window(request: HttpRequest, paths: Sequence[str], seen: Snapshot) -> range:
    """Which rows are drawn: all where they are not too many, else those asked for, else those around what is looked at."""
    if len(paths) <= MANY or request.GET.get("rows") == "all":
        return range(len(paths))
    asked = request.GET.get("rows", "")
    if asked.isdigit() and len(asked) < 10:
        first = min(int(asked), max(len(paths) - WINDOW, 0))
    else:
        failing = failing_step(seen.run, seen.steps)
        anchor = seen.opened.path if seen.opened else str(failing.ordinal) if failing else None
        position = next((position for position, path in enumerate(paths) if path == anchor), 0)
        first = max(0, min(position - WINDOW // 2, len(paths) - WINDOW))
    return range(first, min(first + WINDOW, len(paths)))


def _blocks(rows: Sequence[Row], opened: Opened | None) -> list[Block]:
    blocks: list[Block] = []
    block: list[Row] = []
    for row in rows:
        block.append(row)
        here = opened is not None and row.path == opened.path
        if here or len(block) == BLOCK:
            blocks.append(Block(tuple(block), opened if here else None))
            block = []
    if block:
        blocks.append(Block(tuple(block), None))
    return blocks


def _moment(request: HttpRequest, name: str) -> datetime | None:
    text = request.GET.get(name)
    if not text:
        return None
    moment = parse_instant(text) or parse_instant(text.replace(" ", "+"))
    if moment is None:
        raise BadFilter(f"{name}={text[:80]!r} is not an instant like 2026-11-22T03:10:00Z.")
    return moment


def _tabs(seen: Snapshot) -> list[tuple[str, str, str]]:
    steps = len([step for step in seen.steps if step.folded_into is None])
    sizes = sum(payload.size_bytes for payload in stored_of(seen.run))
    tabs = [
        ("timeline", "Timeline", ""),
        ("table", "Table", str(steps)),
        ("history", "History", ""),
        ("payloads", "Payloads", size(sizes) if sizes else ""),
        ("family", "Family", ""),
    ]
    if seen.engine == "obelisk":
        tabs.append(("logs", "Logs", ""))
    return [*tabs, ("details", "Details", ""), ("raw", "Raw", "")]
