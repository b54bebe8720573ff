"""The runs of the same workflow just before and after one."""

from runs.engines.dbos.snapshot import Snapshot, composed
from runs.engines.dbos.values import text
from runs.errors import RunNotFound
from runs.records import Neighbours
from runs.sources.base import Value

# No index leads to the runs of a workflow: so many runs to each side are looked through, by created_at.
WINDOWS = (500, 50_000)

_PLACE = composed("""
SELECT s.created_at, s.name, {parent} IS NULL FROM {schema}workflow_status s WHERE s.workflow_uuid = :run
""")
_BESIDE = """
SELECT s.workflow_uuid FROM (
  SELECT p.workflow_uuid, p.created_at, p.name, p.parent_workflow_id FROM {schema}workflow_status p
  WHERE (p.created_at, p.workflow_uuid) {sign} (:at, :run) ORDER BY p.created_at {way}, p.workflow_uuid {way}
  LIMIT :searched) s
WHERE s.name IS NOT DISTINCT FROM :name AND (:root = 0 OR {parent} IS NULL)
ORDER BY s.created_at {way}, s.workflow_uuid {way} LIMIT 1
"""
_BEFORE = composed(_BESIDE.replace("{sign}", "<").replace("{way}", "DESC"))
_AFTER = composed(_BESIDE.replace("{sign}", ">").replace("{way}", "ASC"))


def neighbours(snapshot: Snapshot, run_id: str) -> Neighbours:
    """Of a run without a parent only such runs. Raises RunNotFound."""
    rows = snapshot.rows(_PLACE, {"run": run_id})
    if not rows:
        raise RunNotFound(f"It has no run {run_id[:200]!r}.")
    created_at, name, root = rows[0]
    params = {"run": run_id, "at": created_at, "name": name, "root": root}
    return Neighbours(previous=_nearest(snapshot, _BEFORE, params), next=_nearest(snapshot, _AFTER, params))


def _nearest(snapshot: Snapshot, sql: str, params: dict[str, Value]) -> str | None:
    for searched in WINDOWS:
        if found := snapshot.rows(sql, params | {"searched": searched}):
            return text(found[0][0])
    return None
