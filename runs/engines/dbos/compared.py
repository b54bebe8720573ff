"""What comparing reads: digests of all runs in parts, one run's unchanging events, inputs.

``history`` is of exactly what the marks are of. ``content`` is of the workflow, its steps (number, name, output, error), what they
published and streamed, and how the run ended, without its input; ids and clocks inside bodies can't be left out: pickles are not
decoded here.
"""

from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter

from runs import payloads
from runs.clock import MICROSECOND
from runs.digests import Digests, Mark, RunDigest
from runs.engines.dbos import bodies, listing
from runs.engines.dbos.recorded import STEPS, Head, Table, heads, heads_of, others, rows_between, rows_of
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
    milliseconds,
    since_1970,
)
from runs.records import Body, ErrorSummary, Status
from runs.sources.base import Value

# Where they are in a row of STEPS.
_NAME, _SERIALIZATION, _CHILD, _STARTED_AT, _COMPLETED_AT, _WORDS = 3, 6, 7, 9, 10, 12
_SAMPLED = itemgetter(_NAME, _CHILD, _STARTED_AT, _COMPLETED_AT)
_SLEEP = SLEEP.encode()
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

    def reach(self, first: int, last: int) -> None:
        """Something happened from then to then."""
        self.first = first if self.first is None or first < self.first else self.first
        self.last = last if self.last is None or last > self.last else self.last


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
        # By stored name, where its samples are gathered; None for what waits.
        self._counted: dict[Value, tuple[list[int], list[int]] | None] = {}
        self._errors: dict[tuple[object, object], ErrorSummary | None] = {}
        forks = [each.id for each in found if each.forked_from is not None]
        self._spans = spans(snapshot, forks)
        self._copied = {(text(run), number) for run, number in snapshot.rows_of(_COPIED, forks)}

    def read_steps(self) -> None:
        for run, rows in rows_between(self._snapshot, STEPS, self._first, self._last):
            if head := self._heads.get(text(run)):
                self._take_steps(head, rows)

    def read_others(self) -> None:
        for table in others(self._snapshot):
            for run, rows in rows_between(self._snapshot, table, self._first, self._last):
                if text(run) in self._heads:
                    found = self._found.get(text(run)) or self._found.setdefault(text(run), _Found())
                    self._take(table, found, list(zip(*rows, strict=True)))

    def _take(self, table: Table, found: _Found, columns: list[Row]) -> None:
        content, rest, at = table.places
        if table.content:
            found.content.add((table.kind, *columns[content]))
        if table.rest:
            found.rest.add((table.kind, *columns[rest]))
        found.events += len(columns[0])
        if reached := extent(columns[at]):
            found.newest = reached[1] if found.newest is None else max(found.newest, reached[1])

    def _take_steps(self, head: Head, rows: list[Row]) -> None:
        found = self._found.get(head.id)
        if found is None:
            found = self._found[head.id] = _Found()
        columns = list(zip(*rows, strict=True))
        self._take(STEPS, found, columns)
        starts = extent(columns[_STARTED_AT])
        if starts:
            found.reach(*starts)
        if found.newest is not None:
            found.reach(found.newest, found.newest)
        if _SLEEP in columns[_NAME] and isinstance(head.cut_after, int):
            for name, end in zip(columns[_NAME], columns[_COMPLETED_AT], strict=True):
                if name == _SLEEP and (slept := milliseconds(end)) is not None and slept <= head.cut_after:
                    found.reach(slept, slept)
        self._sample(head.id, rows)

    def _sample(self, run: str, rows: list[Row]) -> None:
        counted, copied = self._counted, self._copied
        for row in rows:
            name, child, start, end = _SAMPLED(row)
            try:
                sample = counted[name]
            except KeyError:
                sample = counted[name] = None if text(name) in _WAITING else self.samples.found[text(name)]
            if sample is None or (copied and (run, row[1]) in copied):
                continue
            if child is not None and not text(name).startswith("DBOS."):
                began = start if type(start) is int else None
                started = _Start(text(name), began, run, whole(row[1]) or 0, text(child))
                self._starts.setdefault(started.child, started)
                continue
            durations, numbers = sample
            numbers[0] += 1
            if words := row[_WORDS]:
                numbers[1] += 1
                numbers[2] += self._tried_again(row[_SERIALIZATION], words)
            if type(start) is int and type(end) is int and end >= start:
                durations.append((end - start) * 1000)

    def _tried_again(self, serialization: Value, error: Value) -> bool:
        """Whether the error lists several tries: one by one they are not recorded otherwise."""
        if not isinstance(error, bytes):
            return False
        encoding = optional(serialization)
        if encoding not in _GO and not any(mark in error for mark in _LISTS_TRIES):
            return False
        sniffed = payloads.sniff(encoding, text(error[: bodies.HEAD]))
        return len(payloads.list_attempt_errors(sniffed, error)) > 1

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
        made, end = milliseconds(head.created_at), milliseconds(head.end)
        newest = found.newest
        if made is not None:
            newest = made if newest is None or made > newest else newest
        settled, ended = head.settled, head.ended
        if end is not None and ended:
            newest = end if newest is None or end > newest else newest
        content = found.content.digest()
        found.rest.add((head.created, settled, ended, content))
        return RunDigest(
            id=head.id,
            workflow=head.workflow,
            status=status,
            created_at=(made or 0) * 1000,
            finished_at=None if end is None else end * 1000,
            duration=self._duration(head, found, made, end),
            events=1 + found.events + bool(settled) + bool(ended),
            last_at=None if newest is None else newest * 1000,
            history=found.rest.digest(),
            content=digest_of(head.called, head.status if status.finished else None, ended[1:3], content),
            input=head.input,
            parent=head.parent,
            ordinal=ordinal,
            dedup=head.dedup,
            version=head.version,
            forked_from=head.forked_from,
            scheduled=head.scheduled,
            error=self._error(head) if status is Status.FAILED else None,
        )

    def _duration(self, head: Head, found: _Found, made: int | None, end: int | None) -> int | None:
        """From the first to the last recorded instant, in microseconds; None while unfinished."""
        started = milliseconds(head.started_at)
        last = [moment for moment in (made, started, found.last, end) if moment is not None]
        if head.parent and end is not None:
            self._ends[head.id] = max(last) * 1000
        if span := self._spans.get(head.id):
            return None if span.duration is None else span.duration // MICROSECOND
        if end is None:
            return None
        return (
            max(last) - min([moment for moment in (made, started, found.first) if moment is not None], default=end)
        ) * 1000

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


def marks(snapshot: Snapshot, run_ids: Collection[str]) -> Mapping[str, tuple[Mark, ...]]:
    """What the ``history`` of these runs is a digest of, one by one, by the time of recording as far as there is one. Runs that
    there are not are absent."""
    runs = {run.id: run for run in heads_of(snapshot, sorted(set(run_ids)))}
    near = {run.id: created(run.created_at) for run in runs.values()}
    between: dict[str, list[tuple[datetime, Mark]]] = {run_id: [] for run_id in runs}
    for table in (STEPS, *others(snapshot)):
        content, rest, place = table.places
        latest = dict(near)
        for value, rows in rows_of(snapshot, table, sorted(runs)):
            if (run_id := text(value)) not in runs:
                continue  # a file may declare that ids are the same which are not
            for row in rows:
                at = instant(row[place])
                latest[run_id] = at or latest[run_id]
                position, name = _named(table, row)
                mark = Mark(position, at, name, digest_of(row[content], row[rest]))
                between[run_id].append((latest[run_id], mark))
    return {
        run_id: (*_first(run), *(mark for _, mark in sorted(between[run_id], key=itemgetter(0))), *_end(run))
        for run_id, run in runs.items()
    }


def _first(run: Head) -> Iterator[Mark]:
    made = created(run.created_at)
    yield Mark("created", made, run.workflow, digest_of(*run.created))
    if run.settled:
        yield Mark("input", made, run.workflow, digest_of(*run.settled))


def _end(run: Head) -> Iterator[Mark]:
    if run.ended:
        yield Mark("end", instant(run.end), run.status, digest_of(*run.ended))


def _named(table: Table, row: Row) -> tuple[str, str]:
    """The position of a row within its run, and what it is called."""
    number, key = text(row[1]), text(row[2]) if len(table.keys) > 2 else ""
    match table.kind:
        case "step":
            return number, text(row[3])
        case "transaction":
            return f"transaction {number}", text(row[3])
        case "message":
            return f"message {number}", "" if row[3] == NO_TOPIC.encode() else text(row[3])
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
