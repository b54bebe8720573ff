"""Rows of workflow_status as Runs: lists by keyset, and the same rows with what their steps say."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from runs.clock import EPOCH
from runs.engines.dbos import bodies, reasons
from runs.engines.dbos.conditions import Condition, arms, beyond
from runs.engines.dbos.snapshot import Row, Snapshot, composed
from runs.engines.dbos.spans import Own, Span, own, spans_of
from runs.engines.dbos.values import instant, optional, text, whole
from runs.engines.dbos.vocabulary import status_of
from runs.engines.retries import READ, Direct, retries
from runs.records import Cursor, ErrorSummary, Retried, Run, Status

ERROR_LIMIT = 64 * 1024  # bytes of an error that are read to summarise it in a list

_COLUMNS = composed("""
SELECT s.workflow_uuid, s.created_at, s.status, s.name, s.recovery_attempts, s.queue_name, s.application_version,
  s.forked_from, {parent}, s.delay_until_epoch_ms, s.workflow_deadline_epoch_ms, {own}
FROM {schema}workflow_status s
""")
_PAGE = _COLUMNS + "WHERE {where} ORDER BY s.created_at DESC, s.workflow_uuid DESC LIMIT :limit"
_BY_ID = _COLUMNS + "WHERE s.workflow_uuid IN {ids}"
_CHILDREN = _COLUMNS + "WHERE s.parent_workflow_id = :run ORDER BY s.created_at, s.workflow_uuid LIMIT :limit"
_FORKS = _COLUMNS + "WHERE s.forked_from = :run ORDER BY s.created_at, s.workflow_uuid LIMIT :limit"
_RETRIES = """
SELECT newest.original, newest.id, newest.status FROM (
  SELECT s.forked_from AS original, s.workflow_uuid AS id, s.status AS status,
    row_number() OVER (PARTITION BY s.forked_from ORDER BY s.created_at DESC, s.workflow_uuid DESC) AS place
  FROM {schema}workflow_status s WHERE s.forked_from IN {ids}) newest
WHERE newest.place <= :most ORDER BY newest.original, newest.place
"""

_ERRORS = composed("""
SELECT s.workflow_uuid, s.serialization, octet_length({error}), substr(CAST({error} AS BLOB), 1, :bytes)
FROM {schema}workflow_status s
LEFT JOIN {schema}workflow_output r ON r.workflow_uuid = s.workflow_uuid
WHERE s.workflow_uuid IN {ids}
""")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One row of workflow_status, without payloads."""

    id: str
    at: Cursor
    own: Own
    native: str
    name: str
    attempts: int | None
    queue: str | None
    version: str | None
    forked_from: str | None
    parent: str | None
    delay_until: datetime | None
    deadline: datetime | None

    @property
    def created_at(self) -> datetime:
        return self.own.created or EPOCH

    @property
    def status(self) -> Status:
        return status_of(self.native)


def page(
    snapshot: Snapshot, found: Condition, statuses: frozenset[Status], after: Cursor | None, limit: int
) -> list[RunRow]:
    """The next rows of a list, newest first, at most ``limit``."""
    placed = beyond(found, after)
    rows: list[RunRow] = []
    for arm in arms(statuses):
        wanted = placed.also(arm)
        if len(rows) == limit:  # no index leads to some statuses: what is older than a full page isn't looked through
            wanted = wanted.also("s.created_at >= :oldest", oldest=rows[-1].at.at)
        sql = _PAGE.replace("{where}", wanted.sql)
        rows.extend(_row(row) for row in snapshot.rows(sql, wanted.params | {"limit": limit}))
        rows = newest_first(rows)[:limit]
    return rows


def newest_first(rows: Iterable[RunRow]) -> list[RunRow]:
    """In the order of a list: by created_at, ties by id."""
    return sorted(rows, key=lambda row: place(row.at), reverse=True)


def place(at: Cursor) -> tuple[bool, str | int, bytes]:
    """A place in a list, comparable as SQLite compares: numbers before text, text by its UTF-8. A later place is a
    smaller one.
    """
    return isinstance(at.at, str), at.at, at.id.encode("utf-8", "surrogatepass")


def by_id(snapshot: Snapshot, ids: Sequence[str]) -> list[RunRow]:
    """The rows of those runs that exist, in no order."""
    return [_row(row) for row in snapshot.rows_of(_BY_ID, ids)]


def children(snapshot: Snapshot, run_id: str, limit: int) -> list[RunRow]:
    """The rows that name this run as their parent, oldest first."""
    if not snapshot.schema.has("workflow_status", "parent_workflow_id"):
        return []
    return [_row(row) for row in snapshot.rows(_CHILDREN, {"run": run_id, "limit": limit})]


def forks(snapshot: Snapshot, run_id: str, limit: int) -> list[RunRow]:
    """The rows that were forked from this run, oldest first."""
    if not snapshot.schema.has("workflow_status", "forked_from"):
        return []
    return [_row(row) for row in snapshot.rows(_FORKS, {"run": run_id, "limit": limit})]


def errors(snapshot: Snapshot, rows: Sequence[RunRow]) -> dict[str, ErrorSummary]:
    """The error of each failed run in one line."""
    failed = [row.id for row in rows if row.status is Status.FAILED]
    found: dict[str, ErrorSummary] = {}
    for run_id, serialization, size, body in snapshot.rows_of(_ERRORS, failed, {"bytes": ERROR_LIMIT}):
        if summary := bodies.summary(serialization, body, size):
            found[text(run_id)] = summary
    return found


def runs(snapshot: Snapshot, rows: Sequence[RunRow]) -> tuple[Run, ...]:
    """The rows as Runs, in their order."""
    reached = spans_of(snapshot, [row.own for row in rows])
    failures = errors(snapshot, rows)
    again = retries([row.id for row in rows], lambda ids: _direct_retries(snapshot, ids))
    waiting = reasons.Reasons(snapshot, [row.id for row in rows if row.status is Status.RUNNING])
    return tuple(_run(row, reached[row.id], failures.get(row.id), again.get(row.id, ()), waiting) for row in rows)


def _direct_retries(snapshot: Snapshot, ids: Sequence[str]) -> Direct:
    """The runs forked from each of those, newest first."""
    found: dict[str, list[Retried]] = {}
    if snapshot.schema.has("workflow_status", "forked_from"):
        for original, run_id, native in snapshot.rows_of(_RETRIES, ids, {"most": READ}):
            found.setdefault(text(original), []).append(Retried(text(run_id), status_of(text(native))))
    return found


def _run(
    row: RunRow, span: Span, error: ErrorSummary | None, again: tuple[Retried, ...], waiting: reasons.Reasons
) -> Run:
    own = row.own
    reason, due_at = waiting.of(
        row.id, row.native, queue=row.queue, version=row.version, attempts=row.attempts, delay_until=row.delay_until,
        deadline=row.deadline, span=span,
    )  # fmt: skip
    return Run(
        id=row.id,
        workflow=row.name,
        status=row.status,
        native_status=row.native,
        created_at=row.created_at,
        started_at=own.started,
        finished_at=own.end,
        duration=span.duration,
        last_event_at=span.newest,
        due_at=due_at,
        attempts=row.attempts,
        steps=span.steps,
        error=error,
        reason=reason,
        parent=row.parent,
        forked_from=row.forked_from,
        retries=again,
        version=row.version,
        queue=row.queue,
        # Python before 3.12 writes a run's own times in whole seconds, and its steps' in milliseconds (dbos: _now_ms_sql).
        coarse=not any(moment.microsecond for moment in (row.created_at, own.updated, own.end) if moment),
    )


def _row(row: Row) -> RunRow:
    run_id = text(row[0])
    at = row[1] if isinstance(row[1], int) else text(row[1])
    return RunRow(
        id=run_id,
        at=Cursor(at=at, id=run_id),
        own=own(run_id, row[11:]),
        native=text(row[2]),
        name=text(row[3]),
        attempts=whole(row[4]),
        queue=optional(row[5]),
        version=optional(row[6]),
        forked_from=optional(row[7]),
        parent=optional(row[8]),
        delay_until=instant(row[9]),
        deadline=instant(row[10]),
    )
