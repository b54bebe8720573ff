"""What became of an appended retry, read from the engine's rows: taken up, or what it seems to wait for."""

from datetime import datetime

from runs.engines.obelisk import deployed, executions
from runs.engines.obelisk.deployed import SHOWN
from runs.engines.obelisk.executions import Execution, Ineligible
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import instant
from runs.retry import FollowUp
from runs.sources.base import Opened, Reader

# The first thing that the engine did to any of the new executions: it took one, ended one, or ended a delay.
_TAKEN = """SELECT min(found.at) FROM (
    SELECT l.created_at AS at FROM {schema}t_execution_log l
    WHERE (l.execution_id = :id OR (l.execution_id > :id || '.' AND l.execution_id < :id || '/'))
        AND l.variant IN ('locked', 'finished') AND l.created_at >= :since
    UNION ALL
    SELECT r.created_at FROM {schema}t_join_set_response r
    WHERE (r.execution_id = :id OR (r.execution_id > :id || '.' AND r.execution_id < :id || '/'))
        AND r.created_at >= :since) found"""

_INCOMPATIBLE = "SELECT s.incompatible_digest IS NOT NULL FROM {schema}t_state s WHERE s.execution_id = :id"


def follow(snapshot: Snapshot, new_run: str, appended_at: datetime) -> FollowUp:
    """How the appended run fares."""
    reader = snapshot.reader
    taken = instant(reader.rows(_TAKEN, {"id": new_run, "since": reader.instant(appended_at)})[0][0])
    if taken is not None:
        return FollowUp(taken_up_after=max(taken - appended_at, taken - taken))
    tree = executions.tree(reader, new_run)
    if new_run not in tree:
        return FollowUp(why_not="Its rows are not there any more: somebody took the retry back.")
    return FollowUp(why_not=_why_not(reader, new_run, list(tree.values())))


def _why_not(reader: Reader, new_run: str, tree: list[Execution]) -> str:
    run = tree[0]
    if run.lifecycle == "paused":
        return "It is paused: unpause it."
    if run.lifecycle == "cancelling":
        return "It is being cancelled."
    if reader.rows(_INCOMPATIBLE, {"id": new_run})[0][0]:
        return "The deployed component can't go on with its history: it waits for an upgrade."
    pending = [each for each in tree if each.state == "pending_at"]
    try:
        deployment = deployed.active(reader)
        for each in pending:
            export = deployment.taker(reader, each)
            if each.component_type == "workflow" and each.digest != export.digest:
                return (
                    f"{each.id} has the component {each.digest.hex()[:SHOWN]}, the active deployment has"
                    f" {export.digest.hex()[:SHOWN]}: it waits until the engine has upgraded it."
                )
    except Ineligible as reason:
        return reason.reason
    if pending and all(each.component_type == "activity_stub" for each in pending):
        return f"It waits for an answer from outside to {pending[0].id}."
    if reader.opened is not Opened.LIVE:
        return "No engine has the file open. It is taken up when one is started."
    if not pending and run.state == "blocked_by_join_set":
        return f"It waits for its join set {run.join_set}."
    return "An engine has the file open and has not taken it up yet: its executor may be busy with other runs."
