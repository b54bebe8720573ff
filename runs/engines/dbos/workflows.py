"""The workflows of a file: how many runs, how many failed, how long they take, their newest error."""

from datetime import timedelta

from runs.engines.dbos import listing
from runs.engines.dbos.conditions import arms
from runs.engines.dbos.snapshot import Row, Snapshot
from runs.engines.dbos.spans import spans
from runs.engines.dbos.values import instant, text, whole
from runs.engines.statistics import RUNS_SEARCHED, durations_note, newest_of_each, percentile, too_many
from runs.records import Cell, ErrorSummary, Section, Status

MOST = 500  # rows of the section

_FAILED = " OR ".join(arms(frozenset({Status.FAILED})))

_COUNTED = """
SELECT s.name, s.class_name, count(*), sum(CASE WHEN {failed} THEN 1 ELSE 0 END), max(s.created_at)
FROM {schema}workflow_status s GROUP BY s.name, s.class_name ORDER BY count(*) DESC, s.name, s.class_name LIMIT :limit
""".replace("{failed}", _FAILED)
_NEWEST = """
SELECT ranked.name, ranked.class_name, ranked.workflow_uuid FROM (
  SELECT s.name AS name, s.class_name AS class_name, s.workflow_uuid,
    row_number() OVER (PARTITION BY s.name, s.class_name ORDER BY s.created_at DESC, s.workflow_uuid DESC) AS place
  FROM (SELECT s.workflow_uuid, s.name AS name, s.class_name AS class_name, s.created_at
    FROM {schema}workflow_status s WHERE {which} ORDER BY s.created_at DESC LIMIT :searched) s) ranked
WHERE ranked.place <= :newest
"""

_Key = tuple[str, str]  # name and class


def workflows(snapshot: Snapshot) -> Section:
    """One row for each name and class, most runs first."""
    counted = snapshot.rows(_COUNTED, {"limit": MOST})
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
    columns = ("workflow", "class", "runs", "failed", "p50", "p95", "newest error", "newest run")
    words = note or durations_note(newest, total)
    more = f" The first {MOST:,} are shown." if len(rows) >= MOST else ""
    return Section("workflows", "Workflows", columns, tuple(cells), words + more)


def _durations(snapshot: Snapshot, newest: int) -> dict[_Key, list[timedelta]]:
    """How long the newest runs of each took that succeeded, as lists of runs say."""
    sql = _NEWEST.replace("{which}", "s.status = 'SUCCESS'")
    rows = snapshot.rows(sql, {"newest": newest, "searched": RUNS_SEARCHED})
    reached = spans(snapshot, [text(row[2]) for row in rows])
    found: dict[_Key, list[timedelta]] = {}
    for row in rows:
        span = reached.get(text(row[2]))
        if span is not None and span.duration is not None:
            found.setdefault(_key(row), []).append(span.duration)
    return found


def _newest_errors(snapshot: Snapshot) -> dict[_Key, ErrorSummary]:
    rows = snapshot.rows(_NEWEST.replace("{which}", _FAILED), {"newest": 1, "searched": RUNS_SEARCHED})
    keys = {text(row[2]): _key(row) for row in rows}
    errors = listing.errors(snapshot, listing.by_id(snapshot, list(keys)))
    return {keys[run_id]: error for run_id, error in errors.items()}


def _key(row: Row) -> _Key:
    return text(row[0]), text(row[1])
