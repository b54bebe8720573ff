"""Unpause, and skip a delay: what was held back goes on."""

from runs import clock
from runs.engines.obelisk.executions import Execution, Ineligible
from runs.engines.obelisk.rows import DELAY, NOW, TOOL, next_row
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import text, whole
from runs.retry import Operation, Options, Part, RetryPlan, Update

AUTO = ("auto", "failed-only")

# A fork of ours that is still as it was appended, paused: that row is its newest, and has the instant at which the run came to be.
# Whoever pauses a run later does so at another instant.
_HELD_BACK = """SELECT 1 FROM {schema}t_state s
JOIN {schema}t_execution_log c ON c.execution_id = s.execution_id AND c.version = 0
JOIN {schema}t_execution_log p ON p.execution_id = s.execution_id
    AND p.version = CAST(c.json_value->>'$.created.metadata.retry-cut' AS INTEGER) + 1
WHERE s.execution_id = :top AND s.lifecycle = 'paused' AND p.variant = 'paused' AND p.created_at = s.created_at
    AND c.json_value->>'$.created.metadata.retry-tool' = :tool
    AND NOT EXISTS (SELECT 1 FROM {schema}t_execution_log l WHERE l.execution_id = :top AND l.version > p.version)"""

_DELAYS = """SELECT d.delay_id, d.expires_at, d.is_paused,
    (SELECT l.version FROM {schema}t_execution_log l WHERE l.execution_id = d.execution_id
        AND l.history_event_type = 'join_set_request'
        AND l.json_value->>'$.history_event.event.request.delay_id' = d.delay_id)
FROM {schema}t_delay d WHERE d.execution_id = :id AND d.join_set_id = :join_set ORDER BY d.expires_at, d.delay_id"""

_WAITED_FOR = """SELECT s.execution_id, s.component_type FROM {schema}t_state s
WHERE s.execution_id > :prefix AND s.execution_id < :prefix || '~' AND s.state <> 'finished'
    AND instr(substr(s.execution_id, length(:prefix) + 1), '.') = 0
ORDER BY s.component_type = 'activity_stub', s.execution_id LIMIT 1"""


def waits_for_delay(snapshot: Snapshot, run: Execution) -> bool:
    """Whether a delay lies in the join set that it is blocked by."""
    return run.state == "blocked_by_join_set" and bool(
        snapshot.reader.rows(_DELAYS, {"id": run.id, "join_set": run.join_set})
    )


def unpause(snapshot: Snapshot, run: Execution) -> RetryPlan:
    """One ``unpaused`` row, and the lifecycle. Raises Ineligible, also for a fork that waits for the engine's replay, and for what
    belongs to it: unpaused by this, it would go on unchecked, and only in part."""
    if run.finished or run.lifecycle != "paused":
        raise Ineligible("It is not paused.")
    top = run.id.partition(".")[0]
    if snapshot.reader.rows(_HELD_BACK, {"top": top, "tool": TOOL["retry-tool"]}):
        raise Ineligible(
            f"{'It is a retry' if run.top else f'It belongs to a retry, {top},'} that was appended paused, and waits for its"
            " release. Release it from the page of that retry."
        )
    return RetryPlan(
        run=run.id,
        operation=Operation.UNPAUSE,
        eligible=True,
        new_run=run.id,
        changes=next_row(run, "unpaused", '"unpaused"', lifecycle="active"),
        again=(Part(None, run.ffqn, run.id),),
        guards=(run.guard,),
        effects=("It goes on from where it was paused.",),
    )


def skip_delay(snapshot: Snapshot, run: Execution, options: Options) -> RetryPlan:
    """The due time of one delay. Raises Ineligible."""
    if run.finished or run.state != "blocked_by_join_set":
        raise Ineligible("It is not waiting for a delay.")
    if run.lifecycle != "active":
        raise Ineligible("It is paused. Unpause it first." if run.lifecycle == "paused" else "It is being cancelled.")
    found = snapshot.reader.rows(_DELAYS, {"id": run.id, "join_set": run.join_set})
    if not found:
        raise Ineligible(f"It is not waiting for a delay. {waits_for(snapshot, run)}")
    if run.closing:
        raise Ineligible("Its join set is closing, which cancels its delays: there is nothing to skip.")
    if options.start not in AUTO:
        found = [row for row in found if str(row[3]) == options.start]
        if not found:
            raise Ineligible(f"Step {options.start} is no delay that it waits for.")
    delay_id, expires_at, paused, ordinal = found[0]
    if paused:
        raise Ineligible("The delay is paused. Unpause the delay through the server.")
    if text(expires_at) <= snapshot.reader.instant(clock.now()):
        raise Ineligible("The delay is already over: it needs only an engine. Start the server.")
    effects = ["It goes on as if the delay were over."]
    if others := waits_for(snapshot, run):
        effects.append(f"It stops waiting for what it raced against the delay. {others}")
    where = {"execution_id": run.id, "join_set_id": run.join_set, "delay_id": delay_id}
    return RetryPlan(
        run=run.id,
        operation=Operation.SKIP_DELAY,
        eligible=True,
        new_run=run.id,
        changes=(Update(DELAY, where | {"is_paused": 0, "expires_at": expires_at}, {"expires_at": NOW}),),
        again=(Part(whole(ordinal), "sleep", run.id),),
        guards=(run.guard,),
        effects=tuple(effects),
    )


def waits_for(snapshot: Snapshot, run: Execution) -> str:
    """What else it waits for in its join set, in words; empty where there is nothing."""
    found = snapshot.reader.rows(_WAITED_FOR, {"prefix": f"{run.id}.{run.join_set}_"})
    if not found:
        return ""
    child, kind = text(found[0][0]), text(found[0][1])
    if kind == "activity_stub":
        return f"It waits for an answer from outside to {child}: give it through the server."
    return f"It waits for {child}: look at that."
