"""What comparing reads: digests of all runs in parts, one run's unchanging events, inputs.

``history`` is of exactly what the marks are of. ``content`` is of the workflow, its steps (number, name, output, error), what they
published and streamed, and how the run ended, without its input; ids and clocks inside bodies can't be left out: pickles are not
decoded here.
"""

from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

from runs import payloads
from runs.clock import MICROSECOND
from runs.engines.dbos import bodies, listing
from runs.engines.dbos.details import require
from runs.engines.dbos.recorded import NONE, STEPS, Head, Table, head, heads, others, rows_of
from runs.engines.dbos.snapshot import Row, Snapshot, composed
from runs.engines.dbos.spans import spans
from runs.engines.dbos.values import created, instant, optional, text, whole
from runs.engines.dbos.vocabulary import GET_RESULT, MESSAGES, NO_TOPIC, SLEEP, WAITS, status_of
from runs.engines.digesting import (
    RUNS,
    Digester,
    Samples,
    advancing,
    digest_of,
    extent,
    plausible,
    since_1970,
)
from runs.records import Body, Digests, ErrorSummary, Mark, RunDigest, Status
from runs.sources.base import Value

LARGEST_INPUT = 1024 * 1024  # bytes of an input that is read among hundreds

# Steps whose duration says nothing of work: what is waited for.
_WAITING = frozenset({SLEEP, GET_RESULT}) | MESSAGES | WAITS
# In an error that may list several tries: as text, and within base64 at each of the three ways it can begin. Go's are read all.
_EXHAUSTED = b"DBOSMaxStepRetriesExceeded"
_LISTS_TRIES = (_EXHAUSTED, *(b64encode(b"-" * skipped + _EXHAUSTED)[4:-4] for skipped in range(3)))
_GO = frozenset({"DBOS_JSON", "DBOS_GOB"})
_COPIED = composed("""
SELECT o.workflow_uuid, o.function_id
FROM {schema}operation_outputs o
JOIN {schema}workflow_status s ON s.workflow_uuid = o.workflow_uuid
LEFT JOIN {schema}operation_outputs f ON f.workflow_uuid = s.forked_from AND f.function_id = o.function_id
WHERE o.workflow_uuid IN {ids} AND {inherited}
""")
_STARTED = """
SELECT o.workflow_uuid, o.child_workflow_id, o.function_id FROM {schema}operation_outputs o
WHERE o.workflow_uuid IN {ids} AND o.child_workflow_id >= :first AND o.child_workflow_id <= :last
  AND o.function_name NOT LIKE 'DBOS.%' ORDER BY o.function_id DESC
"""
_INPUTS = composed("""
SELECT s.workflow_uuid, s.serialization, octet_length({input}), substr(CAST({input} AS BLOB), 1, :limit)
FROM {schema}workflow_status s
LEFT JOIN {schema}workflow_input i ON i.workflow_uuid = s.workflow_uuid
WHERE s.workflow_uuid IN {ids} AND {input} IS NOT NULL
""")


@dataclass(slots=True)
class _Found:
    """What the tables say of one run: instants in milliseconds, ``newest`` of its events."""

    content: Digester = field(default_factory=Digester)
    rest: Digester = field(default_factory=Digester)
    events: int = 0
    first: int | None = None
    last: int | None = None
    newest: int | None = None


@dataclass(frozen=True, slots=True)
class _Start:
    """A step that started a child."""

    name: str
    began: int | None
    parent: str
    ordinal: int
    child: str


def digests(snapshot: Snapshot, after: str, limit: int) -> Digests:
    """A part: fewer runs than ``limit`` where they have very many steps. Raises Unreadable where ids are not in order."""
    found, more = heads(snapshot, after, min(limit, RUNS))
    advancing([each.id for each in found], after)
    if not found:
        return Digests((), {}, more=False)
    part = _Part(snapshot, found)
    part.read_steps()
    part.read_others()
    runs = part.runs(found)
    part.sample_children(runs)
    return Digests(runs, part.samples.all(), more)


class _Part:
    """Some runs, and what is gathered of them in one pass over each table."""

    def __init__(self, snapshot: Snapshot, found: list[Head]) -> None:
        self.samples = Samples()
        self._snapshot = snapshot
        self._heads = {each.id: each for each in found}
        self._first, self._last = found[0].id, found[-1].id
        self._found: dict[str, _Found] = {}
        self._starts: dict[str, _Start] = {}
        self._ends: dict[str, int] = {}  # of children, in microseconds
        self._errors: dict[tuple[object, object], ErrorSummary | None] = {}
        forks = [each.id for each in found if each.forked_from is not None]
        self._spans = spans(snapshot, forks)
        self._copied = {(text(run), number) for run, number in snapshot.rows_of(_COPIED, forks)}

    def read_steps(self) -> None:
        for run, rows in rows_of(self._snapshot, STEPS, self._first, self._last):
            if head := self._heads.get(text(run)):
                self._take_steps(head, rows)

    def read_others(self) -> None:
        for table in others(self._snapshot):
            for run, rows in rows_of(self._snapshot, table, self._first, self._last):
                if text(run) in self._heads:
                    self._take(table, self._found.setdefault(text(run), _Found()), list(zip(*rows, strict=True)))

    def _take(self, table: Table, found: _Found, columns: list[Row]) -> None:
        content, rest, at = table.places
        if table is not STEPS:
            found.content.add((table.kind.encode(),) if table.content != NONE else ())
            found.rest.add((table.kind.encode(),))
        found.content.add(columns[content])
        found.rest.add(columns[rest])
        found.events += len(columns[0])
        if reached := extent(columns[at]):
            found.newest = reached[1] if found.newest is None else max(found.newest, reached[1])

    def _take_steps(self, head: Head, rows: list[Row]) -> None:
        found = self._found.get(head.id)
        if found is None:
            found = self._found[head.id] = _Found()
        columns = list(zip(*rows, strict=True))
        self._take(STEPS, found, columns)
        names, _, starts, ends = columns[5:9]
        instants = [] if found.first is None or found.last is None else [found.first, found.last]
        if started := extent(starts):
            instants += started
        if found.newest is not None:
            instants.append(found.newest)
        if SLEEP in names and isinstance(head.cut_after, int):
            slept = plausible([end for name, end in zip(names, ends, strict=True) if name == SLEEP])
            instants += [end for end in slept if end <= head.cut_after]
        if instants:
            found.first, found.last = min(instants), max(instants)
        self._sample(head.id, rows)

    def _sample(self, run: str, rows: list[Row]) -> None:
        samples, copied = self.samples.found, self._copied
        for _, number, _, _, _, name, child, start, end, error, serialization in rows:
            if name in _WAITING or (copied and (run, number) in copied):
                continue
            if type(name) is not str:
                name = text(name)
            if child is not None and not name.startswith("DBOS."):
                began = start if type(start) is int else None
                started = _Start(name, began, run, whole(number) or 0, text(child))
                self._starts.setdefault(started.child, started)
                continue
            durations, numbers = samples[name]
            numbers[0] += 1
            if error:
                numbers[1] += 1
                numbers[2] += self._tried_again(serialization, error)
            if type(start) is int and type(end) is int and end >= start:
                durations.append((end - start) * 1000)

    def _tried_again(self, serialization: Value, error: Value) -> bool:
        """Whether the error lists several tries: one by one they are not recorded otherwise."""
        if not isinstance(error, bytes):
            return False
        if serialization not in _GO and not any(mark in error for mark in _LISTS_TRIES):
            return False
        encoding = payloads.sniff(optional(serialization), text(error[: bodies.HEAD]))
        return len(payloads.list_attempt_errors(encoding, error)) > 1

    def runs(self, found: list[Head]) -> tuple[RunDigest, ...]:
        ordinals = self._ordinals(found)
        return tuple([self._run(each, ordinals.get(each.id, "")) for each in found])

    def _ordinals(self, found: list[Head]) -> dict[str, str]:
        """By child, the number of the step that started it. Children lie behind their parents mostly, in the same part."""
        parents = {each.id: each.parent for each in found if each.parent}
        known = {
            child: str(start.ordinal)
            for child in parents
            if (start := self._starts.get(child)) and start.parent == parents[child]
        }
        elsewhere = sorted({parent for child, parent in parents.items() if child not in known})
        window = {"first": self._first, "last": self._last}
        for parent, child, number in self._snapshot.rows_of(_STARTED, elsewhere, window):
            if parents.get(text(child)) == text(parent):
                known[text(child)] = str(number)
        return known

    def _run(self, head: Head, ordinal: str) -> RunDigest:
        found = self._found.get(head.id) or _Found()
        status = status_of(head.status)
        made, started, end = (
            _milliseconds(head.created_at),
            _milliseconds(head.started_at),
            _milliseconds(head.end),
        )
        first, last = found.first, found.last
        if head.parent and end is not None:
            self._ends[head.id] = max([moment for moment in (made, started, last, end) if moment is not None]) * 1000
        if span := self._spans.get(head.id):
            took = None if span.duration is None else span.duration // MICROSECOND
        elif end is None:
            took = None
        else:
            first = min([moment for moment in (made, started, first) if moment is not None], default=end)
            last = max([moment for moment in (made, started, last, end) if moment is not None])
            took = (last - first) * 1000
        settled, ended = head.settled, head.ended
        outcome = head.status if status.finished else None
        content, rest = found.content.digest(), found.rest.digest()
        newest = [moment for moment in (made, found.newest, end if ended else None) if moment is not None]
        return RunDigest(
            id=head.id,
            workflow=head.workflow,
            status=status,
            created_at=(made or 0) * 1000,
            finished_at=None if end is None else end * 1000,
            duration=took,
            events=1 + found.events + bool(settled) + bool(ended),
            last_at=max(newest) * 1000 if newest else None,
            history=digest_of(len(head.created), *head.created, len(settled), *settled, *ended, content, rest),
            content=digest_of(
                head.called, outcome, head.output if ended else None, head.error if ended else None, content
            ),
            input=head.input,
            parent=head.parent,
            ordinal=ordinal,
            dedup=head.dedup,
            version=head.version,
            forked_from=head.forked_from,
            scheduled=head.scheduled,
            error=self._error(head) if status is Status.FAILED else None,
        )

    def _error(self, head: Head) -> ErrorSummary | None:
        key = (head.serialization, head.words)
        if key not in self._errors:
            size = len(head.words) if isinstance(head.words, bytes) else 0
            self._errors[key] = bodies.summary(head.serialization, head.words, size)
        return self._errors[key]

    def sample_children(self, runs: Iterable[RunDigest]) -> None:
        """A step that started a child takes until the child's end, and ends as it does."""
        here = {run.id: run for run in runs}
        wanted = [start for start in self._starts.values() if start.parent in here]
        away = [start.child for start in wanted if start.child not in here]
        statuses = {row.id: row.status for row in listing.by_id(self._snapshot, away)}
        reached = spans(self._snapshot, sorted(statuses))
        for start in wanted:
            run = here.get(start.child)
            status = run.status if run else statuses.get(start.child)
            if status is None or not status.finished:
                continue
            end, took = self._ends.get(start.child), run.duration if run else None
            if span := reached.get(start.child):
                end = since_1970(span.last)
                took = None if span.duration is None else span.duration // MICROSECOND
            if start.began is not None and end is not None:
                took = max(end - start.began * 1000, 0)
            self.samples.add(start.name, took, status)


def marks(snapshot: Snapshot, run_id: str) -> tuple[Mark, ...]:
    """What ``history`` is a digest of, one by one, by the time of recording as far as there is one. Raises RunNotFound."""
    require(snapshot, run_id)
    run = head(snapshot, run_id)
    assert run is not None  # noqa: S101  it is required above
    made = created(run.created_at)
    found = [Mark("created", made, run.workflow, digest_of(*run.created))]
    if run.settled:
        found.append(Mark("input", made, run.workflow, digest_of(*run.settled)))
    between: list[tuple[datetime, Mark]] = []
    for table in (STEPS, *others(snapshot)):
        content, rest, place = table.places
        near = made
        for _, rows in rows_of(snapshot, table, run_id, run_id):
            for row in rows:
                at = instant(row[place])
                near = at or near
                position, name = _named(table, row)
                between.append((near, Mark(position, at, name, digest_of(row[content], row[rest]))))
    found += [mark for _, mark in sorted(between, key=itemgetter(0))]
    if run.ended:
        found.append(Mark("end", instant(run.end), run.status, digest_of(*run.ended)))
    return tuple(found)


def _named(table: Table, row: Row) -> tuple[str, str]:
    """The position of a row within its run, and what it is called."""
    number, key = text(row[1]), text(row[2]) if len(table.keys) > 2 else ""
    match table.kind:
        case "step":
            return number, text(row[5])
        case "transaction":
            return f"transaction {number}", text(row[5])
        case "message":
            return f"message {number}", "" if row[5] == NO_TOPIC else text(row[5])
        case "stream":  # its key comes first, then the offset
            return f"stream {key} {number}", number
    return f"{table.kind} {number} {key}", key


def inputs(snapshot: Snapshot, run_ids: Collection[str]) -> Mapping[str, Body]:
    """The inputs of those of the runs that have one, at most LARGEST_INPUT bytes of each."""
    found = {}
    for value, serialization, size, data in snapshot.rows_of(_INPUTS, sorted(set(run_ids)), {"limit": LARGEST_INPUT}):
        body = data if isinstance(data, bytes) else b""
        run_id = text(value)
        payload = bodies.reference(run_id, "run.input", serialization, size, text(body[: bodies.HEAD]))
        if payload is not None:
            found[run_id] = Body(payload, body, truncated=payload.size_bytes > len(body))
    return found


def _milliseconds(value: Value) -> int | None:
    found = plausible((value,))
    return found[0] if found else None
