"""Which runs began anew in the place of others, as their metadata says: for lists, and for a filter over the whole file.

Nothing indexes metadata, so it is read of a bounded number of newest top-level runs. Retries that Durascope made, on whatever
machine, are found at any age by the ids it gives them.
"""

from collections.abc import Sequence

from runs.engines.obelisk.executions import Ineligible, retry_id
from runs.engines.obelisk.history import in_chunks
from runs.engines.obelisk.schema import Snapshot, is_old
from runs.engines.obelisk.shapes import text
from runs.engines.obelisk.states import Row
from runs.engines.retries import READ, Direct, retries
from runs.records import UNSUCCESSFUL, Retried, Status
from runs.sources.base import Value

SEARCHED = 250  # newest top-level runs whose metadata a list reads, only those that are newer than what failed in it
FILTERED = 50_000  # newest top-level runs among which the filter looks for retries
NUMBERED = 5  # retries of one run that are looked for by their ids

# Text is looked for before anything is parsed: few runs have it, and params are large.
_AGAIN = """SELECT $retry_of AS original, s.execution_id AS id, $status AS status, s.created_at AS created_at
FROM (SELECT t.execution_id FROM {schema}t_state t WHERE t.is_top_level AND t.created_at >= :oldest
    ORDER BY t.created_at DESC LIMIT :searched) n
JOIN {schema}t_execution_log l ON l.execution_id = n.execution_id AND l.version = 0
JOIN {schema}t_state s ON s.execution_id = n.execution_id
WHERE instr(l.json_value, '"retry-of"') > 0"""

_BY_ID = """SELECT $retry_of, s.execution_id, $status, s.created_at
FROM {schema}t_execution_log l JOIN {schema}t_state s ON s.execution_id = l.execution_id
WHERE l.execution_id IN ($ids) AND l.version = 0"""

_RECOVERED = """($status IN ('failed', 'cancelled') AND s.execution_id IN (
    WITH RECURSIVE again (original, id, status, created_at) AS MATERIALIZED ($again),
    recovered (id) AS (
        SELECT again.original FROM again WHERE again.status = 'succeeded' AND again.original IS NOT NULL
        UNION
        SELECT again.original FROM recovered JOIN again ON again.id = recovered.id WHERE again.original IS NOT NULL)
    SELECT recovered.id FROM recovered))""".replace("$again", _AGAIN)

_ALWAYS = ""  # before every instant


def condition(snapshot: Snapshot, *, recovered: bool) -> tuple[str, dict[str, Value]]:
    """Runs that failed or were cancelled and of which a retry has succeeded, or all others; ``:now`` is one parameter more."""
    if not _tells(snapshot):
        return ("1 = 0" if recovered else "1 = 1"), {}
    return (_RECOVERED if recovered else f"NOT {_RECOVERED}"), {"oldest": _ALWAYS, "searched": FILTERED}


def retries_of(snapshot: Snapshot, rows: Sequence[Row], now: Value) -> dict[str, tuple[Retried, ...]]:
    """The retries of those rows that failed or were cancelled, by id."""
    wanted = [row for row in rows if row.our_status in UNSUCCESSFUL]
    if not wanted or not _tells(snapshot):
        return {}
    params: dict[str, Value] = {"oldest": min(text(row.created_at) for row in wanted), "searched": SEARCHED, "now": now}
    newest = snapshot.rows(_AGAIN, params)
    return retries([row.id for row in wanted], lambda ids: _direct(snapshot, ids, newest, now))


def _direct(snapshot: Snapshot, ids: Sequence[str], newest: Sequence[tuple[Value, ...]], now: Value) -> Direct:
    """What began anew in the place of those, newest first."""
    rows = [*newest, *_numbered(snapshot, ids, now)]
    wanted, found = set(ids), dict[str, dict[str, Retried]]()
    for original, run_id, status, _ in sorted(rows, key=lambda row: text(row[3]), reverse=True):
        if text(original) in wanted and len(known := found.setdefault(text(original), {})) < READ:
            known[text(run_id)] = Retried(text(run_id), Status(text(status)))
    return {original: tuple(known.values()) for original, known in found.items()}


def _numbered(snapshot: Snapshot, ids: Sequence[str], now: Value) -> list[tuple[Value, ...]]:
    """The retries that have our ids. Each took the first id that was free: where the last one is, none comes after it."""
    rows: list[tuple[Value, ...]] = []
    waiting = list(ids)
    for number in range(1, NUMBERED + 1):
        derived = {made: run_id for run_id in waiting if (made := _derived(run_id, number))}
        found: list[tuple[Value, ...]] = []
        for names, params in in_chunks(list(derived)):
            found += snapshot.rows(_BY_ID, params | {"now": now}, ids=names)
        waiting = [derived[text(row[1])] for row in found]
        rows += found
    return rows


def _derived(run_id: str, number: int) -> str:
    try:
        return retry_id(run_id, number)
    except Ineligible:  # no id that the engine makes
        return ""


def _tells(snapshot: Snapshot) -> bool:
    """Whether runs say so in this file: old releases had no metadata of that kind."""
    return not is_old(snapshot.tables) and {"created_at", "is_top_level"} <= snapshot.tables["t_state"].keys()
