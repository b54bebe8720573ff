"""The rows of operation_outputs as Steps: one each, numbered by function_id (from 1 in Python, from 0 in Go).

A row is written when its step ends, so a running step has none. Two rows show in another's: a child's getResult in
the row that started the child, and the timeout that recv and getEvent register in theirs. function_id is the order of
calls, not of time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from runs import clock, payloads
from runs.engines.base import latest
from runs.engines.dbos import bodies
from runs.engines.dbos.snapshot import Row, Snapshot, composed
from runs.engines.dbos.spans import Span, spans
from runs.engines.dbos.timeouts import ends_at
from runs.engines.dbos.values import between, instant, optional, text, whole
from runs.engines.dbos.vocabulary import GET_RESULT, NO_TOPIC, SLEEP, STREAM_CLOSED, WAITS, kind_of, status_of
from runs.records import NO_PAYLOADS, Attempt, Payload, Payloads, Status, Step

ERROR_LIMIT = 16 * 1024  # bytes of a step's error that are read to summarise it
PATCH = "DBOS.patch-"

# Heads of outputs are read only where no serializer is recorded: reading one means walking all of a large value.
_STEPS = composed("""
SELECT o.function_id, o.function_name, o.serialization, octet_length(o.output),
  CASE WHEN o.serialization IS NULL OR o.function_name = 'DBOS.sleep' THEN substr(o.output, 1, 200) END,
  octet_length(NULLIF(o.error, '')), substr(CAST(NULLIF(o.error, '') AS BLOB), 1, :bytes),
  o.child_workflow_id, o.started_at_epoch_ms, o.completed_at_epoch_ms,
  CASE WHEN {inherited} THEN 1 ELSE 0 END,
  p.status
FROM {schema}operation_outputs o
JOIN {schema}workflow_status s ON s.workflow_uuid = o.workflow_uuid
LEFT JOIN {schema}operation_outputs f ON f.workflow_uuid = s.forked_from AND f.function_id = o.function_id
LEFT JOIN {schema}workflow_status p ON p.workflow_uuid = o.child_workflow_id
WHERE o.workflow_uuid = :run
ORDER BY o.function_id
""")
_VALUES = """
SELECT h.function_id, h.key, h.serialization, octet_length(h.value), substr(h.value, 1, 64)
FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run ORDER BY h.function_id, h.key
"""
_STREAMS = """
SELECT t.function_id, t.key, t.serialization, octet_length(t.value), substr(t.value, 1, 64), t."offset"
FROM {schema}streams t WHERE t.workflow_uuid = :run ORDER BY t.function_id, t."offset", t.key
"""
_TOPICS = """
SELECT n.consumed_by_function_id, n.topic FROM {schema}notifications n
WHERE n.destination_uuid = :run AND n.consumed_by_function_id IS NOT NULL
"""


class Recorded(NamedTuple):
    """One row, and what other tables say of it."""

    ordinal: int
    name: str
    serialization: str | None
    output_size: int | None
    output_head: str | None
    error_size: int | None
    error: bytes | None
    child: str | None
    started_at: datetime | None
    completed_at: datetime | None
    inherited: bool
    child_status: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """What a step wrote into another table: a key or topic, and where the value lies."""

    key: str
    payload: Payload | None = None


NOTHING = Written("")


def recorded(snapshot: Snapshot, run_id: str) -> list[Recorded]:
    """The rows of a run by function_id."""
    return [_recorded(row) for row in snapshot.rows(_STEPS, {"run": run_id, "bytes": ERROR_LIMIT})]


def steps(snapshot: Snapshot, run_id: str) -> tuple[Step, ...]:
    """The steps of a run that exists, by ordinal."""
    rows = recorded(snapshot, run_id)
    # Only of a sleep is it asked how far its run came.
    own = spans(snapshot, [run_id] if any(row.name == SLEEP for row in rows) else []).get(run_id)
    children = spans(snapshot, sorted({row.child for row in rows if row.child and row.name != GET_RESULT}))
    there = written(snapshot, run_id, {row.name for row in rows})
    names = {row.ordinal: row.name for row in rows}
    starts = {row.child: row.ordinal for row in reversed(rows) if row.child and starts_child(row)}
    return tuple(_step(run_id, row, own, children, there, names, starts) for row in rows)


def _step(
    run_id: str,
    row: Recorded,
    own: Span | None,
    children: Mapping[str, Span],
    others: Mapping[int, Written],
    names: Mapping[int, str],
    starts: Mapping[str, int],
) -> Step:
    error = bodies.summary(row.serialization, row.error, row.error_size)
    attempts = _attempts(row)
    # An ordinary step that writes to a stream has an output of its own.
    there = others.get(row.ordinal, NOTHING) if row.name.startswith("DBOS.") else NOTHING
    if row.name.startswith(PATCH):
        there = Written(row.name.removeprefix(PATCH))
    step = Step(
        ordinal=row.ordinal,
        kind=kind_of(row.name, row.child),
        name=row.name,
        status=Status.FAILED if row.error else Status.SUCCEEDED,
        started_at=row.started_at,
        finished_at=row.completed_at,
        duration=between(row.started_at, row.completed_at),
        attempts=attempts,
        attempt_count=len(attempts) or None,
        error=error,
        child=row.child,
        inherited=row.inherited,
        folded_into=_folded_into(row, names, starts),
        detail=there.key,
        payloads=_payloads(run_id, row, there),
    )
    if row.name == SLEEP and step.folded_into is None:
        return _sleep(step, row, own)
    if starts_child(row):
        return _child(step, row, children.get(row.child or ""))
    return step


def starts_child(row: Recorded) -> bool:
    return row.child is not None and not row.name.startswith("DBOS.")


def _folded_into(row: Recorded, names: Mapping[int, str], starts: Mapping[str, int]) -> int | None:
    if row.name == GET_RESULT and row.child is not None:
        start = starts.get(row.child)
        return start if start is not None and start < row.ordinal else None
    return row.ordinal - 1 if row.name == SLEEP and names.get(row.ordinal - 1) in WAITS else None


def _child(step: Step, row: Recorded, span: Span | None) -> Step:
    """The row that started a child says what the child did; without times of its own it begins with the child."""
    if row.child_status is None:
        return replace(step, status=Status.UNKNOWN, finished_at=None, duration=None)
    started = step.started_at or (span.first if span else None)
    finished = latest(span.last, started) if span and span.end else None
    return replace(
        step,
        status=status_of(row.child_status),
        native_status=row.child_status,
        started_at=started,
        finished_at=finished,
        duration=between(started, finished),
    )


def _sleep(step: Step, row: Recorded, own: Span | None) -> Step:
    """A sleep's row has its end in advance. It is cut where the run ended before; while the run goes on, it may lie
    ahead.
    """
    until = ends_at(row.completed_at, row.serialization, row.output_head)
    if until is None:
        return step
    if own is not None and own.end is not None:
        if own.cut_after is None or until <= own.cut_after or row.inherited:
            return replace(step, finished_at=until, duration=between(row.started_at, until))
        cut = between(row.started_at, own.last)
        return replace(step, status=Status.CANCELLED, finished_at=own.last, duration=cut, projected=True)
    waiting = until > clock.now()
    return replace(
        step,
        status=Status.WAITING if waiting else Status.SUCCEEDED,
        finished_at=until,
        duration=between(row.started_at, until),
        # Only something recorded later shows that the run really went on.
        projected=waiting or own is None or own.newest is None or until > own.newest,
    )


def _attempts(row: Recorded) -> tuple[Attempt, ...]:
    """Tries are recorded only where all failed: the error then lists theirs, without times."""
    if not row.error:
        return ()
    encoding = payloads.sniff(row.serialization, text(row.error[: bodies.HEAD]))
    return tuple(
        Attempt(started_at=None, finished_at=None, status=Status.FAILED, error=error)
        for error in payloads.list_attempt_errors(encoding, row.error)
    )


def _payloads(run_id: str, row: Recorded, there: Written) -> Payloads:
    output = bodies.reference(run_id, f"step.{row.ordinal}.output", row.serialization, row.output_size, row.output_head)
    head = None if row.error is None else text(row.error[: bodies.HEAD])
    error = bodies.reference(run_id, f"step.{row.ordinal}.error", row.serialization, row.error_size, head)
    if there.payload is not None:
        output = there.payload  # the step's own output says nothing: NULL in Python, a nil in Go
    return Payloads(output=output, error=error) if output or error else NO_PAYLOADS


def written(snapshot: Snapshot, run_id: str, names: set[str]) -> dict[int, Written]:
    """By function_id: the key and value a setEvent published or a writeStream wrote, and the topic of a recv."""
    found: dict[int, Written] = {}
    schema = snapshot.schema
    if "DBOS.setEvent" in names and schema.has("workflow_events_history"):
        for number, key, serialization, size, head in snapshot.rows(_VALUES, {"run": run_id}):
            name = bodies.name_of("value", text(key), whole(number))
            found[whole(number) or 0] = Written(text(key), bodies.reference(run_id, name, serialization, size, head))
    if names & {"DBOS.writeStream", "DBOS.closeStream"} and schema.has("streams", "function_id"):
        for number, key, serialization, size, head, offset in snapshot.rows(_STREAMS, {"run": run_id}):
            name = bodies.name_of("stream", text(key), whole(offset))
            closes = text(head) == STREAM_CLOSED
            payload = None if closes else bodies.reference(run_id, name, serialization, size, head)
            found.setdefault(whole(number) or 0, Written(text(key), payload))
    if "DBOS.recv" in names and schema.has("notifications", "consumed_by_function_id"):
        for number, topic in snapshot.rows(_TOPICS, {"run": run_id}):
            found[whole(number) or 0] = Written("" if topic in (None, NO_TOPIC) else text(topic))
    return found


def _recorded(row: Row) -> Recorded:
    body = row[6]
    return Recorded(
        ordinal=whole(row[0]) or 0,
        name=text(row[1]),
        serialization=optional(row[2]),
        output_size=whole(row[3]),
        output_head=None if row[4] is None else text(row[4]),
        error_size=whole(row[5]),
        error=body if isinstance(body, bytes) or body is None else text(body).encode("utf-8", "surrogatepass"),
        child=optional(row[7]),
        started_at=instant(row[8]),
        completed_at=instant(row[9]),
        inherited=bool(row[10]),
        child_status=None if row[11] is None else text(row[11]),
    )
