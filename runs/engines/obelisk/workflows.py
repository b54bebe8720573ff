"""The functions of a file: how many runs, how many failed, how long they take, their newest error."""

from datetime import timedelta

from runs.engines.obelisk.runs import present, some
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import instant, text, whole
from runs.engines.statistics import RUNS_SEARCHED, durations_note, newest_of_each, percentile, too_many
from runs.records import Cell, ErrorSummary, Section
from runs.sources.base import Value

_COUNTED = """SELECT s.ffqn, $component_type, count(*),
    sum(CASE WHEN $status = 'failed' THEN 1 ELSE 0 END), max($created_at)
FROM {schema}t_state s GROUP BY 1, 2 ORDER BY 3 DESC, 1"""

_NEWEST = """SELECT n.ffqn, n.kind, n.execution_id, n.created_at, n.finished_at FROM (
    SELECT m.ffqn, m.kind, m.execution_id, m.created_at, m.finished_at,
        row_number() OVER (PARTITION BY m.ffqn, m.kind ORDER BY m.created_at DESC, m.execution_id DESC) AS place
    FROM (SELECT s.ffqn, $component_type AS kind, s.execution_id, $created_at AS created_at,
            s.pending_expires_finished AS finished_at
        FROM {schema}t_state s WHERE $state = 'finished' AND $status = :status
        ORDER BY $created_at DESC LIMIT :searched) m) n
WHERE n.place <= :newest"""

_Key = tuple[str, str]  # function and component type


def workflows(snapshot: Snapshot) -> Section:
    """One row for each function and type of component, most runs first."""
    counted = snapshot.rows(_COUNTED, present(snapshot))
    rows = [(_key(row), whole(row[2]) or 0, whole(row[3]) or 0, instant(row[4])) for row in counted]
    total = sum(runs for _, runs, _, _ in rows)
    note = too_many(len(rows), total)
    newest = newest_of_each(len(rows))
    durations = {} if note else _durations(snapshot, newest)
    errors = {} if note else _newest_errors(snapshot)
    cells: list[tuple[Cell, ...]] = []
    for key, runs, failed, last in rows:
        took = sorted(durations.get(key, ()))
        cells.append((*key, runs, failed, percentile(took, 0.5), percentile(took, 0.95), errors.get(key), last))
    columns = ("function", "component type", "runs", "failed", "p50", "p95", "newest error", "newest run")
    return Section("workflows", "Functions", columns, tuple(cells), note or durations_note(newest, total))


def _durations(snapshot: Snapshot, newest: int) -> dict[_Key, list[timedelta]]:
    """How long the newest runs of each took that returned a value, as lists of runs say."""
    found: dict[_Key, list[timedelta]] = {}
    for row in snapshot.rows(
        _NEWEST, present(snapshot) | {"status": "succeeded", "newest": newest, "searched": RUNS_SEARCHED}
    ):
        first, last = instant(row[3]), instant(row[4])
        if first is not None and last is not None:
            found.setdefault(_key(row), []).append(last - first)
    return found


def _newest_errors(snapshot: Snapshot) -> dict[_Key, ErrorSummary]:
    rows = snapshot.rows(_NEWEST, present(snapshot) | {"status": "failed", "newest": 1, "searched": RUNS_SEARCHED})
    keys = {text(row[2]): _key(row) for row in rows}
    return {keys[run.id]: run.error for run in some(snapshot, list(keys)) if run.error is not None}


def _key(row: tuple[Value, ...]) -> _Key:
    return text(row[0]), text(row[1])
