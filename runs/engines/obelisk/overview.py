"""One database in numbers, and the names that its filters know."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from runs import clock
from runs.engines.base import latest
from runs.engines.obelisk.runs import counts, one, present
from runs.engines.obelisk.schema import Snapshot, revision
from runs.engines.obelisk.shapes import hexadecimal, instant, text, whole
from runs.engines.obelisk.states import DIGEST_SHOWN
from runs.filters import Filter
from runs.records import Names, Overview, Run, Status

WINDOW = timedelta(hours=24)
PARTS = 24
BEFORE_LAST = timedelta(
    minutes=1
)  # t_state.updated_at is the time of the write, in whole seconds, a little after the event's

_NEWEST_RUN = "SELECT max($created_at) FROM {schema}t_state s"
_LAST_UPDATE = "SELECT max($updated_at) FROM {schema}t_state s"
_LAST_EVENT = """SELECT max(l.created_at)
FROM {schema}t_state s JOIN {schema}t_execution_log l ON l.execution_id = s.execution_id
WHERE $updated_at >= :updated
    AND l.version = (SELECT max(m.version) FROM {schema}t_execution_log m WHERE m.execution_id = s.execution_id)"""
_LAST_OF_ALL = "SELECT max(l.created_at) FROM {schema}t_execution_log l"
_LAST_LOG = "SELECT g.created_at FROM {schema}t_log g ORDER BY g.id DESC LIMIT 1"

_FAILURES = """SELECT s.pending_expires_finished FROM {schema}t_state s
WHERE $state = 'finished' AND s.pending_expires_finished > :begin AND $status = 'failed'"""

_NEWEST = """SELECT s.execution_id FROM {schema}t_state s WHERE $state = 'finished' AND $status = 'failed'
ORDER BY s.pending_expires_finished DESC, s.execution_id DESC LIMIT 1"""

_WORKFLOWS = "SELECT s.ffqn, count(*) FROM {schema}t_state s GROUP BY s.ffqn ORDER BY 2 DESC, 1"
_VERSIONS = "SELECT $digest, count(*) FROM {schema}t_state s GROUP BY 1 ORDER BY 2 DESC, 1"


def overview(snapshot: Snapshot) -> Overview:
    """Counts over all runs; failures of the 24 hours before now, or before the last event of an older file."""
    by_status = counts(snapshot, Filter())
    last_event_at = _last_event_at(snapshot)
    window_end = clock.now()
    if last_event_at is not None and window_end - last_event_at > WINDOW:
        window_end = last_event_at
    window_start = window_end - WINDOW
    return Overview(
        runs=by_status,
        newest_run_at=instant(snapshot.rows(_NEWEST_RUN)[0][0]),
        last_event_at=last_event_at,
        window_start=window_start,
        window_end=window_end,
        failures=_failures(snapshot, window_start, window_end),
        newest_error=_newest_error(snapshot) if by_status.get(Status.FAILED) else None,
        problems=_problems(snapshot, by_status),
    )


def names(snapshot: Snapshot) -> Names:
    """Functions, and component digests as versions, each with its number of runs."""
    workflows = tuple((text(name), whole(number) or 0) for name, number in snapshot.rows(_WORKFLOWS))
    versions = snapshot.rows(_VERSIONS)
    return Names(
        workflows=workflows,
        versions=tuple(
            (hexadecimal(digest)[:DIGEST_SHOWN], whole(number) or 0) for digest, number in versions if digest
        ),
    )


def _last_event_at(snapshot: Snapshot) -> datetime | None:
    """The newest row of the log, found through the executions that were written last: the log has no index by time."""
    updated = instant(snapshot.rows(_LAST_UPDATE)[0][0])
    found = None
    if updated is not None:
        since = (updated - BEFORE_LAST).strftime("%Y-%m-%d %H:%M:%S")
        found = instant(snapshot.rows(_LAST_EVENT, {"updated": since})[0][0])
    if found is None:
        found = instant(snapshot.rows(_LAST_OF_ALL)[0][0])
    logged = snapshot.rows(_LAST_LOG) if "id" in snapshot.tables.get("t_log", {}) else []
    return latest(found, *(instant(row[0]) for row in logged))


def _failures(snapshot: Snapshot, start: datetime, end: datetime) -> tuple[int, ...]:
    """How many runs failed in each of the parts of the window, oldest first; the end belongs to the last."""
    found = [0] * PARTS
    params = present(snapshot) | {"begin": snapshot.reader.instant(start)}
    for (value,) in snapshot.rows(_FAILURES, params):
        at = instant(value)
        if at is not None and start <= at <= end:
            found[min(int((at - start) / (WINDOW / PARTS)), PARTS - 1)] += 1
    return tuple(found)


def _newest_error(snapshot: Snapshot) -> Run | None:
    rows = snapshot.rows(_NEWEST, present(snapshot))
    return one(snapshot, text(rows[0][0]))[0] if rows else None


def _problems(snapshot: Snapshot, by_status: Mapping[Status, int]) -> tuple[str, ...]:
    problems = [revision(snapshot).problem]
    if unknown := by_status.get(Status.UNKNOWN):
        problems.append(f"{unknown:,} {'run is' if unknown == 1 else 'runs are'} in a state that is not known.")
    return tuple(problem for problem in problems if problem)
