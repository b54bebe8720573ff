"""The history of a run. DBOS keeps no log of it, so it is put together from what its tables record, each fact with
its column.

Order: the run's creation, what a fork copied, then facts by the time at which they were recorded, and the end last
(its time may be cut to the second and lie before the last step's). A step is a fact at its end, a sleep at its start:
that is when the row was written. So what comes later is recorded later, and positions stay as they are while a run
goes on.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runs.clock import rfc3339
from runs.engines.dbos import bodies
from runs.engines.dbos.snapshot import Snapshot, composed
from runs.engines.dbos.steps import Recorded, recorded
from runs.engines.dbos.timeouts import wake_up
from runs.engines.dbos.values import instant, milliseconds, optional, text, whole
from runs.engines.dbos.vocabulary import GET_RESULT, NO_TOPIC, SLEEP, STREAM_CLOSED, kind_of, status_of
from runs.records import Cursor, Event, Page, Payload, Status, StepKind

_RUN = composed("""
SELECT s.status, s.name, s.created_at, s.started_at_epoch_ms, {end}, s.queue_name, s.executor_id, s.application_version,
  s.recovery_attempts, s.forked_from, s.delay_until_epoch_ms, s.workflow_deadline_epoch_ms, s.workflow_timeout_ms,
  s.schedule_name, {latest_end}
FROM {schema}workflow_status s WHERE s.workflow_uuid = :run
""")
_VALUES = """
SELECT h.function_id, h.key, h.serialization, octet_length(h.value), substr(h.value, 1, 64)
FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run
"""
_STREAMS = """
SELECT t.function_id, t.key, t."offset", t.serialization, octet_length(t.value), substr(t.value, 1, 64)
FROM {schema}streams t WHERE t.workflow_uuid = :run
"""
_MESSAGES = """
SELECT n.message_uuid, n.topic, n.created_at_epoch_ms, n.consumed_by_function_id, n.serialization,
  octet_length(n.message), substr(n.message, 1, 64)
FROM {schema}notifications n WHERE n.destination_uuid = :run
"""

_EVER = datetime(1, 1, 1, tzinfo=UTC)
_BEGINS, _COPIED, _RUNS, _ENDS = range(4)


@dataclass(slots=True)
class _Fact:
    """An event without its position. ``near`` places a fact that has no time of its own."""

    phase: int
    at: datetime | None
    type: str
    native: str
    data: dict[str, object] = field(default_factory=dict)
    payload: Payload | None = None
    near: datetime | None = None
    rank: int = 0
    order: tuple[int, str] = (0, "")
    step: int | None = None  # whose fact it is

    @property
    def key(self) -> tuple[int, datetime, int, tuple[int, str]]:
        return self.phase, self.near or self.at or _EVER, self.rank, self.order


def events(
    snapshot: Snapshot, run_id: str, after: int | None, limit: int, wanted: frozenset[str] = frozenset()
) -> Page[Event]:
    """The events of a run that exists, from the one after a position; where types are wanted, only those."""
    facts = _facts(snapshot, run_id)
    related = _related(facts)
    found = [
        (position, fact)
        for position, fact in enumerate(facts, 1)
        if position > (after or 0) and (not wanted or fact.type in wanted)
    ]
    shown = tuple(
        Event(
            position=position,
            at=fact.at,
            type=fact.type,
            native=fact.native,
            data=fact.data,
            payload=fact.payload,
            related=related.get(position, ()),
        )
        for position, fact in found[:limit]
    )
    return Page(shown, Cursor(at=shown[-1].position, id=run_id) if shown and len(found) > limit else None)


def types(snapshot: Snapshot, run_id: str) -> tuple[tuple[str, int], ...]:
    """The types of the events of a run that exists, each with their number, most frequent first."""
    counted = Counter(fact.type for fact in _facts(snapshot, run_id))
    return tuple(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def _facts(snapshot: Snapshot, run_id: str) -> list[_Fact]:
    """All of them in their order: the first has position 1."""
    rows = recorded(snapshot, run_id)
    facts = [
        *_own(snapshot, run_id),
        *_steps(run_id, rows),
        *_values(snapshot, run_id, rows),
        *_streams(snapshot, run_id, rows),
        *_messages(snapshot, run_id),
    ]
    return sorted(facts, key=lambda fact: fact.key)


def _related(facts: list[_Fact]) -> dict[int, tuple[int, ...]]:
    """By position those of the same step: its row, what it published and streamed, the message it received."""
    groups: dict[int, list[int]] = {}
    for position, fact in enumerate(facts, 1):
        if fact.step is not None:
            groups.setdefault(fact.step, []).append(position)
    return {
        position: tuple(other for other in group if other != position)
        for group in groups.values()
        for position in group
    }


def payload_of(snapshot: Snapshot, run_id: str, position: int) -> Payload | None:
    """The payload of the event at a position, if it has one."""
    facts = _facts(snapshot, run_id)
    return facts[position - 1].payload if 0 < position <= len(facts) else None


def _own(snapshot: Snapshot, run_id: str) -> list[_Fact]:
    """What the run's own row says."""
    row = snapshot.rows(_RUN, {"run": run_id})[0]
    native, name, queue, executor, version = (text(row[n]) for n in (0, 1, 5, 6, 7))
    made, started, end, delayed, deadline = (instant(row[n]) for n in (2, 3, 4, 10, 11))
    stored = bodies.of_run(snapshot, run_id)
    status = status_of(native)
    known = _known(workflow=name, queue=queue, version=version, forked_from=text(row[9]), schedule=text(row[13]))
    facts = [_Fact(_BEGINS, made, "created", "workflow_status.created_at", known, stored.input)]
    if delayed:
        known = _known(until=rfc3339(delayed))
        facts.append(_Fact(_BEGINS, made, "delayed", "workflow_status.delay_until_epoch_ms", known, rank=1))
    if started:
        known = _known(queue=queue, executor=executor, recovery_attempts=whole(row[8]))
        facts.append(_Fact(_RUNS, started, "started", "workflow_status.started_at_epoch_ms", known))
    if end is None:
        return facts
    if status is Status.CANCELLED and deadline and (latest_end := instant(row[14])) and deadline <= latest_end:
        timeout = milliseconds(row[12])
        known = _known(timeout_seconds=timeout.total_seconds() if timeout else None)
        facts.append(_Fact(_ENDS, deadline, "deadline", "workflow_status.workflow_deadline_epoch_ms", known))
    column = "completed_at" if snapshot.schema.has("workflow_status", "completed_at") else "updated_at"
    payload = stored.error if status is Status.FAILED else stored.output
    last = _Fact(_ENDS, end, status.value, f"workflow_status.{column}", {"status": native}, payload, rank=1)
    # Always last: its own time, cut to the second, may lie before the deadline's.
    last.near = max(end, deadline) if deadline else end
    return [*facts, last]


def _steps(run_id: str, rows: list[Recorded]) -> list[_Fact]:
    return [_step(run_id, row, near) for row, near in zip(rows, _near(rows), strict=True)]


def _near(rows: list[Recorded]) -> list[datetime]:
    """When each row was written; a row without times with the one before it."""
    found: list[datetime] = []
    for row in rows:
        at = _written_at(row)
        found.append(at if at else (found[-1] if found else _EVER))
    return found


def _written_at(row: Recorded) -> datetime | None:
    return row.started_at if row.name == SLEEP else row.completed_at or row.started_at


def _step(run_id: str, row: Recorded, near: datetime) -> _Fact:
    data = _known(step=row.ordinal, name=row.name, kind=kind_of(row.name, row.child).value, child=row.child)
    if row.name == SLEEP:
        type = "sleep started"
        # A timeout's row is an instant: only its output says how long recv or getEvent would wait.
        data |= _known(until=rfc3339(wake_up(row.serialization, row.output_head) or row.completed_at))
    elif kind_of(row.name, row.child) is StepKind.CHILD_RUN and row.name != GET_RESULT:
        type = "child started"
    else:
        type = "step failed" if row.error else "step succeeded"
    slot, size, head = ("error", row.error_size, text((row.error or b"")[: bodies.HEAD])) if row.error else (
        "output", row.output_size, row.output_head,
    )  # fmt: skip
    return _Fact(
        phase=_COPIED if row.inherited else _RUNS,
        at=_written_at(row),
        type=type,
        native="operation_outputs.completed_at_epoch_ms"
        if type != "sleep started"
        else "operation_outputs.started_at_epoch_ms",
        data=data | ({"inherited": True} if row.inherited else {}),
        payload=bodies.reference(run_id, f"step.{row.ordinal}.{slot}", row.serialization, size, head),
        near=near,
        rank=2,
        order=(row.ordinal, ""),
        step=row.ordinal,
    )


def _values(snapshot: Snapshot, run_id: str, rows: list[Recorded]) -> list[_Fact]:
    if not snapshot.schema.has("workflow_events_history"):
        return []
    writers = _writers(rows)
    facts = []
    for number, key, serialization, size, head in snapshot.rows(_VALUES, {"run": run_id}):
        ordinal = whole(number) or 0
        payload = bodies.reference(run_id, bodies.name_of("value", text(key), ordinal), serialization, size, head)
        facts.append(
            _beside(
                writers,
                ordinal,
                "value published",
                "workflow_events_history.value",
                {"key": text(key)},
                payload,
                text(key),
            )
        )
    return facts


def _streams(snapshot: Snapshot, run_id: str, rows: list[Recorded]) -> list[_Fact]:
    if not snapshot.schema.has("streams"):
        return []
    writers = _writers(rows)
    facts = []
    for number, key, offset, serialization, size, head in snapshot.rows(_STREAMS, {"run": run_id}):
        data = _known(key=text(key), offset=whole(offset))
        payload = bodies.reference(
            run_id, bodies.name_of("stream", text(key), whole(offset)), serialization, size, head
        )
        type = "stream closed" if text(head) == STREAM_CLOSED else "stream written"
        place = f"{whole(offset) or 0:020d} {text(key)}"
        facts.append(_beside(writers, whole(number), type, "streams.value", data, payload, place))
    return facts


def _writers(rows: list[Recorded]) -> dict[int, tuple[Recorded, datetime]]:
    return {row.ordinal: (row, near) for row, near in zip(rows, _near(rows), strict=True)}


def _beside(
    writers: dict[int, tuple[Recorded, datetime]],
    ordinal: int | None,
    type: str,
    native: str,
    data: dict[str, object],
    payload: Payload | None,
    place: str,
) -> _Fact:
    """A fact of another table, which has no time: it was written in the step of that number, where the schema says
    which.
    """
    row, near = writers.get(-1 if ordinal is None else ordinal, (None, None))
    return _Fact(
        phase=_COPIED if row and row.inherited else _RUNS,
        at=_written_at(row) if row else None,
        type=type,
        native=native,
        data=_known(step=ordinal) | data,
        payload=payload,
        # What an unfinished step has written so far comes after all that is finished.
        near=near or datetime.max.replace(tzinfo=UTC),
        rank=1,
        order=(0 if ordinal is None else ordinal, place),
        step=ordinal,
    )


def _messages(snapshot: Snapshot, run_id: str) -> list[_Fact]:
    if not snapshot.schema.has("notifications"):
        return []
    facts = []
    for key, topic, at, consumer, serialization, size, head in snapshot.rows(_MESSAGES, {"run": run_id}):
        data = _known(topic=None if topic == NO_TOPIC else optional(topic), received_by=whole(consumer))
        payload = bodies.reference(run_id, bodies.name_of("message", text(key)), serialization, size, head)
        arrived = _Fact(_RUNS, instant(at), "message arrived", "notifications.created_at_epoch_ms", data, payload)
        arrived.order, arrived.step = (0, text(key)), whole(consumer)
        facts.append(arrived)
    return facts


def _known(**data: object) -> dict[str, object]:
    """The pairs that say something."""
    return {name: value for name, value in data.items() if value is not None and value != ""}
