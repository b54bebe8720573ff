"""Run again: a new top-level execution of the active deployment, with the same parameters."""

from runs.engines.obelisk import deployed, rows
from runs.engines.obelisk.earlier import next_retry
from runs.engines.obelisk.executions import CANCELLED, SUCCEEDED, Execution, Ineligible
from runs.engines.obelisk.schema import Snapshot
from runs.retry import Operation, Part, RetryPlan

EXECUTABLE = ("activity", "workflow")


def plan(snapshot: Snapshot, run: Execution) -> RetryPlan:
    """One ``created`` row and one row of t_state. Raises Ineligible."""
    demand_failed(run)
    if run.component_type == "activity_stub":
        raise Ineligible(
            "It is a stub: somebody outside answers it, and it can't be executed by itself. Fork the workflow that asked"
            f" for it: {run.id.partition('.')[0]}."
        )
    if run.component_type not in EXECUTABLE:
        raise Ineligible(f"Executions of a {run.component_type} are made by the server alone.")
    deployment = deployed.active(snapshot.reader)
    export = deployment.taker(snapshot.reader, run)
    following = next_retry(snapshot.reader, run)
    effects = [
        f"{run.ffqn} runs from its beginning with the same parameters: everything it did outside happens once more."
    ]
    if not run.top:
        effects.append("It runs by itself: the workflow that asked for it learns nothing of the result.")
    return RetryPlan(
        run=run.id,
        operation=Operation.RUN_AGAIN,
        eligible=True,
        new_run=following.id,
        changes=tuple(rows.top_level(snapshot.reader, run, following.id, export, deployment)),
        again=(Part(None, run.ffqn, run.id),),
        guards=(run.guard, f"{deployment.id} is active", f"it is retry {following.number}"),
        effects=tuple(effects),
    )


def demand_failed(run: Execution) -> None:
    """Raises Ineligible unless it ended, and neither well nor because somebody cancelled it."""
    if not run.finished:
        state = {"locked": "is running", "blocked_by_join_set": "is waiting"}.get(run.state, "has yet to run")
        raise Ineligible(f"It has not ended: it {state}. Only what ended in a failure can be begun anew.")
    if run.result_kind == SUCCEEDED:
        raise Ineligible("It succeeded: there is nothing to redo.")
    if run.result_kind == CANCELLED:
        raise Ineligible(
            "It was cancelled: somebody meant it to end. Submit it anew through the server if it should run."
        )
