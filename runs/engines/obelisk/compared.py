"""What comparing reads: digests of all runs in parts, one run's unchanging events, inputs, digests of payloads.

``history`` is of every row of t_execution_log and of every response in the order of its run; t_state, t_delay and row ids are
progress. ``content`` is of what the code did and got, in the order of its history: join sets, requests with their parameters,
awaits, what children answered, and the return value. Left out: the run's own input, ids and instants, leases and attempts, HTTP
traces, components and deployments, generated values (the engine derives them from the run's id).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from runs.digests import Digests, Mark, RunDigest
from runs.engines.base import BODY_LIMIT
from runs.engines.digesting import (
    EVER,
    INLINE,
    PART,
    RUNS,
    SLICE,
    Digester,
    Samples,
    advancing,
    by_run,
    digest_of,
    digest_of_bytes,
    since_1970,
)
from runs.engines.obelisk.history import in_chunks
from runs.engines.obelisk.relations import variant_of
from runs.engines.obelisk.runs import demand, present, with_errors
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import as_bytes, hexadecimal, instant, snake, text, whole
from runs.engines.obelisk.states import COLUMNS, DIGEST_SHOWN, Row, parent_of
from runs.records import Body, ErrorSummary, Payload, Status
from runs.sources.base import Value

Values = tuple[Value, ...]


def _packed(texts: Sequence[str], numbers: Sequence[str] = ()) -> str:
    """SQL for the columns of a row as one blob, that no other values make but a number and the same digits as text: SQLite does
    this faster than Python. Numbers come first, then the lengths of the texts, none for NULL, then the texts."""
    heads = ", ',', ".join([*numbers, *(f"octet_length({text})" for text in texts)])
    return f"CAST(concat({heads}, ':', {', '.join(texts)}) AS BLOB)"


LARGEST_INPUT = 1024 * 1024  # bytes of an input that is read among hundreds

_NEXT = """SELECT $columns FROM {schema}t_state s
WHERE s.execution_id > :after AND s.execution_id <= :last ORDER BY s.execution_id LIMIT :limit"""

_FULL = """SELECT max(n.execution_id), count(*) FROM (SELECT l.execution_id FROM {schema}t_execution_log l
    WHERE l.execution_id > :after ORDER BY l.execution_id LIMIT :part) n"""

# What happened without what differs between two runs of the same: {"type": …, "join_set_id": …, "request": {…}}.
_EVENT = """json_remove($event, '$$.run_expires_at', '$$.value', '$$.execution_id', '$$.target_execution_id',
    '$$.schedule_at.at', '$$.request.child_execution_id', '$$.request.delay_id', '$$.request.expires_at',
    '$$.request.paused', '$$.request.schedule_at.at')"""
# The 26 characters that all ids of a family have in common may stand in values.
_CONTENT = """CASE WHEN $valid(l.json_value) THEN replace(
    CASE WHEN l.variant IN ('finished', 'Finished') THEN $retval
        WHEN l.variant IN ('history_event', 'HistoryEvent') THEN $without END, substr(l.execution_id, 3, 26), '') END"""
_INPUT = "CASE WHEN l.version = 0 AND $valid(l.json_value) THEN $created->'params' END"
_ORIGIN = "CASE WHEN l.version = 0 AND $valid(l.json_value) THEN $created->'metadata'->>'retry-of' END"

_SMALL = "octet_length(l.json_value) <= :inline"
_WHOLE = _packed(("l.created_at", "l.variant", "l.join_set_id", "l.json_value"), ("l.version",))
_LOG = """SELECT l.execution_id, l.version, l.created_at, l.variant, CASE WHEN $is_small THEN $whole END,
    CASE WHEN $is_small THEN CAST($content AS BLOB) END, CASE WHEN $is_small THEN CAST($input AS BLOB) END, $origin
FROM {schema}t_execution_log l WHERE $place AND l.execution_id <= :last ORDER BY l.execution_id, l.version LIMIT :slice"""
_LARGE = """SELECT $whole, CAST($content AS BLOB), $input
FROM {schema}t_execution_log l WHERE l.execution_id = :run AND l.version = :version"""
_FIRST = "l.execution_id >= :first"
_AFTER = "(l.execution_id, l.version) > (:run, :version)"

# The answer of a child is among its own rows; `f` is that one, in the words that are for `l`.
_RESPONSES = """SELECT r.execution_id, $sequence, r.created_at, $whole, COALESCE(r.delay_id, r.child_execution_id),
    r.delay_id IS NOT NULL, $delay_success, r.finished_version, r.join_set_id,
    CASE WHEN l.json_value IS NULL THEN x'' WHEN $is_small THEN CAST($answer AS BLOB) ELSE octet_length(l.json_value) END
FROM {schema}t_join_set_response r
LEFT JOIN {schema}t_execution_log l ON l.execution_id = r.child_execution_id AND l.version = r.finished_version
WHERE $place AND r.execution_id <= :last ORDER BY r.execution_id, $sequence LIMIT :slice"""
_WHOLE_RESPONSE = _packed(
    ("r.created_at", "r.join_set_id", "r.delay_id", "r.child_execution_id"), ("$delay_success", "r.finished_version")
)
_ANSWER = "CASE WHEN $valid(l.json_value) THEN replace($retval, substr(l.execution_id, 3, 26), '') END"
_LARGE_ANSWER = """SELECT CAST($answer AS BLOB)
FROM {schema}t_execution_log l WHERE l.execution_id = :run AND l.version = :version"""
_FIRST_RESPONSE = "r.execution_id >= :first"
_AFTER_RESPONSE = "(r.execution_id, $sequence) > (:run, :number)"

_CLOCKED = """SELECT l.execution_id FROM {schema}t_execution_log l
JOIN {schema}t_state s ON s.execution_id = CASE WHEN $valid(l.json_value) THEN $created->>'scheduled_by' END
WHERE l.execution_id >= :first AND l.execution_id <= :last AND l.version = 0 AND $component_type = 'cron'"""

_THERE = "SELECT s.execution_id FROM {schema}t_state s WHERE s.execution_id IN ($ids)"

_INPUTS = """SELECT l.execution_id, substr($body, 1, :limit), octet_length($body) FROM {schema}t_execution_log l
WHERE l.execution_id IN ($ids) AND l.variant IN ('created', 'Created') AND l.version = 0"""

_STEP_BODIES = """SELECT l.execution_id, l.version, $event_type,
    CASE WHEN $valid(l.json_value) THEN COALESCE($event->'request'->>'child_execution_id', $event->>'execution_id') END,
    CASE WHEN $valid(l.json_value) THEN COALESCE($event->'request'->'result'->'Err', $event->'result'->'Err') END,
    octet_length($body), CASE WHEN octet_length($body) <= :inline THEN $body END
FROM {schema}t_execution_log l
WHERE l.execution_id = :id AND l.variant IN ('history_event', 'HistoryEvent')
    AND $event_type IN ('join_set_request', 'persist', 'schedule') ORDER BY l.version"""
_RUN_BODIES = """SELECT l.execution_id, l.version, l.variant,
    CASE WHEN $valid(l.json_value) THEN COALESCE($retval->'ok', $retval->'Ok') IS NOT NULL END,
    octet_length($body), CASE WHEN octet_length($body) <= :inline THEN $body END
FROM {schema}t_state s JOIN {schema}t_execution_log l ON l.execution_id = s.execution_id
WHERE s.execution_id IN ($ids) AND l.variant IN ('created', 'Created', 'finished', 'Finished')
ORDER BY l.execution_id, l.version"""
_ONE_BODY = """SELECT substr($body, 1, :limit) FROM {schema}t_execution_log l
WHERE l.execution_id = :run AND l.version = :version"""


class _Log:
    """The rows of one run in pieces, and what they come to."""

    __slots__ = ("content", "events", "forked_from", "history", "input", "last", "retried")

    def __init__(self) -> None:
        self.history, self.content = Digester(), Digester()
        self.events = 0
        self.last, self.input = "", b""
        self.forked_from: str | None = None
        self.retried = False

    def add(self, rows: list[Values]) -> None:
        _, versions, instants, variants, rests, contents, inputs, origins = zip(*rows, strict=True)
        self.history.add(rests)
        self.content.add([content for content in contents if content is not None])
        self.events += len(rows)
        self.last = max(self.last, *(text(moment) for moment in instants))
        if versions[0] == 0:
            self.input = b"" if inputs[0] is None else _whole_digest(inputs[0])
            self.forked_from = text(origins[0]) or None
        self.retried = self.retried or not _TEMPORARY.isdisjoint(variants)

    def answered(self, rows: list[Values]) -> None:
        """Responses: by the order in which they came for the history, by what was asked for the content."""
        self.history.add([row[3] for row in rows])
        self.content.add(sorted(digest_of(_asked(row), row[6], row[9]) for row in rows))
        self.events += len(rows)
        self.last = max(self.last, *(text(row[2]) for row in rows))


_TEMPORARY = frozenset({
    "temporarily_failed", "temporarily_timed_out", "intermittently_failed", "intermittently_timed_out",
    "TemporarilyFailed", "TemporarilyTimedOut", "IntermittentlyFailed", "IntermittentlyTimedOut",
})  # fmt: skip


def digests(snapshot: Snapshot, after: str, limit: int) -> Digests:
    """A part: fewer runs than ``limit`` where their histories are long. Raises Unreadable where ids are not in order."""
    states, more = _states(snapshot, after, min(limit, RUNS))
    advancing([each.id for each in states], after)
    if not states:
        return Digests((), {}, more=False)
    first, last, logs = states[0].id, states[-1].id, {each.id: _Log() for each in states}
    for value, rows in _log(snapshot, first, last):
        if text(value) in logs:
            logs[text(value)].add(rows)
    for value, rows in _responses(snapshot, first, last):
        if text(value) in logs:
            logs[text(value)].answered(rows)
    clocked = {text(run) for (run,) in snapshot.rows(_CLOCKED, {"first": first, "last": last})}
    failed = [each for each in states if each.our_status is Status.FAILED]
    errors = {run.id: run.error for run in with_errors(snapshot, failed)}
    samples = Samples()
    found = [_digest_of_run(each, logs[each.id], each.id in clocked, errors.get(each.id)) for each in states]
    for each, state in zip(found, states, strict=True):
        if each.parent and state.state == "finished":
            samples.add(each.workflow, each.duration, each.status, retried=logs[each.id].retried)
    return Digests(tuple(found), samples.all(), more)


def _states(snapshot: Snapshot, after: str, limit: int) -> tuple[list[Row], bool]:
    """At most ``limit`` runs after an id, in the order of their ids, fewer where their logs fill a part; and whether more follow.

    Texts alone: nothing else is an id of a run.
    """
    ((last, number),) = snapshot.rows(_FULL, {"after": after, "part": PART})
    full = number == PART
    params = present(snapshot) | {"after": after, "limit": limit + 1}
    rows = snapshot.rows(_NEXT, {**params, "last": last if full else EVER}, columns=COLUMNS)
    if full and not rows:  # rows without runs
        rows, full = snapshot.rows(_NEXT, {**params, "last": EVER}, columns=COLUMNS), False
    return [Row(*values) for values in rows[:limit]], full or len(rows) > limit


def _digest_of_run(row: Row, log: _Log, clocked: bool, error: ErrorSummary | None) -> RunDigest:
    created, finished = since_1970(instant(row.created_at)), since_1970(row.finished_at)
    parent = parent_of(row.id)
    return RunDigest(
        id=row.id,
        workflow=text(row.ffqn),
        status=row.our_status,
        created_at=created or 0,
        finished_at=finished,
        duration=finished - created if created is not None and finished is not None else None,
        events=log.events,
        last_at=since_1970(instant(log.last)),
        history=log.history.digest(),
        content=digest_of(text(row.ffqn), log.content.digest()),
        input=log.input,
        parent=parent,
        ordinal=row.id.rpartition(".")[2] if parent else "",
        version=hexadecimal(row.digest)[:DIGEST_SHOWN],
        forked_from=log.forked_from,
        scheduled=clocked or row.component_type == "cron",
        error=error,
    )


def marks(snapshot: Snapshot, run_ids: Collection[str]) -> Mapping[str, tuple[Mark, ...]]:
    """What the ``history`` of these runs is a digest of: rows of the log by their version, and responses by their number. Runs that
    there are not are absent."""
    there = {
        text(run)
        for ids, params in in_chunks(sorted(set(run_ids)))
        for (run,) in snapshot.rows(_THERE, params, ids=ids)
    }
    return {run_id: _marks(snapshot, run_id) for run_id in run_ids if run_id in there}


def _marks(snapshot: Snapshot, run_id: str) -> tuple[Mark, ...]:
    found: list[Mark] = []
    for _, rows in _log(snapshot, run_id, run_id):
        for row in rows:
            found.append(Mark(text(str(row[1])), instant(row[2]), variant_of(row[3]), digest_of(row[4])))
    number = 0
    for _, rows in _responses(snapshot, run_id, run_id):
        for row in rows:
            number += 1
            found.append(Mark(f"response {number}", instant(row[2]), text(row[8]), digest_of(row[3])))
    # By time as far as there is one; rows of the log stay in their order among themselves.
    return tuple(_merged(found))


def _merged(found: list[Mark]) -> Iterator[Mark]:
    log = [mark for mark in found if not mark.position.startswith("response")]
    answers = [mark for mark in found if mark.position.startswith("response")]
    for mark in log:
        while answers and answers[0].at and mark.at and answers[0].at < mark.at:
            yield answers.pop(0)
        yield mark
    yield from answers


def inputs(snapshot: Snapshot, run_ids: Collection[str]) -> Mapping[str, Body]:
    """The parameters of those of the runs that have them, at most LARGEST_INPUT bytes of each."""
    found: dict[str, Body] = {}
    for ids, params in in_chunks(sorted(set(run_ids))):
        for run_id, body, length in snapshot.rows(_INPUTS, params | {"limit": LARGEST_INPUT}, ids=ids):
            if (size := whole(length)) is not None:
                data = as_bytes(body)[:LARGEST_INPUT]
                payload = Payload(text(run_id), "run.input", "json", size)
                found[text(run_id)] = Body(payload, data, truncated=size > len(data))
    return found


def contents(snapshot: Snapshot, run_id: str) -> Mapping[str, bytes]:
    """Digests by the names that the payloads of the run and of its steps have. Raises RunNotFound."""
    demand(snapshot, run_id)
    found = {f"run.{slot}": digest for slot, digest in _own_bodies(snapshot, [run_id]).get(run_id, {}).items()}
    requests: list[tuple[int, str, str]] = []
    for version, kind, child, slot_body in _step_bodies(snapshot, run_id):
        if slot_body is not None:
            found[f"step.{version}.{'output' if kind == 'persist' else 'input'}"] = slot_body
        if child:
            requests.append((version, kind, child))
    answers = _own_bodies(snapshot, [child for _, _, child in requests])
    for version, kind, child in requests:
        for slot, digest in answers.get(child, {}).items():
            if (slot == "input") == (kind == "schedule"):
                found[f"step.{version}.{slot}"] = digest
    return found


def _step_bodies(snapshot: Snapshot, run_id: str) -> Iterator[tuple[int, str, str, bytes | None]]:
    """Of each step that may have payloads: its version, what it is, the child that it started, and its own body's digest."""
    for run, number, kind, child, refused, size, body in snapshot.rows(_STEP_BODIES, {"id": run_id, "inline": INLINE}):
        version, word = whole(number) or 0, snake(kind)
        own = None if size is None else digest_of_bytes(body if body is not None else _body(snapshot, run, version))
        yield version, word, "" if refused is not None else text(child), None if word == "schedule" else own


def _own_bodies(snapshot: Snapshot, run_ids: list[str]) -> dict[str, dict[str, bytes]]:
    """By run, of those that there are, the digests of its ``input`` and of its ``output`` or ``error``."""
    found: dict[str, dict[str, bytes]] = {}
    for ids, params in in_chunks(list(dict.fromkeys(run_ids))):
        rows = snapshot.rows(_RUN_BODIES, params | {"inline": INLINE}, ids=ids)
        for run, number, variant, succeeded, size, body in rows:
            if size is not None:
                digest = digest_of_bytes(body if body is not None else _body(snapshot, run, whole(number) or 0))
                created = variant_of(variant) == "created"
                slots = found.setdefault(text(run), {})
                if created:
                    slots.setdefault("input", digest)
                else:
                    slots.pop("output", None)
                    slots.pop("error", None)
                    slots["output" if succeeded else "error"] = digest
    return found


def _body(snapshot: Snapshot, run: Value, version: int) -> Value:
    """A large body, as far as it is read at all."""
    return snapshot.rows(_ONE_BODY, {"run": run, "version": version, "limit": BODY_LIMIT})[0][0]


def _log(snapshot: Snapshot, first: str, last: str) -> Iterator[tuple[Value, list[Values]]]:
    """The rows of the log by run: one with very many comes in pieces. Of large ones there are digests of what they hold."""

    def read(after: Values | None) -> list[Values]:
        place = {"first": first} if after is None else {"run": after[0], "version": after[1]}
        rows = snapshot.rows(
            _LOG, {**place, "last": last, "slice": SLICE, "inline": INLINE}, is_small=_SMALL, whole=_WHOLE,
            without=_EVENT, content=_CONTENT, input=_INPUT, origin=_ORIGIN, place=_FIRST if after is None else _AFTER,
        )  # fmt: skip
        return [row if row[4] is not None else _large_row(row) for row in rows]

    def _large_row(row: Values) -> Values:
        params = {"run": row[0], "version": row[1]}
        found = snapshot.rows(_LARGE, params, whole=_WHOLE, without=_EVENT, content=_CONTENT, input=_INPUT)[0]
        whole, content, input_ = (None if value is None else digest_of_bytes(value) for value in found)
        return (*row[:4], whole, content, input_.hex() if input_ else None, row[7])

    return by_run(read)


def _responses(snapshot: Snapshot, first: str, last: str) -> Iterator[tuple[Value, list[Values]]]:
    """The responses by run, in the order of its own numbers; before 0.39.5 in the order of the table's."""
    if "execution_id" not in snapshot.tables.get("t_join_set_response", {}):
        return iter(())

    def read(after: Values | None) -> list[Values]:
        place = {"first": first} if after is None else {"run": after[0], "number": after[1]}
        rows = snapshot.rows(
            _RESPONSES, {**place, "last": last, "slice": SLICE, "inline": INLINE}, is_small=_SMALL, answer=_ANSWER,
            whole=_WHOLE_RESPONSE, place=_FIRST_RESPONSE if after is None else _AFTER_RESPONSE,
        )  # fmt: skip
        return [_large_row(row) if isinstance(row[9], int) else row for row in rows]

    def _large_row(row: Values) -> Values:
        found = snapshot.rows(_LARGE_ANSWER, {"run": row[4], "version": row[7]}, answer=_ANSWER)[0][0]
        return (*row[:9], None if found is None else digest_of_bytes(found))

    return by_run(read)


def _asked(row: Values) -> str:
    """What a response answers, without its run's id: ``g:1_2``; a delay's number counts delays."""
    return f"{'delay' if row[5] else 'child'} {text(row[4]).rpartition('.')[2]}"


def _whole_digest(value: Value) -> bytes:
    """Of bytes; of a large value the digest is there already, in hexadecimal digits."""
    return bytes.fromhex(value) if isinstance(value, str) else digest_of_bytes(value)
