"""How long functions usually take as children, and runs in equal parts of a window."""

from collections.abc import Collection

from runs.clock import to_epoch_us
from runs.engines.obelisk.runs import conditions, present
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import instant, whole
from runs.engines.statistics import NAMES, NEWEST, spread, usual
from runs.filters import Filter
from runs.records import Histogram, Usual

SEARCHED = 5_000  # newest executions of a function, among which its finished children are looked for

# The index on ffqn has the executions of one function in the order in which they were written.
_DURATIONS = """SELECT (SELECT min(l.created_at) FROM {schema}t_execution_log l
    WHERE l.execution_id = s.execution_id AND l.variant = 'locked'), s.pending_expires_finished
FROM (SELECT t.rowid AS place FROM {schema}t_state t WHERE t.ffqn = :ffqn ORDER BY t.rowid DESC LIMIT :searched) n
JOIN {schema}t_state s ON s.rowid = n.place
WHERE $state = 'finished' AND $status = 'succeeded' AND NOT ($top)
ORDER BY s.pending_expires_finished DESC LIMIT :limit"""

_BOUNDS = "SELECT min($created_at), max($created_at) FROM {schema}t_state s WHERE $where"

# Microseconds since 1970: whole seconds, and six of the up to nine digits after them.
_MICROSECONDS = """CAST(strftime('%s', substr(n.created_at, 1, 19)) AS INTEGER) * 1000000
    + CAST(substr(replace(replace(n.created_at, '+00:00', ''), 'Z', '') || '0000000', 21, 6) AS INTEGER)"""

_PARTS = """SELECT ($microseconds - :start) * :parts / :width AS part, count(*),
    sum(CASE WHEN n.status = 'failed' THEN 1 ELSE 0 END)
FROM (SELECT $created_at AS created_at, $status AS status FROM {schema}t_state s WHERE $where) n GROUP BY part"""


def usual_durations(snapshot: Snapshot, names: Collection[str]) -> dict[str, Usual]:
    """By function: of the children that returned a value, the time from their first lock to their end."""
    found: dict[str, Usual] = {}
    for name in sorted(names)[:NAMES]:
        params = present(snapshot) | {"ffqn": name, "searched": SEARCHED, "limit": NEWEST}
        times = [(instant(first), instant(end)) for first, end in snapshot.rows(_DURATIONS, params)]
        if says := usual([end - first for first, end in times if first is not None and end is not None]):
            found[name] = says
    return found


def histogram(snapshot: Snapshot, where: Filter, parts: int) -> Histogram:
    """The runs that ``counts`` counts under the same statuses."""
    if where.queue:
        return Histogram()
    condition, params = conditions(snapshot, where, statuses=True)
    low, high = (instant(value) for value in snapshot.rows(_BOUNDS, params, where=condition)[0])
    start, end = where.since or low, where.until or high
    if low is None or start is None or end is None:
        return Histogram()
    end = max(end, start)
    width = max(to_epoch_us(end) - to_epoch_us(start), 1)
    params |= {"start": to_epoch_us(start), "width": width, "parts": parts}
    rows = snapshot.rows(_PARTS, params, where=condition, microseconds=_MICROSECONDS)
    counted = [(part, whole(number) or 0, whole(failed) or 0) for part, number, failed in rows]
    return Histogram(start=start, end=end, parts=spread(counted, parts))
