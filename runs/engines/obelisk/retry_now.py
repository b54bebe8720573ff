"""Retry now: an activity that waits for its back-off is tried at once."""

from runs import clock
from runs.engines.obelisk.executions import TEMPORARY, Execution, Ineligible, last_variant
from runs.engines.obelisk.rows import MARK, NOW, next_row
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import compact
from runs.retry import Clock, Now, Operation, Part, RetryPlan

REASON = "retry requested by an operator"
_GIVEN_BACK = Now(Clock.TEXT, compact({"unlocked": {"backoff_expires_at": MARK, "reason": REASON}}))


def plan(snapshot: Snapshot, run: Execution) -> RetryPlan:
    """One ``unlocked`` row, and the due time. Raises Ineligible."""
    if run.finished:
        raise Ineligible("It has ended, so there is no back-off to cut short. Run it again instead.")
    if run.component_type != "activity":
        raise Ineligible(
            f"It is a {run.component_type.replace('_', ' ')}: only an activity waits for a back-off that can be cut short."
        )
    if run.state == "locked":
        raise Ineligible("It is running at this moment. Wait for how this attempt ends.")
    if run.lifecycle != "active":
        raise Ineligible(_above(run))
    if run.state != "pending_at" or last_variant(snapshot.reader, run.id) not in TEMPORARY:
        raise Ineligible("No attempt of it has failed: it is not waiting for a back-off. Wait until it is taken up.")
    if run.due <= snapshot.reader.instant(clock.now()):
        raise Ineligible("It is already due: it needs only an engine. Start the server.")
    return RetryPlan(
        run=run.id,
        operation=Operation.RETRY_NOW,
        eligible=True,
        new_run=run.id,
        changes=next_row(run, "unlocked", _GIVEN_BACK, **_pending()),
        again=(Part(None, run.ffqn, run.id),),
        guards=(run.guard, f"it is due at {run.due}"),
        effects=(
            f"{run.ffqn} is tried at once. The early try uses up one of its retries.",
            "What the failed attempts did outside before they failed happens once more.",
        ),
    )


def _pending() -> dict[str, Now | str | None]:
    """What pending_at means in t_state: nothing of a lock, of a wait or of a result."""
    return {
        "state": "pending_at",
        "pending_expires_finished": NOW,
        "max_retries": None,
        "retry_exp_backoff_millis": None,
        "last_lock_version": None,
        "join_set_id": None,
        "join_set_closing": None,
        "result_kind": None,
    }


def _above(run: Execution) -> str:
    if run.lifecycle == "paused":
        return "It is paused. Unpause it first; then its back-off can be cut short."
    return "It is being cancelled. Wait until that is done; a cancelled execution is submitted anew through the server."
