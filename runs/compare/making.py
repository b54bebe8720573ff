"""Making a comparison from two databases: read both, relate, match, count, and keep what was found."""

import hashlib
import json
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock

import runs
from runs.catalogue import Database
from runs.clock import from_epoch_us
from runs.compare import reading, store
from runs.compare.causes import Bounds, Found, looked_into
from runs.compare.configuration import Described, settings
from runs.compare.encoding import encode
from runs.compare.errors import errors
from runs.compare.matching import Match, alone, match, verdict
from runs.compare.reading import Progress, Reading
from runs.compare.records import Cause, Comparison, Counts, Lone, Options, Pair, Presence, Rung, Side, Verdict
from runs.compare.relation import Related, relate, unrelated
from runs.compare.store import Kept
from runs.compare.tables import steps, workflows
from runs.wording import plural

SMALL = 20_000_000  # bytes of both files together that are compared here and now
# Pairs that differ whose first difference is looked for; that of the others is found when their page is opened.
AT_ONCE, IN_THE_BACKGROUND, AT_A_GLANCE = Bounds(500, 1), Bounds(2000, 60), Bounds(0, 0)
REMEMBERED = 6  # readings of small files that a process remembers

_remembered: "OrderedDict[tuple[str, str], Reading]" = OrderedDict()
_lock = Lock()


@dataclass(frozen=True, slots=True)
class _Whole:
    """One side: the database, what it says of itself, what was read of it."""

    database: Database
    engine: str
    label: str
    described: Described
    reading: Reading


def key(a: Database, b: Database, options: Options) -> str:
    """What two databases are compared by, whatever is in them now."""
    places = [text for database in (a, b) for text in (database.source.place, database.slug)]
    parts = [runs.__version__, store.FORMAT, *places, encode(options)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def kept_at(folder: Path, a: Database, b: Database, options: Options) -> Path:
    """Where the comparison of two databases as they are now lies, or would lie."""
    text = "\n".join(database.source.fingerprint() for database in (a, b))
    return folder / f"{key(a, b, options)}-{hashlib.sha256(text.encode()).hexdigest()[:32]}{store.SUFFIX}"


def small(a: Database, b: Database) -> bool:
    """Whether both together are read within a moment."""
    facts = [database.source.facts() for database in (a, b)]
    return sum(each.size_bytes for each in facts if each) < SMALL


def compare(a: Database, b: Database, options: Options, folder: Path, progress: Progress) -> Kept:
    """Compares two databases and keeps what was found. Raises Unreadable, UnknownSchema among it, where one can't be read,
    BadFilter for a path that is none, and whatever ``progress`` raises to stop it."""
    at_once = small(a, b)
    with nullcontext() if at_once else reading.uncollected():
        return _compared(a, b, options, folder, progress, at_once=at_once)


def _compared(a: Database, b: Database, options: Options, folder: Path, progress: Progress, *, at_once: bool) -> Kept:
    path = kept_at(folder, a, b, options)
    told = reading.describe(a), reading.describe(b)
    read = (_read_here if at_once else partial(reading.read_both, folder=folder))(a, b, progress=progress)
    one, other = (_Whole(database, *said, found) for database, said, found in zip((a, b), told, read, strict=True))
    made = _Made(one, other, options, AT_ONCE if at_once else IN_THE_BACKGROUND, progress)
    progress("writing", 0, 0)
    kept = store.keep(path, made.comparison(), made.pairs(), made.lone())
    store.prune(folder)
    return kept


def glance(a: Database, b: Database, options: Options) -> Comparison:
    """The comparison of two small databases alone, of which nothing is kept: no first differences are looked for, no configuration
    is compared. Raises as ``compare``."""

    def side(database: Database) -> _Whole:
        told = reading.describe(database, configuration=False)
        with reading.naming(database):
            return _Whole(database, *told, reading.read(database, _quietly))

    one = side(a)
    other = replace(one, database=b) if a.source.place == b.source.place else side(b)
    return _Made(one, other, options, AT_A_GLANCE, _quietly).comparison()


def _quietly(_stage: str, _done: int, _total: int) -> None:
    """Nobody looks."""


def _read_here(a: Database, b: Database, *, progress: Progress) -> tuple[Reading, Reading]:
    first = _remember(a, progress)
    return first, first if a.source.place == b.source.place else _remember(b, progress)


def _remember(database: Database, progress: Progress) -> Reading:
    known = database.source.place, database.source.fingerprint()
    with _lock:
        if known in _remembered:
            _remembered.move_to_end(known)
            return _remembered[known]
    with reading.naming(database):
        found = reading.read(database, progress)
    with _lock:
        _remembered[known] = found
        while len(_remembered) > REMEMBERED:
            _remembered.popitem(last=False)
    return found


class _Made:
    """A comparison while it is made."""

    def __init__(self, a: _Whole, b: _Whole, options: Options, bounds: Bounds, progress: Progress) -> None:
        self.a, self.b, self.options = a, b, options
        self.incomparable = _incomparable(a, b)
        if self.incomparable:
            self.related = unrelated(self.incomparable)
            self.matched = alone(a.reading, b.reading)
        else:
            self.related = _related(a, b, progress)
            progress("matching", 0, 0)
            of_a, of_b = (partial(reading.inputs, side.database) for side in (a, b))
            self.matched = match(a.reading, b.reading, options, of_a, of_b, progress)
        self._verdicts = [self._verdict(pair) for pair in self.matched.pairs]
        differing = [
            pair
            for pair, found in zip(self.matched.pairs, self._verdicts, strict=True)
            if found in (Verdict.DIVERGED, Verdict.DIFFERS)
        ]
        self._differing = len(differing)
        self._found = looked_into(a.database, b.database, differing, options, bounds, progress)

    def comparison(self) -> Comparison:
        a, b = self.a.reading, self.b.reading
        matched = Counter(pair.a.workflow for pair in self.matched.pairs)
        whole, by_workflow = workflows(a.runs.values(), b.runs.values(), matched, self.options.tolerance)
        related = self.related
        return Comparison(
            a=_side(self.a),
            b=_side(self.b),
            options=self.options,
            relation=related.relation,
            evidence=related.evidence,
            alike_until=None if related.alike_until is None else from_epoch_us(related.alike_until),
            a_lead=related.a_lead,
            b_lead=related.b_lead,
            counts=self._counts(),
            rewritten=related.rewritten,
            all_runs=whole,
            workflows=by_workflow,
            steps=steps(a.steps, b.steps, self.options.tolerance),
            errors=errors(a.runs.values(), b.runs.values()),
            settings=settings(self.a.described, self.b.described),
            notes=(*related.notes, *self.matched.notes, *self._notes()),
            incomparable=self.incomparable,
        )

    def pairs(self) -> Iterator[Pair]:
        for number, (pair, found) in enumerate(zip(self.matched.pairs, self._verdicts, strict=True), 1):
            yield self._pair(number, pair, found)

    def lone(self) -> Iterator[Lone]:
        for number, (side, presence, run) in enumerate(self.matched.lone, 1):
            created_at = from_epoch_us(run.created_at)
            yield Lone(number, side, presence, run.id, run.workflow, run.status, created_at, run.duration)

    def _verdict(self, pair: Match) -> Verdict:
        if pair.a.id == pair.b.id and not self.related.apart:
            found = self.related.partings.get(pair.a.id)
            return found.verdict if found else Verdict.SAME
        return verdict(pair.a, pair.b, self.options.tolerance)

    def _pair(self, number: int, pair: Match, became: Verdict) -> Pair:
        a, b = pair.a, pair.b
        position, cause = self._first(pair, became)
        return Pair(
            number=number,
            rung=pair.rung,
            key=pair.key,
            workflow=a.workflow,
            a_run=a.id,
            b_run=b.id,
            a_status=a.status,
            b_status=b.status,
            a_took=a.duration,
            b_took=b.duration,
            a_events=a.events,
            b_events=b.events,
            created_at=from_epoch_us(max(a.created_at, b.created_at)),
            verdict=became,
            position=position,
            cause=cause,
            nth=pair.nth,
            alike=pair.alike,
        )

    def _first(self, pair: Match, became: Verdict) -> Found:
        """Where two runs first differ, and why."""
        if became is Verdict.SAME:
            return "", None
        parting = self.related.partings.get(pair.a.id) if pair.a.id == pair.b.id else None
        position = parting.position if parting and not self.related.apart else ""
        if became is Verdict.REWRITTEN:
            return position, Cause.REWRITTEN
        if became in (Verdict.A_AHEAD, Verdict.B_AHEAD):
            return position, Cause.PROGRESS
        if became is Verdict.TIMING:
            return "", Cause.TIMING
        found = self._found.get((pair.a.id, pair.b.id), ("", None))
        return found[0] or position, found[1]

    def _counts(self) -> Counts:
        by = Counter(pair.rung for pair in self.matched.pairs)
        verdicts = Counter(self._verdicts)
        lone = Counter((side, presence) for side, presence, _ in self.matched.lone)
        return Counts(
            matched=len(self.matched.pairs),
            by={rung: by[rung] for rung in Rung},
            verdicts={each: verdicts[each] for each in Verdict},
            only_a=lone["a", Presence.ONLY],
            only_b=lone["b", Presence.ONLY],
            outside_a=lone["a", Presence.OUTSIDE],
            outside_b=lone["b", Presence.OUTSIDE],
            ambiguous=lone["a", Presence.AMBIGUOUS] + lone["b", Presence.AMBIGUOUS],
            scheduled=lone["a", Presence.SCHEDULED] + lone["b", Presence.SCHEDULED],
            pasts=self._pasts(),
        )

    def _pasts(self) -> dict[Verdict, int]:
        related = self.related
        if not related.shared:
            return {}
        found = Counter(parting.verdict for parting in related.partings.values())
        return {Verdict.SAME: related.shared - found.total(), **found}

    def _notes(self) -> Iterator[str]:
        a, b = self.a, self.b
        if a.engine == b.engine and a.described.revision.text != b.described.revision.text:
            tables, others = a.described.tables, b.described.tables
            only = [
                f"{name} only has {', '.join(sorted(mine.keys() - other.keys()))}"
                for name, mine, other in (("A", tables, others), ("B", others, tables))
                if mine.keys() - other.keys()
            ]
            yield (
                f"A is of schema {a.described.revision.text}, B of {b.described.revision.text}: compared is what both record"
                f"{'; ' if only else ''}{'; '.join(only)}."
            )
        for name, side in (("A", a), ("B", b)):
            if side.reading.changed:
                yield f"{name} was written while it was read, in parts: runs created since reading began are left out."
        scheduled = sum(presence is Presence.SCHEDULED for _, presence, _ in self.matched.lone)
        if scheduled:
            yield f"{plural(scheduled, 'run')} without a counterpart, which the clock started, not counted as missing."
        if self._differing > len(self._found):
            yield (
                f"Of {self._differing:,} pairs that differ, the first difference was looked for in the newest"
                f" {len(self._found):,}; it is in the others when their page is opened."
            )


def _related(a: _Whole, b: _Whole, progress: Progress) -> Related:
    related = relate(
        a.reading,
        b.reading,
        partial(reading.marks, a.database),
        partial(reading.marks, b.database),
        progress,
    )
    if a.database.source.place != b.database.source.place:
        return related
    return replace(related, evidence=("Both are one and the same file.", *related.evidence))


def _incomparable(a: _Whole, b: _Whole) -> str:
    """Why only distributions can be compared; empty where more can."""
    if a.engine != b.engine:
        return f"A is a database of {a.label}, B of {b.label}."
    for name, side in (("A", a), ("B", b)):
        if problem := side.described.revision.problem:
            return f"The schema of {name} is not known: {problem}"
    return ""


def _side(side: _Whole) -> Side:
    found = side.reading
    first_at, last_at = found.first_at, found.last_at
    return Side(
        slug=side.database.slug,
        engine=side.engine,
        label=side.label,
        revision=side.described.revision.text,
        fingerprint=found.fingerprint,
        runs=len(found.runs),
        events=sum(run.events for run in found.runs.values()),
        first_at=None if first_at is None else from_epoch_us(first_at),
        last_at=None if last_at is None else from_epoch_us(last_at),
    )
