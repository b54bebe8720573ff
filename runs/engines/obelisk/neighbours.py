"""The runs of the same function just before and after one."""

from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import text
from runs.errors import RunNotFound
from runs.records import Neighbours
from runs.sources.base import Value

# No index has functions by time: so many runs to each side are looked through, by created_at.
WINDOWS = (500, 50_000)

_PLACE = "SELECT $created_at, s.ffqn, $top FROM {schema}t_state s WHERE s.execution_id = :id"

_BESIDE = """SELECT n.execution_id FROM (
    SELECT s.execution_id, s.ffqn, $created_at AS created_at, $top AS top FROM {schema}t_state s
    WHERE ($created_at, s.execution_id) $sign (:at, :id)
    ORDER BY $created_at $way, s.execution_id $way LIMIT :searched) n
WHERE n.ffqn = :ffqn AND (n.top OR NOT :top) ORDER BY n.created_at $way, n.execution_id $way LIMIT 1"""


def neighbours(snapshot: Snapshot, run_id: str) -> Neighbours:
    """Of a run at the top level only such runs. Raises RunNotFound."""
    rows = snapshot.rows(_PLACE, {"id": run_id})
    if not rows:
        raise RunNotFound(f"{run_id!r} is not in it.")
    created_at, ffqn, top = rows[0]
    params = {"id": run_id, "at": created_at, "ffqn": ffqn, "top": top}
    return Neighbours(
        previous=_nearest(snapshot, params, sign="<", way="DESC"), next=_nearest(snapshot, params, sign=">", way="ASC")
    )


def _nearest(snapshot: Snapshot, params: dict[str, Value], *, sign: str, way: str) -> str | None:
    for searched in WINDOWS:
        if found := snapshot.rows(_BESIDE, params | {"searched": searched}, sign=sign, way=way):
            return text(found[0][0])
    return None
