"""Whether a retry was appended of which nobody could record it: each kind of retry leaves a row that carries its moment.

Rows of the log stay for ever, and so do the executions that a retry makes. A delay that was skipped stays only until it has ended:
of what ended since, the engine keeps when, but not when it was due.
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from runs.engines.obelisk.earlier import numbered
from runs.engines.obelisk.executions import Ineligible
from runs.engines.obelisk.rows import NOW
from runs.engines.obelisk.shapes import instant, text
from runs.retry import Operation, Trace
from runs.sources.base import Reader, Value

_MADE = """SELECT 1 FROM {schema}t_state s JOIN {schema}t_execution_log l ON l.execution_id = s.execution_id AND l.version = 0
WHERE s.execution_id = :id AND s.created_at = :moment
    AND (l.json_value->>'$.created.metadata.retry-cut' IS NOT NULL) = :cut"""
_WRITTEN = """SELECT 1 FROM {schema}t_execution_log l
WHERE l.execution_id = :id AND l.created_at = :moment AND l.variant = :variant"""
_DUE = "SELECT 1 FROM {schema}t_delay d WHERE d.execution_id = :id AND d.expires_at = :moment"

_ENDED = """SELECT r.created_at, r.delay_success,
    (SELECT l.json_value->>'$.history_event.event.request.expires_at' FROM {schema}t_execution_log l
        WHERE l.execution_id = r.execution_id AND l.history_event_type = 'join_set_request'
            AND l.json_value->>'$.history_event.event.request.delay_id' = r.delay_id)
FROM {schema}t_join_set_response r
WHERE r.execution_id = :id AND r.delay_id IS NOT NULL AND r.created_at >= :moment ORDER BY r.created_at"""


def trace(reader: Reader, run_id: str, operation: Operation | None, moment: datetime) -> Trace:
    """What is there of a retry of the run; ``operation`` None: of any."""
    at = NOW.at(moment)
    wanted = tuple(Operation) if operation is None else (operation,)
    for each in wanted:
        if new_run := _FOUND[each](reader, run_id, at):
            return Trace(new_run, each)
    return Trace(unsure=_ended(reader, run_id, at)) if Operation.SKIP_DELAY in wanted else Trace()


def _made(*, cut: bool) -> Callable[[Reader, str, Value], str]:
    """What looks for the new execution, among those whose ids follow from that of the run; ``cut``: it says where it was forked."""

    def made(reader: Reader, run_id: str, at: Value) -> str:
        try:
            ids = numbered(reader, run_id)
        except Ineligible:  # no id that the engine makes: nothing is derived from it
            return ""
        return next((each for each in ids if reader.rows(_MADE, {"id": each, "moment": at, "cut": cut})), "")

    return made


def _written(variant: str) -> Callable[[Reader, str, Value], str]:
    """What looks for a row of that variant in the run's own log."""

    def written(reader: Reader, run_id: str, at: Value) -> str:
        return run_id if reader.rows(_WRITTEN, {"id": run_id, "moment": at, "variant": variant}) else ""

    return written


def _due(reader: Reader, run_id: str, at: Value) -> str:
    return run_id if reader.rows(_DUE, {"id": run_id, "moment": at}) else ""


_FOUND: Mapping[Operation, Callable[[Reader, str, Value], str]] = {
    Operation.FORK: _made(cut=True),
    Operation.RUN_AGAIN: _made(cut=False),
    Operation.RETRY_NOW: _written("unlocked"),
    Operation.UNPAUSE: _written("unpaused"),
    Operation.SKIP_DELAY: _due,
}


def _ended(reader: Reader, run_id: str, at: Value) -> str:
    """Why it can't be told whether a delay was skipped, in words. Empty where none of the run's has ended since: a skipped one
    would still be there."""
    words = ""
    for created_at, expired, due_at in reader.rows(_ENDED, {"id": run_id, "moment": at}):
        ended, due = instant(created_at), instant(due_at)
        if not expired:
            words = words or f"Its delay was cancelled at {text(created_at)}, skipped before or not."
        elif ended and due and ended < due:
            return (
                f"Its delay was skipped, by this retry or by somebody else's at the same time: it ended at {text(created_at)},"
                f" not at {text(due_at)}."
            )
        else:
            words = words or f"Its delay ended at {text(created_at)}, when it was over anyway, skipped before or not."
    return words
