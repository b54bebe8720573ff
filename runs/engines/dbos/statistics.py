"""How long steps usually take, and runs in equal parts of a window."""

from collections.abc import Collection
from datetime import timedelta

from runs.clock import to_epoch_us
from runs.engines.base import latest
from runs.engines.dbos import search
from runs.engines.dbos.conditions import Condition, arms, condition, prefixed
from runs.engines.dbos.snapshot import Snapshot, composed
from runs.engines.dbos.spans import spans
from runs.engines.dbos.values import created, instant, text, whole
from runs.engines.dbos.vocabulary import kind_of
from runs.engines.statistics import NAMES, NEWEST, spread, usual
from runs.filters import Filter
from runs.records import Histogram, Status, StepKind, Usual

SEARCHED = 50_000  # newest steps among which those of a name are looked for
RUNS_SEARCHED = 2_000  # newest runs whose steps are looked at where completed_at has no index
LARGEST = 256 * 1024  # bytes of an output: a step's times lie behind it in the file, a larger one is left out

_WITHOUT_USUAL = frozenset({StepKind.SLEEP, StepKind.MESSAGE})
_FAILED = frozenset({Status.FAILED})

_SINCE = """
SELECT min(o.completed_at_epoch_ms) FROM (SELECT o.completed_at_epoch_ms FROM {schema}operation_outputs o
  WHERE o.completed_at_epoch_ms IS NOT NULL ORDER BY o.completed_at_epoch_ms DESC LIMIT :searched) o
"""
# The index on (completed_at_epoch_ms, function_name) came with 2.20, as the table queues did.
_BY_TIME = "o.completed_at_epoch_ms >= :since"
_BY_RUN = """o.workflow_uuid IN (SELECT p.workflow_uuid FROM {schema}workflow_status p
  ORDER BY p.created_at DESC LIMIT :searched)"""
_DURATIONS = """
SELECT o.child_workflow_id, o.started_at_epoch_ms, o.completed_at_epoch_ms
FROM {schema}operation_outputs o
JOIN {schema}workflow_status s ON s.workflow_uuid = o.workflow_uuid
LEFT JOIN {schema}operation_outputs f ON f.workflow_uuid = s.forked_from AND f.function_id = o.function_id
LEFT JOIN {schema}workflow_status p ON p.workflow_uuid = o.child_workflow_id
WHERE o.function_name = :name AND {which} AND COALESCE(octet_length(o.output), 0) <= :largest
  AND o.started_at_epoch_ms IS NOT NULL AND NULLIF(o.error, '') IS NULL
  AND (o.child_workflow_id IS NULL OR p.status = 'SUCCESS') AND CASE WHEN {inherited} THEN 0 ELSE 1 END
ORDER BY o.completed_at_epoch_ms DESC LIMIT :limit
"""
_NEWEST_BY_TIME = composed(_DURATIONS.replace("{which}", _BY_TIME))
_NEWEST_BY_RUN = composed(_DURATIONS.replace("{which}", _BY_RUN))

_BOUNDS = """
SELECT min(CAST(s.created_at AS BIGINT)), max(CAST(s.created_at AS BIGINT)) FROM {schema}workflow_status s WHERE {where}
"""
_PARTS = """
SELECT CAST((CAST(s.created_at AS BIGINT) * 1000 - :start) * :parts / :width AS BIGINT) AS part, count(*),
  sum(CASE WHEN {failed} THEN 1 ELSE 0 END)
FROM {schema}workflow_status s WHERE {where} GROUP BY part
""".replace("{failed}", " OR ".join(arms(_FAILED)))


def usual_durations(snapshot: Snapshot, names: Collection[str]) -> dict[str, Usual]:
    """By name of a step. One that starts a child takes as long as the child does, as its row in a run shows."""
    schema = snapshot.schema
    timed = {"started_at_epoch_ms", "completed_at_epoch_ms"} <= schema.tables["operation_outputs"].keys()
    wanted = [name for name in sorted(names) if kind_of(name, None) not in _WITHOUT_USUAL][:NAMES]
    if not timed or not wanted:
        return {}
    params = {"largest": LARGEST, "limit": NEWEST, "searched": RUNS_SEARCHED}
    sql = _NEWEST_BY_RUN
    if schema.has("queues"):
        since = snapshot.rows(_SINCE, {"searched": SEARCHED})[0][0]
        params = {"largest": LARGEST, "limit": NEWEST, "since": whole(since) or 0}
        sql = _NEWEST_BY_TIME
    found = {name: usual(_durations(snapshot, sql, {**params, "name": name})) for name in wanted}
    return {name: says for name, says in found.items() if says is not None}


def _durations(snapshot: Snapshot, sql: str, params: dict[str, int | str]) -> list[timedelta]:
    own_work = str(params["name"]).startswith("DBOS.")
    rows = snapshot.rows(sql, params)
    children = spans(snapshot, [] if own_work else sorted({text(child) for child, _, _ in rows if child is not None}))
    found: list[timedelta] = []
    for child, started_at, completed_at in rows:
        started, finished = instant(started_at), instant(completed_at)
        if child is not None and not own_work:
            span = children.get(text(child))
            finished = latest(span.last, started) if span else None
        if started is not None and finished is not None:
            found.append(finished - started)
    return found


def histogram(snapshot: Snapshot, where: Filter, parts: int) -> Histogram:
    """The runs that ``counts`` counts under the same statuses. A created_at that is no time is 1970, as in lists."""
    found = condition(where)
    # An error's text can't be searched in SQL: those runs come one by one.
    by_error = []
    if where.q and (not where.statuses or Status.FAILED in where.statuses):
        by_error = search.matches(snapshot, found, where.q)
    listed = prefixed(found, where.q) if where.q else found
    listed = listed.also(f"({' OR '.join(arms(where.statuses))})")
    low, high = snapshot.rows(_BOUNDS.replace("{where}", listed.sql), listed.params)[0]
    instants = [created(value) for value in (low, high) if value is not None] + [row.created_at for row in by_error]
    if not instants:
        return Histogram()
    start = where.since or min(instants)
    end = max(where.until or max(instants), start)
    width = max(to_epoch_us(end) - to_epoch_us(start), 1)
    counted = _counted(snapshot, listed, {"start": to_epoch_us(start), "width": width, "parts": parts})
    counted += [((to_epoch_us(row.created_at) - to_epoch_us(start)) * parts // width, 1, 1) for row in by_error]
    return Histogram(start=start, end=end, parts=spread(counted, parts))


def _counted(snapshot: Snapshot, listed: Condition, window: dict[str, int]) -> list[tuple[object, int, int]]:
    rows = snapshot.rows(_PARTS.replace("{where}", listed.sql), listed.params | window)
    return [(part, whole(number) or 0, whole(failed) or 0) for part, number, failed in rows]
