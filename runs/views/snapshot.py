"""What one page of a run needs of its database, read at once: the connection is closed before anything is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.http import HttpRequest

from runs import long_runs, lookup
from runs.catalogue import Database
from runs.counting import counted
from runs.diagnosis import known_until
from runs.engines.base import Engine
from runs.errors import BadFilter, DurascopeError, RunNotFound, StepNotFound
from runs.fleet import last_event_at
from runs.records import (
    Body,
    Event,
    LogLine,
    Neighbours,
    Page,
    Payload,
    Payloads,
    Relatives,
    Run,
    Section,
    Step,
    StepKind,
    Usual,
)
from runs.timeline import Branch

STEP_TABS = ("attempts", "input", "output", "error", "raw")
MAX_OPENED = 40
MAX_USUAL = 40  # names of steps whose usual times are looked up
PAGE = 200


@dataclass(frozen=True, slots=True)
class Opened:
    """The opened step: its row, what is stored of it, and the tab that is shown."""

    run: Run
    step: Step
    payloads: Payloads
    path: str
    tab: str
    body: Body | None = None
    raw: tuple[Section, ...] = ()

    @property
    def tabs(self) -> tuple[tuple[str, Payload | None], ...]:
        """What there is to show of the step."""
        slots = (("input", self.payloads.input), ("output", self.payloads.output), ("error", self.payloads.error))
        filled = tuple((name, payload) for name, payload in slots if payload is not None)
        return ((("attempts", None),) if self.step.attempts else ()) + filled + (("raw", None),)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run and its steps, and what the chosen tab shows besides."""

    engine: str
    run: Run
    steps: tuple[Step, ...]
    as_of: datetime
    stale: bool
    neighbours: Neighbours
    branches: dict[int, Branch]
    opened: Opened | None = None
    events: Page[Event] | None = None
    types: tuple[tuple[str, int], ...] = ()
    logs: Page[LogLine] | None = None
    relatives: Relatives | None = None
    sections: tuple[Section, ...] = ()
    bodies: tuple[Body, ...] = ()


def read(database: Database, engine: Engine, request: HttpRequest, segment: str, tab: str) -> Snapshot:
    """The run that an address's segment names, as of its own last instant where it isn't finished (known_as_of)."""
    run = engine.run(lookup.run_id(engine, segment))
    steps = long_runs.steps(database, engine, run)
    as_of, stale = known_until(run, None)
    branches = _branches(engine, steps, paths(request)) if tab == "timeline" else {}
    seen = Snapshot(engine.slug, run, steps, as_of, stale, engine.neighbours(run.id), branches)
    after = lookup.read_position(request.GET.get("after"))
    match tab:
        case "timeline":
            return replace(seen, opened=_opened(engine, request, seen))
        case "history":
            chosen = frozenset(request.GET.getlist("type"))
            return replace(seen, events=engine.events(run.id, after, PAGE, chosen), types=engine.event_types(run.id))
        case "logs":
            levels, attempt = frozenset(request.GET.getlist("level")), request.GET.get("attempt", "")
            return replace(seen, logs=engine.logs(run.id, after, PAGE, levels, attempt))
        case "family":
            return replace(seen, relatives=engine.relatives(run.id))
        case "details":
            return replace(seen, sections=engine.extras(run.id))
        case "raw":
            return replace(seen, sections=engine.raw(run.id, None))
        case "payloads":
            return replace(seen, bodies=tuple(_body(engine, payload) for payload in stored_of(run)))
    return seen


def known_as_of(database: Database, seen: Snapshot) -> Snapshot:
    """The same, with what only the last event of its whole database tells of a run that isn't finished."""
    if seen.run.status.finished:
        return seen
    as_of, stale = known_until(seen.run, last_event_at(database))
    return replace(seen, as_of=as_of, stale=stale)


def usual_of(database: Database, seen: Snapshot) -> Mapping[str, Usual]:
    """How long steps of those names usually take, as far as that was counted (runs.counting)."""
    names = tuple(sorted({step.name for step in seen.steps if not step.inherited})[:MAX_USUAL])
    (found,) = counted([database], ("usual", names), lambda _slug, engine: engine.usual(names))
    return {} if found is None or isinstance(found.answer, DurascopeError) else found.answer


def stored_of(run: Run) -> list[Payload]:
    """The payloads of the run itself."""
    slots = (run.payloads.input, run.payloads.output, run.payloads.error)
    return [payload for payload in slots if payload is not None]


def paths(request: HttpRequest) -> list[str]:
    """The children that the address opens."""
    return [path for path in request.GET.getlist("open")[:MAX_OPENED] if path.replace(".", "").isdigit()]


def _body(engine: Engine, payload: Payload) -> Body:
    return engine.payload(payload.run_id, payload.name)


def _branches(engine: Engine, steps: Sequence[Step], opened: Sequence[str]) -> dict[int, Branch]:
    wanted: dict[int, list[str]] = {}
    for path in opened:
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
    payloads = _stored_with(engine, step, steps)
    tab = request.GET.get("tab") or _first_tab(step, payloads)
    if tab not in STEP_TABS:
        raise BadFilter(f"tab={tab[:20]!r} is not one of {', '.join(STEP_TABS)}.")
    payload = {"input": payloads.input, "output": payloads.output, "error": payloads.error}.get(tab)
    return Opened(
        run,
        step,
        payloads,
        path,
        tab,
        body=_body(engine, payload) if payload else None,
        raw=engine.raw(run.id, step.ordinal) if tab == "raw" else (),
    )


def _stored_with(engine: Engine, step: Step, steps: Sequence[Step]) -> Payloads:
    """What is stored of a step: its own, else that of the steps folded into it, else of the child that it started."""
    kept = [step.payloads, *(other.payloads for other in steps if other.folded_into == step.ordinal)]
    if step.kind is StepKind.CHILD_RUN and (child := _child(engine, step)) is not None:
        kept.append(child.payloads)
    return Payloads(
        input=next((found.input for found in kept if found.input), None),
        output=next((found.output for found in kept if found.output), None),
        error=next((found.error for found in kept if found.error), None),
    )


def _first_tab(step: Step, stored: Payloads) -> str:
    if step.attempts and (len(step.attempts) > 1 or (stored.error is None and stored.output is None)):
        return "attempts"
    slots = (("error", stored.error), ("output", stored.output), ("input", stored.input))
    return next((name for name, payload in slots if payload is not None), "attempts" if step.attempts else "raw")
