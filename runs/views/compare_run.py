"""Two runs step by step: where they first part and why, both on one scale, every step of both, and what a payload differs in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from runs import links, lookup
from runs.catalogue import Database, served
from runs.compare import asking
from runs.compare.cause import blast_words
from runs.compare.difference import Difference, alone, differ
from runs.compare.pair import RunComparison, Taken, bodies, compare_runs
from runs.compare.records import Options
from runs.compare.values import parse_paths, read_value
from runs.compare.verdicts import Slot, StepRow
from runs.diagnosis import known_until
from runs.errors import BadFilter, RunNotFound, StepNotFound
from runs.fleet import last_event_at
from runs.records import Body, Payload, Status, StepKind
from runs.timeline import Lane, Lanes, two_lanes
from runs.views import compare_with
from runs.views.aligned import item_of, lines_of, listed, window_start
from runs.views.answers import page
from runs.views.lanes import offset_words
from runs.views.preferences import preferences
from runs.wording import plural

MOST_OPENED = 20
LARGEST_DRAWN = 4 * 1024 * 1024  # bytes of a payload whose difference is drawn
CHILD_ROWS = 30  # of a child that is compared in place
ENDS = {"input": -1, "end": -2}  # what is opened of the runs themselves, as numbers of rows


@dataclass(frozen=True, slots=True)
class Asked:
    """Which two runs, and how."""

    a: Database
    a_run: str
    b: Database
    b_run: str
    options: Options

    @property
    def swapped(self) -> str:
        """The page of the same two with A and B in each other's place."""
        return links.pair_page(self.b.slug, self.b_run, self.a.slug, self.a_run, self.more)

    def of(self, a_run: str, b_run: str) -> str:
        """The page of two other runs of the same databases, compared in the same way."""
        return links.pair_page(self.a.slug, a_run, self.b.slug, b_run, self.more)

    @property
    def more(self) -> tuple[tuple[str, str], ...]:
        """What the address says beside the runs."""
        told = [("ignore", path) for path in self.options.ignore]
        if self.options.tolerance != Options().tolerance:
            told.append(("tolerance", asking.tolerance_text(self.options.tolerance)))
        return tuple(told)

    @property
    def databases(self) -> str:
        """The page that compares the two databases."""
        return f"{links.COMPARE}?{urlencode([('a', self.a.slug), ('b', self.b.slug), *self.more])}"


@dataclass(frozen=True, slots=True)
class SlotShown:
    """One payload of both sides, opened. ``difference`` is None where it is drawn as nothing but words: ``problem``."""

    slot: Slot
    difference: Difference | None
    problem: str


@dataclass(frozen=True, slots=True)
class Child:
    """The runs that a step started on both sides, compared in place: the rows that differ, and the page of the two."""

    found: RunComparison
    rows: tuple[StepRow, ...]
    page: str

    @property
    def more(self) -> int:
        """Differing rows that are not listed here."""
        return self.found.differing - len(self.rows)


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opened row shows."""

    slots: tuple[SlotShown, ...]
    child: Child | None = None
    child_problem: str = ""


def run(request: HttpRequest) -> HttpResponse:
    """``GET /compare/run/``: two runs; with only one of them, what it can be compared with. ``row`` asks for one row alone."""
    query = dict(request.GET.lists())
    if not (lookup.last(query, "b") and lookup.last(query, "b_run")):
        return compare_with.choose(request, query)
    asked = asked_of(query)
    found = compare_runs(asked.a, asked.a_run, asked.b, asked.b_run, asked.options)
    opened, lanes = _numbers(query, "open"), _lanes(asked, found)
    first = found.first.row if found.first else None
    alone = _numbers(query, "row")
    if alone:
        return _row(request, asked, found, lanes, alone[0], opened)
    only_differing = lookup.last(query, "only") == "diff"
    lines = lines_of(found.rows, only_differing=only_differing, opened=opened, unfolded=_numbers(query, "unfold"))
    wanted = [number for number in opened if number >= 0]
    start = lookup.whole_number(
        query, "from", default=window_start(lines, wanted[-1]) if wanted else 0, least=0, most=10**9
    )
    context = {
        "here": "compare",
        "asked": asked,
        "it": found,
        "lanes": lanes,
        "details": _details(request, asked, found, opened),
        "shown": listed(lines, lanes, start, first, opened),
        "opened": opened,
        "blast": blast_words(found.after),
        "first": found.rows[first] if first is not None else None,
        "first_from": window_start(lines, first) if first is not None else 0,
        "only_differing": only_differing,
        "tolerance": asking.tolerance_text(asked.options.tolerance),
        "ignored": " ".join(asked.options.ignore),
        "marks": _marks(found, lanes),
        "failed": [
            (name, taken) for name, taken in (("A", found.a), ("B", found.b)) if taken.run.status is Status.FAILED
        ],
    }
    return page(request, "runs/compare_run.html", context)


def asked_of(query: lookup.Query) -> Asked:
    """The two runs and the options of an address. Raises BadFilter, DatabaseNotFound."""
    sides = [lookup.last(query, name) for name in ("a", "a_run", "b", "b_run")]
    if not all(sides):
        raise BadFilter("Two runs are needed: a, a_run, b and b_run.", remedy="Choose them on the page of a run.")
    a, a_run, b, b_run = (side or "" for side in sides)
    options = asking.options(ignore=query.get("ignore", ()), tolerance=lookup.last(query, "tolerance") or "")
    return Asked(served().database(a), a_run, served().database(b), b_run, options)


def _row(
    request: HttpRequest, asked: Asked, found: RunComparison, lanes: Lanes, number: int, opened: Sequence[int]
) -> HttpResponse:
    """One row alone, opened or not, for htmx to put in its place."""
    opened = [number] if number in opened else []
    context = {"it": found, "details": _details(request, asked, found, opened), "opened": opened, "alone": True}
    if number < 0:
        end = "input" if number == ENDS["input"] else "end"
        return render(request, "runs/_compare_end.html", {**context, "end": end})
    if number >= len(found.rows):
        raise StepNotFound(f"The two have {plural(len(found.rows), 'row')}.")
    first = found.first.row if found.first else None
    item = item_of((found.rows[number],), lanes, first, opened)
    return render(request, "runs/_compare_row.html", {**context, "item": item})


def _details(
    request: HttpRequest, asked: Asked, found: RunComparison, opened: Sequence[int]
) -> Mapping[int, Opened | None]:
    """What the opened rows show. Nothing is even decoded while payloads are hidden."""
    if preferences(request).hide:
        return {}
    return {number: _open(asked, found, number) for number in opened[-MOST_OPENED:]}


def _numbers(query: lookup.Query, name: str) -> list[int]:
    """The rows that a parameter names: numbers, or the runs' own ``input`` and ``end``."""
    found = []
    for text in query.get(name, ())[:MOST_OPENED]:
        if text in ENDS:
            found.append(ENDS[text])
        elif text.isascii() and text.isdigit() and len(text) < 10:
            found.append(int(text))
    return found


def _lanes(asked: Asked, found: RunComparison) -> Lanes:
    return two_lanes(
        Lane(found.a.run, found.a.steps, _as_of(asked.a, found.a)),
        Lane(found.b.run, found.b.steps, _as_of(asked.b, found.b)),
    )


def _as_of(database: Database, taken: Taken) -> datetime:
    newest = None if taken.run.status.finished else last_event_at(database)
    return known_until(taken.run, newest)[0]


@dataclass(frozen=True, slots=True)
class Marks:
    """Where the two part, in per cent of the scale and as offsets in time."""

    a: float | None
    b: float | None
    a_offset: object
    b_offset: object

    @property
    def first(self) -> float | None:
        known = [x for x in (self.a, self.b) if x is not None]
        return min(known) if known else None


def _marks(found: RunComparison, lanes: Lanes) -> Marks:
    row = found.rows[found.first.row] if found.first and found.first.row is not None else None
    a = lanes.a.segments(row.a.ordinal) if row and row.a else ()
    b = lanes.b.segments(row.b.ordinal) if row and row.b else ()
    return Marks(a[0].x if a else None, b[0].x if b else None, offset_words(lanes, a), offset_words(lanes, b))


def _open(asked: Asked, found: RunComparison, number: int) -> Opened | None:
    """What a row shows once it is opened."""
    if number < 0:
        names = ("input",) if number == ENDS["input"] else ("result", "error")
        return Opened(_slots(asked, [slot for slot in found.ends.slots if slot.name in names]))
    if number >= len(found.rows):
        return None
    row = found.rows[number]
    child, problem = _child(asked, row)
    return Opened(_slots(asked, row.slots), child, problem)


def _slots(asked: Asked, slots: Sequence[Slot]) -> tuple[SlotShown, ...]:
    here = _read(asked.a, [slot.a for slot in slots])
    there = _read(asked.b, [slot.b for slot in slots])
    ignore = parse_paths(asked.options.ignore)
    shown = []
    for slot in slots:
        one = here.get(slot.a.name) if slot.a else None
        two = there.get(slot.b.name) if slot.b else None
        if one is None or two is None:
            shown.append(_one_sided(slot, one or two))
            continue
        values = [read_value(body.payload.encoding, body.data, truncated=body.truncated) for body in (one, two)]
        if values[0].tree is None or values[1].tree is None:
            why = "; ".join(dict.fromkeys(value.problem for value in values if value.problem))
            shown.append(SlotShown(slot, None, f"Compared by its bytes: {why}."))
            continue
        encodings = one.payload.encoding, two.payload.encoding
        shown.append(SlotShown(slot, differ(values[0].tree, values[1].tree, encodings, ignore), ""))
    return tuple(shown)


def _one_sided(slot: Slot, body: Body | None) -> SlotShown:
    """A payload that only one side has, or that can't be read."""
    if slot.a is not None and slot.b is not None:
        return SlotShown(
            slot, None, "" if max(slot.a.size_bytes, slot.b.size_bytes) > LARGEST_DRAWN else "It has gone."
        )
    value = read_value(body.payload.encoding, body.data, truncated=body.truncated) if body else None
    if value is None or value.tree is None:
        return SlotShown(slot, None, f"{value.problem}." if value else "")
    return SlotShown(slot, alone(value.tree, "a" if slot.a else "b"), "")


def _read(database: Database, payloads: Sequence[Payload | None]) -> Mapping[str, Body]:
    wanted = [payload for payload in payloads if payload is not None and payload.size_bytes <= LARGEST_DRAWN]
    return database.read(lambda engine: bodies(engine, wanted)) if wanted else {}


def _child(asked: Asked, row: StepRow) -> tuple[Child | None, str]:
    """The runs that both sides of a row started, compared."""
    a, b = row.a, row.b
    if a is None or b is None or a.child is None or b.child is None or a.kind is StepKind.MESSAGE:
        return None, ""
    try:
        found = compare_runs(asked.a, a.child, asked.b, b.child, asked.options)
    except RunNotFound:
        return None, "The run that it started is no longer in both databases."
    rows = tuple(row for row in found.rows if row.differs)[:CHILD_ROWS]
    return Child(found, rows, asked.of(a.child, b.child)), ""
