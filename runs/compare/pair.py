"""Two runs, step by step: read, aligned, judged, and told where and why they part.

Payloads are compared by the digests of their bytes first; only those that differ are read, decoded and compared by value, a
bounded number of them: what is left is compared by its bytes alone, and says so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runs.catalogue import Database
from runs.compare.align import Alignment, Unit, align
from runs.compare.cause import Divergence, Ends, Rewriting, blast, find_cause
from runs.compare.difference import Edit, first_edit
from runs.compare.records import Options, Verdict
from runs.compare.relation import Parting, parting
from runs.compare.values import Value, canonical_tree, parse_paths, read_value
from runs.compare.verdicts import (
    RowVerdict,
    Slot,
    StepRow,
    changed_ends,
    judge,
    pairs_of,
    shown,
    slots_of,
    stored,
)
from runs.digests import Mark
from runs.engines.base import Engine
from runs.errors import NotFound
from runs.records import NO_PAYLOADS, Body, Payload, Payloads, Run, Step
from runs.wording import plural, size, visible

MOST_VALUES: Final = 300  # pairs of payloads that are compared by value
LARGEST: Final = 256 * 1024  # bytes of one of them
MOST_BYTES: Final = 1024 * 1024  # of all of one side together
BY_BYTES: Final = "compared by its bytes"

Wanted = tuple[Payload, Payload]
Read = Callable[[Sequence[Payload]], Mapping[str, Body]]


@dataclass(frozen=True, slots=True)
class Taken:
    """One run as it is compared: read at once, without bodies. ``contents`` are digests by a payload's name; ``marks`` only where
    they are compared."""

    slug: str
    engine: str
    run: Run
    steps: tuple[Step, ...]
    contents: Mapping[str, bytes]
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Two runs, compared. ``rows`` has every step of both once; ``first`` is None where nothing differs; ``after`` counts by
    verdict the rows after it that differ. ``coarse``: they differ too much to be aligned exactly. ``notes`` say what was not
    compared as it should be, and why."""

    a: Taken
    b: Taken
    options: Options
    ends: Ends
    rows: tuple[StepRow, ...]
    coarse: bool
    first: Divergence | None
    after: Mapping[RowVerdict, int]
    notes: tuple[str, ...]

    @property
    def has_input(self) -> bool:
        """Whether an input is stored of either."""
        return any(slot.name == "input" for slot in self.ends.slots)

    @property
    def end_words(self) -> str:
        """What differs of their ends: ``error, time``; empty where nothing does."""
        return ", ".join(name for name in self.ends.changed if name != "input")

    @property
    def differing(self) -> int:
        """Rows that are not the same."""
        return sum(1 for row in self.rows if row.differs)


def compare_runs(a: Database, a_run: str, b: Database, b_run: str, options: Options) -> RunComparison:
    """Read and compare two runs of any two databases, or of one. Raises RunNotFound, and what reading raises."""
    with_marks = a_run == b_run and a.slug != b.slug
    one = a.read(lambda engine: take(engine, a.slug, a_run, with_marks=with_marks))
    two = b.read(lambda engine: take(engine, b.slug, b_run, with_marks=with_marks))
    return compare_taken(
        one,
        two,
        options,
        lambda payloads: a.read(lambda engine: bodies(engine, payloads)),
        lambda payloads: b.read(lambda engine: bodies(engine, payloads)),
    )


def take(engine: Engine, slug: str, run_id: str, *, with_marks: bool = False) -> Taken:
    """A run, read to be compared. Raises RunNotFound."""
    run = engine.run(run_id)
    marks = engine.marks([run_id]).get(run_id, ()) if with_marks else ()
    return Taken(slug, engine.slug, run, engine.steps(run_id), engine.contents(run_id), marks)


def bodies(engine: Engine, payloads: Iterable[Payload]) -> Mapping[str, Body]:
    """These payloads by name; those that have gone meanwhile are absent."""
    found: dict[str, Body] = {}
    for payload in payloads:
        try:
            found[payload.name] = engine.payload(payload.run_id, payload.name)
        except NotFound:
            continue
    return found


def compare_taken(a: Taken, b: Taken, options: Options, read_a: Read, read_b: Read) -> RunComparison:
    """Compare two runs that were read. ``read_a`` and ``read_b`` read the payloads that have to be seen."""
    one_engine = a.engine == b.engine
    here, there = shown(a.steps), shown(b.steps)
    aligned = align(_units(here), _units(there))
    kept = (stored(a.steps), stored(b.steps)) if one_engine else ({}, {})
    own = (a.run.payloads, b.run.payloads) if one_engine else (NO_PAYLOADS, NO_PAYLOADS)
    pairs = [
        (kept[0].get(here[match.a].ordinal, NO_PAYLOADS), kept[1].get(there[match.b].ordinal, NO_PAYLOADS))
        for match in aligned.matches
        if match.a is not None and match.b is not None
    ]
    values = Values(a, b, options, [own, *pairs], read_a, read_b)
    rows = _rows(here, there, aligned, kept, values, options)
    ends_slots = slots_of(*own, values.same)
    parted = parting(a.marks, b.marks) if one_engine and a.marks and b.marks else None
    ends = Ends(
        a.run,
        b.run,
        ends_slots,
        changed_ends(a.run, b.run, ends_slots, options.tolerance),
        {Verdict.A_AHEAD: "B", Verdict.B_AHEAD: "A"}.get(parted.verdict, "") if parted else "",
    )
    rewriting = _rewriting(parted) if parted else None
    first = find_cause(ends, rows, values.edit, rewriting, payloads=one_engine)
    notes = tuple(_notes(a, b, aligned, values))
    return RunComparison(a, b, options, ends, rows, aligned.coarse, first, blast(rows, first), notes)


def _units(steps: Iterable[Step]) -> list[Unit]:
    return [Unit(step.branch, step.name) for step in steps]


def _rows(
    a: Sequence[Step],
    b: Sequence[Step],
    aligned: Alignment,
    kept: tuple[Mapping[int, Payloads], Mapping[int, Payloads]],
    values: "Values",
    options: Options,
) -> tuple[StepRow, ...]:
    rows: list[StepRow] = []
    for number, match in enumerate(aligned.matches):
        one = a[match.a] if match.a is not None else None
        two = b[match.b] if match.b is not None else None
        if one is not None and two is not None:
            payloads = kept[0].get(one.ordinal, NO_PAYLOADS), kept[1].get(two.ordinal, NO_PAYLOADS)
            slots = slots_of(*payloads, values.same)
            rows.append(judge(number, one, two, slots, options.tolerance, moved=match.moved))
        else:
            step, verdict = (one, RowVerdict.ONLY_A) if one is not None else (two, RowVerdict.ONLY_B)
            payloads = (
                kept[0].get(one.ordinal, NO_PAYLOADS) if one is not None else NO_PAYLOADS,
                kept[1].get(two.ordinal, NO_PAYLOADS) if two is not None else NO_PAYLOADS,
            )
            assert step is not None  # noqa: S101 - a match is of one step at least
            slots = tuple(Slot(name, x, y, same=False) for name, x, y in pairs_of(*payloads))
            rows.append(StepRow(number, one, two, verdict, (), slots))
    return tuple(rows)


class Values:
    """The payloads of two runs, compared: by digest, then by value as far as the bounds go."""

    def __init__(
        self,
        a: Taken,
        b: Taken,
        options: Options,
        pairs: Iterable[tuple[Payloads, Payloads]],
        read_a: Read,
        read_b: Read,
    ) -> None:
        self.ignore = parse_paths(options.ignore)
        self.left_out = 0
        self._contents = a.contents, b.contents
        self._values: tuple[dict[str, Value], dict[str, Value]] = {}, {}
        self._answers: dict[tuple[str, str], tuple[bool, str]] = {}
        wanted, self._unread = self._chosen(pairs)
        found = read_a([one for one, _ in wanted]), read_b([two for _, two in wanted])
        for one, two in wanted:
            self._answers[one.name, two.name] = self._by_value(one, two, found)

    def same(self, a: Payload, b: Payload) -> tuple[bool, str]:
        """Whether two payloads say the same, and how that was found if not by value."""
        if self._alike(a, b):
            return True, ""
        answer = self._answers.get((a.name, b.name))
        return answer if answer is not None else (False, self._unread.get((a.name, b.name), BY_BYTES))

    def edit(self, slot: Slot) -> Edit | None:
        """The first change within two payloads; None where they were not read, or can't be."""
        if slot.a is None or slot.b is None:
            return None
        one, two = self._values[0].get(slot.a.name), self._values[1].get(slot.b.name)
        if one is None or two is None:
            return None
        return first_edit(one, two, (slot.a.encoding, slot.b.encoding), self.ignore)

    def _alike(self, a: Payload, b: Payload) -> bool:
        one, two = self._contents[0].get(a.name), self._contents[1].get(b.name)
        return one is not None and one == two

    def _chosen(self, pairs: Iterable[tuple[Payloads, Payloads]]) -> tuple[list[Wanted], dict[tuple[str, str], str]]:
        """The pairs to compare by value, in order, and of the others why not."""
        wanted: list[Wanted] = []
        unread: dict[tuple[str, str], str] = {}
        used = [0, 0]
        for kept in pairs:
            for _, a, b in pairs_of(*kept):
                if a is None or b is None or self._alike(a, b):
                    continue
                larger = max(a.size_bytes, b.size_bytes)
                if larger > LARGEST:
                    unread[a.name, b.name] = f"{BY_BYTES}: {size(larger)} are too many to compare by value"
                elif len(wanted) >= MOST_VALUES or max(used[0] + a.size_bytes, used[1] + b.size_bytes) > MOST_BYTES:
                    unread[a.name, b.name] = BY_BYTES
                    self.left_out += 1
                else:
                    wanted.append((a, b))
                    used = [used[0] + a.size_bytes, used[1] + b.size_bytes]
        return wanted, unread

    def _by_value(
        self, a: Payload, b: Payload, found: tuple[Mapping[str, Body], Mapping[str, Body]]
    ) -> tuple[bool, str]:
        one, two = found[0].get(a.name), found[1].get(b.name)
        if one is None or two is None:
            return False, "could not be read any more"
        values = [self._value(side, body) for side, body in enumerate((one, two))]
        if values[0].tree is None or values[1].tree is None:
            why = "; ".join(dict.fromkeys(value.problem for value in values if value.problem))
            return one.data == two.data and not (one.truncated or two.truncated), f"{BY_BYTES}: {visible(why)[:200]}"
        tokens = (
            canonical_tree(values[0].tree, a.encoding, self.ignore),
            canonical_tree(values[1].tree, b.encoding, self.ignore),
        )
        return tokens[0] == tokens[1], ""

    def _value(self, side: int, body: Body) -> Value:
        value = read_value(body.payload.encoding, body.data, truncated=body.truncated)
        self._values[side][body.payload.name] = value
        return value


def _rewriting(found: Parting) -> Rewriting | None:
    """Where the recorded past of one run differs between two databases, if it does."""
    if found.verdict is not Verdict.REWRITTEN:
        return None
    return Rewriting(found.position, *(_mark_words(mark) for mark in (found.a, found.b)))


def _mark_words(mark: Mark | None) -> str:
    return f"{visible(mark.name)[:80]} ({mark.digest.hex()[:8]})" if mark is not None else ""


def _notes(a: Taken, b: Taken, aligned: Alignment, values: Values) -> Iterable[str]:
    if a.engine != b.engine:
        yield f"They ran on two engines, {a.engine} and {b.engine}: steps are compared by their names alone."
    elif a.run.workflow != b.run.workflow:
        yield "They are runs of two workflows."
    if aligned.coarse:
        yield "They differ too much to be aligned exactly: the k-th step of a name is taken for the k-th of that name."
    if values.left_out:
        yield (
            f"{plural(values.left_out, 'payload')} whose bytes differ were not compared by value: more than {MOST_VALUES:,} or"
            f" {size(MOST_BYTES)} of them do."
        )
