"""What a retry is planned from: one run's row, its steps, its earlier retries, and the guards that say so in words."""

import re
from dataclasses import dataclass
from datetime import datetime

from runs import payloads
from runs.clock import rfc3339
from runs.engines.dbos import bodies
from runs.engines.dbos.schema import ONLY_1X
from runs.engines.dbos.snapshot import Snapshot, composed
from runs.engines.dbos.values import instant, optional, text, whole
from runs.engines.dbos.vocabulary import status_of
from runs.records import ErrorSummary, Status
from runs.retry import Clock, Now
from runs.sources.base import Value

ERROR_LIMIT = 64 * 1024  # bytes of an error that are read to summarise it
FORKS = 1000  # forks of one run that are looked at
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")

_ORIGIN = composed("""
SELECT s.status, s.name, s.class_name, s.config_name, s.application_version, s.application_name, s.queue_name, {parent},
  s.forked_from, s.workflow_timeout_ms, s.workflow_deadline_epoch_ms, s.updated_at, s.serialization,
  octet_length({error}), substr(CAST({error} AS BLOB), 1, :bytes), i.inputs IS NOT NULL, s.inputs IS NOT NULL
FROM {schema}workflow_status s
LEFT JOIN {schema}workflow_input i ON i.workflow_uuid = s.workflow_uuid
LEFT JOIN {schema}workflow_output r ON r.workflow_uuid = s.workflow_uuid
WHERE s.workflow_uuid = :run
""")
_STEPS = composed("""
SELECT o.function_id, o.function_name, o.started_at_epoch_ms, o.completed_at_epoch_ms,
  NULLIF(o.error, '') IS NOT NULL, CAST(o.error AS BLOB) = CAST({error} AS BLOB), o.child_workflow_id, p.status
FROM {schema}operation_outputs o
JOIN {schema}workflow_status s ON s.workflow_uuid = o.workflow_uuid
LEFT JOIN {schema}workflow_output r ON r.workflow_uuid = s.workflow_uuid
LEFT JOIN {schema}workflow_status p ON p.workflow_uuid = o.child_workflow_id
WHERE o.workflow_uuid = :run
ORDER BY o.function_id
""")
# Steps of 1.x and 2.x that are transactions: they have no time but that of their recording.
_TRANSACTIONS = composed("""
SELECT x.function_id, x.function_name, NULL, NULL,
  NULLIF(x.error, '') IS NOT NULL, CAST(x.error AS BLOB) = CAST({error} AS BLOB), NULL, NULL
FROM {schema}transaction_outputs x
JOIN {schema}workflow_status s ON s.workflow_uuid = x.workflow_uuid
LEFT JOIN {schema}workflow_output r ON r.workflow_uuid = s.workflow_uuid
WHERE x.workflow_uuid = :run
ORDER BY x.function_id
""")
_ERROR = """
SELECT o.serialization, octet_length(o.error), substr(CAST(o.error AS BLOB), 1, :bytes)
FROM {schema}operation_outputs o WHERE o.workflow_uuid = :run AND o.function_id = :ordinal
"""
_FORKS = "SELECT s.workflow_uuid, s.status FROM {schema}workflow_status s WHERE s.forked_from = :run LIMIT :limit"
_NUMBERED = """
SELECT s.workflow_uuid, s.status FROM {schema}workflow_status s
WHERE s.workflow_uuid >= :first AND s.workflow_uuid < :after
"""
_MADE_AT = _NUMBERED + "AND s.created_at = :moment"
_COUNTS = {
    "operation_outputs": "SELECT count(*) FROM {schema}operation_outputs o WHERE o.workflow_uuid = :run",
    ONLY_1X: "SELECT count(*) FROM {schema}transaction_outputs x WHERE x.workflow_uuid = :run",
    "workflow_events": "SELECT count(*) FROM {schema}workflow_events v WHERE v.workflow_uuid = :run",
    "workflow_events_history": "SELECT count(*) FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run",
    "streams": "SELECT count(*) FROM {schema}streams t WHERE t.workflow_uuid = :run",
    "workflow_input": "SELECT count(*) FROM {schema}workflow_input i WHERE i.workflow_uuid = :run",
    "workflow_output": "SELECT count(*) FROM {schema}workflow_output r WHERE r.workflow_uuid = :run",
}


@dataclass(frozen=True, slots=True)
class Told:
    """An error in one line, and the form it is stored in: ``py_pickle``, ``portable_json`` …"""

    summary: ErrorSummary
    form: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The run that failed. ``timed``: it had a timeout or a deadline."""

    id: str
    native: str
    name: str
    class_name: str | None
    config_name: str | None
    version: str | None
    application: str | None
    queue: str | None
    parent: str | None
    forked_from: str | None
    timed: bool
    updated_at: datetime | None
    error: Told | None
    input_row: bool
    input_column: bool

    @property
    def status(self) -> Status:
        return status_of(self.native)


@dataclass(frozen=True, slots=True)
class StepRow:
    """One recorded step. ``fatal``: its error is the run's, byte by byte. ``transaction``: it lies in transaction_outputs."""

    ordinal: int
    name: str
    started_at: datetime | None
    completed_at: datetime | None
    failed: bool
    fatal: bool
    child: str | None
    child_native: str | None
    transaction: bool = False

    @property
    def child_status(self) -> Status | None:
        return None if self.child_native is None else status_of(self.child_native)

    @property
    def starts_child(self) -> bool:
        return self.child is not None and not self.name.startswith("DBOS.")


def origin(snapshot: Snapshot, run_id: str) -> Origin | None:
    """The run's own row; None where there is none."""
    rows = snapshot.rows(_ORIGIN, {"run": run_id, "bytes": ERROR_LIMIT})
    if not rows:
        return None
    row = rows[0]
    return Origin(
        id=run_id,
        native=text(row[0]),
        name=text(row[1]),
        class_name=optional(row[2]),
        config_name=optional(row[3]),
        version=optional(row[4]),
        application=optional(row[5]),
        queue=optional(row[6]),
        parent=optional(row[7]),
        forked_from=optional(row[8]),
        timed=row[9] is not None or row[10] is not None,
        updated_at=instant(row[11]),
        error=_told(row[12], row[14], row[13]),
        input_row=bool(row[15]),
        input_column=bool(row[16]),
    )


def steps(snapshot: Snapshot, run_id: str) -> list[StepRow]:
    """The recorded steps by ordinal, transactions of 1.x among them."""
    found = [_step(row, transaction=False) for row in snapshot.rows(_STEPS, {"run": run_id})]
    if snapshot.schema.has(ONLY_1X):
        found += [_step(row, transaction=True) for row in snapshot.rows(_TRANSACTIONS, {"run": run_id})]
    return sorted(found, key=lambda step: step.ordinal)


def error_of(snapshot: Snapshot, run_id: str, ordinal: int) -> Told | None:
    """A step's error."""
    rows = snapshot.rows(_ERROR, {"run": run_id, "ordinal": ordinal, "bytes": ERROR_LIMIT})
    return _told(rows[0][0], rows[0][2], rows[0][1]) if rows else None


def _told(serialization: Value, body: Value, size: Value) -> Told | None:
    summary = bodies.summary(serialization, body, size)
    head = text(body[: bodies.HEAD] if isinstance(body, bytes | str) else body)
    return None if summary is None else Told(summary, payloads.sniff(optional(serialization), head))


def numbered(snapshot: Snapshot, run_id: str) -> dict[str, str]:
    """The runs whose id says that they are a retry of this one, ``<id>.retry-<n>``, and their native status."""
    return _ours(snapshot, _NUMBERED, run_id)


def made_at(snapshot: Snapshot, run_id: str, moment: datetime) -> str:
    """The retry of this run whose rows carry that moment, among those whose id says that they are one; empty where none does."""
    return next(iter(_ours(snapshot, _MADE_AT, run_id, moment=Now(Clock.EPOCH_MS).at(moment))), "")


def next_id(snapshot: Snapshot, run_id: str) -> str:
    """The first ``<id>.retry-<n>`` that is not taken."""
    taken, number = numbered(snapshot, run_id), 1
    while f"{run_id}.retry-{number}" in taken:
        number += 1
    return f"{run_id}.retry-{number}"


def standing(snapshot: Snapshot, run_id: str) -> tuple[str, Status] | None:
    """A fork of the run, or a fork of one, that has succeeded or may yet do so. Schemas before 2.4 know only our ids."""
    seen, ahead = {run_id}, [run_id]
    waiting: tuple[str, Status] | None = None
    while ahead:
        current = ahead.pop()
        found = numbered(snapshot, current)
        if snapshot.schema.has("workflow_status", "forked_from"):
            rows = snapshot.rows(_FORKS, {"run": current, "limit": FORKS})
            found |= {text(retry): text(native) for retry, native in rows}
        for retry, native in sorted(found.items()):
            status = status_of(native)
            if status is Status.SUCCEEDED:
                return retry, status
            if not status.finished:
                waiting = waiting or (retry, status)
            if retry not in seen:
                seen.add(retry)
                ahead.append(retry)
    return waiting


def guards(snapshot: Snapshot, run: Origin) -> tuple[str, ...]:
    """What the plan relies on, in words: the run's status, when it last changed, and how much of it is recorded."""
    counts = {
        table: whole(snapshot.rows(sql, {"run": run.id})[0][0])
        for table, sql in _COUNTS.items()
        if snapshot.schema.has(table)
    }
    recorded = ", ".join(f"{count:,} in {table}" for table, count in counts.items() if count)
    return (
        f"{run.id} is {run.native}, last changed {rfc3339(run.updated_at) or 'at an unknown time'}",
        f"{run.id} has {recorded or 'nothing'} recorded",
    )


def _ours(snapshot: Snapshot, sql: str, run_id: str, **params: Value) -> dict[str, str]:
    prefix = f"{run_id}.retry-"
    rows = snapshot.rows(sql, {"first": f"{prefix}0", "after": f"{prefix}:"} | params)  # ':' follows '9'
    return {text(retry): text(native) for retry, native in rows if _NUMBER.fullmatch(text(retry).removeprefix(prefix))}


def _step(row: tuple[Value, ...], *, transaction: bool) -> StepRow:
    ordinal = whole(row[0])
    return StepRow(
        ordinal=-1 if ordinal is None else ordinal,
        name=text(row[1]),
        started_at=instant(row[2]),
        completed_at=instant(row[3]),
        failed=bool(row[4]),
        fatal=bool(row[4]) and bool(row[5]),
        child=optional(row[6]),
        child_native=None if row[7] is None else text(row[7]),
        transaction=transaction,
    )
