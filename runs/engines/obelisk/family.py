"""The runs that a run started, and those begun anew from it."""

from runs.engines.obelisk.history import step_rows
from runs.engines.obelisk.runs import escaped, one, some
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import text
from runs.engines.obelisk.steps import child_of
from runs.records import Relatives

FORKS_SEARCHED = 2_000  # newest top-level runs of the same function: nothing indexes what a run was begun from

_CHILDREN = """SELECT s.execution_id FROM {schema}t_state s
WHERE s.execution_id >= :first AND s.execution_id < :last AND s.execution_id NOT LIKE :deeper ESCAPE '\\'"""

_FORKS = """SELECT s.execution_id FROM (
    SELECT t.execution_id FROM {schema}t_state t WHERE t.ffqn = :ffqn AND t.execution_id <> :id
    ORDER BY t.pending_expires_finished DESC LIMIT :searched) s
JOIN {schema}t_execution_log l ON l.execution_id = s.execution_id AND l.version = 0
WHERE CASE WHEN $valid(l.json_value) THEN $created->'metadata'->>'retry-of' END = :id"""


def relatives(snapshot: Snapshot, run_id: str) -> Relatives:
    """Children have ids derived from its own or were scheduled by it; forks name it in metadata. Raises RunNotFound."""
    run, _ = one(snapshot, run_id)
    like = escaped(run_id)
    params = {"first": f"{run_id}.", "last": f"{run_id}.\U0010ffff", "deeper": f"{like}.%.%"}
    children = [text(child) for (child,) in snapshot.rows(_CHILDREN, params)]
    scheduled = [child_of(row) for row in step_rows(snapshot, run_id) if row.kind == "schedule"]
    forks = snapshot.rows(_FORKS, {"ffqn": run.workflow, "id": run_id, "searched": FORKS_SEARCHED})
    return Relatives(
        children=tuple(some(snapshot, list(dict.fromkeys(children + scheduled)))),
        forks=tuple(some(snapshot, [text(fork) for (fork,) in forks])),
    )
