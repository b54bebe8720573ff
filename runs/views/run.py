"""One run: identity, diagnosis, where the time went, and one of its views: timeline, table, history, payloads and so on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs import lookup
from runs.catalogue import served
from runs.clock import parse_instant
from runs.diagnosis import diagnose, failing_step, known_until
from runs.engines.base import Engine
from runs.errors import AddressNotFound, BadFilter, RunNotFound, StepNotFound
from runs.fleet import last_event_at
from runs.records import Body, Event, LogLine, Page, Payload, Payloads, Relatives, Run, Section, Step, StepKind
from runs.timeline import Branch, Row, Timeline, keep_ledger, lay_out, zoom
from runs.views.drawing import BLOCK
from runs.views.live import tag_of, unchanged
from runs.views.payload import show
from runs.views.preferences import remember
from runs.wording import size

TABS = ("timeline", "table", "history", "payloads", "family", "logs", "details")
STEP_TABS = ("attempts", "input", "output", "error")
MANY = 2000  # rows that are drawn at once; beyond, windows
WINDOW = 200
MAX_OPENED = 40
PAGE = 200


@dataclass(frozen=True, slots=True)
class Opened:
    """The opened step: its row, what is stored of it, and the tab that is shown."""

    run: Run
    step: Step
    payloads: Payloads
    path: str
    tab: str
    body: Body | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that one page needs of the database, read at once; the connection is closed before anything is drawn."""

    engine: str
    run: Run
    steps: tuple[Step, ...]
    as_of: datetime
    stale: bool
    branches: dict[int, Branch]
    opened: Opened | None = None
    events: Page[Event] | None = None
    logs: Page[LogLine] | None = None
    relatives: Relatives | None = None
    extras: tuple[Section, ...] = ()
    bodies: tuple[Body, ...] = ()


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
    database = served().database(slug)
    tag = tag_of([database])
    if answer := unchanged(request, tag):
        return answer
    newest = last_event_at(database)
    seen = database.read(lambda engine: _read(engine, request, segment, tab, newest))
    context = {
        "here": "run",
        "slug": slug,
        "tab": tab,
        "live_tag": "" if seen.run.status.finished else tag,
        "seen": seen,
        "run": seen.run,
        "diagnosis": diagnose(seen.run, seen.steps, seen.as_of),
        "ledger": keep_ledger(seen.run, seen.steps, seen.as_of),
        "failing": failing_step(seen.run, seen.steps),
        "bodies": [show(body) for body in seen.bodies],
        "step_body": show(seen.opened.body) if seen.opened and seen.opened.body else None,
        "step_tabs": _step_tabs(seen.opened) if seen.opened else (),
        "tabs": _tabs(seen),
    }
    if tab == "timeline":
        context["drawn"] = drawn = _draw(request, seen)
        focus = seen.opened.step.started_at if seen.opened else None
        context["zoom"] = zoom(drawn.timeline, focus)
        context["gaps"] = request.GET.get("gaps") == "show"
        context["opens"] = _paths(request)
    response = render(request, "runs/run.html", context)
    remember(request, response)
    return response


def _read(engine: Engine, request: HttpRequest, segment: str, tab: str, newest: datetime | None) -> Snapshot:
    run = engine.run(lookup.run_id(engine, segment))
    steps = engine.steps(run.id)
    as_of, stale = known_until(run, newest)
    seen = Snapshot(engine.slug, run, steps, as_of, stale, _branches(engine, steps, _paths(request)))
    after = lookup.read_position(request.GET.get("after"))
    match tab:
        case "history":
            return replace(seen, events=engine.events(run.id, after, PAGE))
        case "logs":
            return replace(seen, logs=engine.logs(run.id, after, PAGE))
        case "family":
            return replace(seen, relatives=engine.relatives(run.id))
        case "details":
            return replace(seen, extras=engine.extras(run.id))
        case "payloads":
            return replace(seen, bodies=tuple(_body(engine, payload) for payload in _of_run(run)))
    return replace(seen, opened=_opened(engine, request, seen))


def _of_run(run: Run) -> list[Payload]:
    slots = (run.payloads.input, run.payloads.output, run.payloads.error)
    return [payload for payload in slots if payload is not None]


def _body(engine: Engine, payload: Payload) -> Body:
    return engine.payload(payload.run_id, payload.name)


def _paths(request: HttpRequest) -> list[str]:
    return [path for path in request.GET.getlist("open")[:MAX_OPENED] if path.replace(".", "").isdigit()]


def _branches(engine: Engine, steps: Sequence[Step], paths: Sequence[str]) -> dict[int, Branch]:
    wanted: dict[int, list[str]] = {}
    for path in paths:
        first, _, rest = path.partition(".")
        if first.isascii() and first.isdigit() and len(first) < 19:
            wanted.setdefault(int(first), []).extend([rest] if rest else [])
    branches: dict[int, Branch] = {}
    for step in steps:
        if step.ordinal in wanted and (child := _child(engine, step)) is not None:
            inner = engine.steps(child.id)
            branches[step.ordinal] = Branch(child, inner, _branches(engine, inner, wanted[step.ordinal]))
    return branches


def _child(engine: Engine, step: Step) -> Run | None:
    """The run that a step started; None where it started none, or the database no longer holds it."""
    try:
        return engine.run(step.child) if step.child is not None else None
    except RunNotFound:
        return None


def _opened(engine: Engine, request: HttpRequest, seen: Snapshot) -> Opened | None:
    path = request.GET.get("step", "")
    if not path:
        return None
    run, steps, branches = seen.run, seen.steps, seen.branches
    *above, last = path.split(".")
    for part in above:
        if not part.isdigit() or int(part) not in branches:
            raise StepNotFound(f"Step {path[:80]!r} lies in a child that is not opened.")
        branch = branches[int(part)]
        run, steps, branches = branch.run, branch.steps, dict(branch.opened)
    step = next((step for step in steps if str(step.ordinal) == last), None)
    if step is None:
        raise StepNotFound(f"It has no step {path[:80]!r}.")
    payloads = _stored_of(engine, step, steps)
    tab = request.GET.get("tab") or _first_tab(step, payloads)
    if tab not in STEP_TABS:
        raise BadFilter(f"tab={tab[:20]!r} is not one of {', '.join(STEP_TABS)}.")
    payload = {"input": payloads.input, "output": payloads.output, "error": payloads.error}.get(tab)
    return Opened(run, step, payloads, path, tab, _body(engine, payload) if payload else None)


def _stored_of(engine: Engine, step: Step, steps: Sequence[Step]) -> Payloads:
    """What is stored of a step: its own, else that of the steps folded into it, else of the child that it started."""
    kept = [step.payloads, *(other.payloads for other in steps if other.folded_into == step.ordinal)]
    if step.kind is StepKind.CHILD_RUN and (child := _child(engine, step)) is not None:
        kept.append(child.payloads)
    return Payloads(
        input=next((found.input for found in kept if found.input), None),
        output=next((found.output for found in kept if found.output), None),
        error=next((found.error for found in kept if found.error), None),
    )


def _step_tabs(opened: Opened) -> tuple[tuple[str, Payload | None], ...]:
    stored = opened.payloads
    slots = (("input", stored.input), ("output", stored.output), ("error", stored.error))
    filled = tuple((name, payload) for name, payload in slots if payload is not None)
    return ((("attempts", None),) if opened.step.attempts else ()) + filled


def _first_tab(step: Step, stored: Payloads) -> str:
    if step.attempts and (len(step.attempts) > 1 or (stored.error is None and stored.output is None)):
        return "attempts"
    slots = (("error", stored.error), ("output", stored.output), ("input", stored.input))
    return next((name for name, payload in slots if payload is not None), "attempts")


def _draw(request: HttpRequest, seen: Snapshot) -> Drawn:
    timeline = lay_out(
        seen.run,
        seen.steps,
        as_of=seen.as_of,
        opened=seen.branches,
        window=(_moment(request, "from"), _moment(request, "to")),
        fold=request.GET.get("gaps") != "show",
    )
    rows = timeline.rows
    first, last = 0, len(rows)
    if len(rows) > MANY and request.GET.get("rows") != "all":
        first = _window_start(request, rows, seen)
        last = min(first + WINDOW, len(rows))
    return Drawn(timeline, tuple(_blocks(rows[first:last], seen.opened)), len(rows), first, last)


def _window_start(request: HttpRequest, rows: Sequence[Row], seen: Snapshot) -> int:
    asked = request.GET.get("rows", "")
    if asked.isdigit() and len(asked) < 10:
        return min(int(asked), max(len(rows) - WINDOW, 0))
    failing = failing_step(seen.run, seen.steps)
    anchor = seen.opened.path if seen.opened else str(failing.ordinal) if failing else None
    position = next((i for i, row in enumerate(rows) if row.path == anchor), 0)
    return max(0, min(position - WINDOW // 2, len(rows) - WINDOW))


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
    sizes = sum(payload.size_bytes for payload in _of_run(seen.run))
    tabs = [
        ("timeline", "Timeline", ""),
        ("table", "Table", str(steps)),
        ("history", "History", ""),
        ("payloads", "Payloads", size(sizes) if sizes else ""),
        ("family", "Family", ""),
    ]
    if seen.engine == "obelisk":
        tabs.append(("logs", "Logs", ""))
    return [*tabs, ("details", "Details", "")]
