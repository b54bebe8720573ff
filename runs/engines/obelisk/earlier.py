"""Retries that there are already of an execution, and the id of the next one."""

from dataclasses import dataclass

from runs.engines.obelisk.executions import SUCCEEDED, Execution, Ineligible, execution, retry_id
from runs.engines.obelisk.shapes import text
from runs.sources.base import Reader, Value

SEARCHED = 2_000  # newest executions of the same function: nothing indexes metadata
CHAIN = 100  # retries of retries that are followed

# Any tool may have begun them, under any id: what they are of is in their metadata.
_RETRIES = """SELECT s.execution_id FROM (
    SELECT t.execution_id FROM {schema}t_state t WHERE t.ffqn = :ffqn AND t.execution_id <> :id
    ORDER BY t.pending_expires_finished DESC LIMIT :searched) s
JOIN {schema}t_execution_log l ON l.execution_id = s.execution_id AND l.version = 0
WHERE l.json_value->>'$.created.metadata.retry-of' = :id ORDER BY s.execution_id"""

_TAKEN = "SELECT 1 FROM {schema}t_execution_log l WHERE l.execution_id = :id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Next:
    """The id of the next retry, and which one it is."""

    id: str
    number: int


def next_retry(reader: Reader, run: Execution) -> Next:
    """The first id that is free. Raises Ineligible while a retry of it, or a retry of one, is unfinished or succeeded."""
    seen, waiting = {run.id}, [run]
    while waiting and len(seen) <= CHAIN:
        original = waiting.pop()
        for found in retries(reader, original):
            if found.id in seen:
                continue
            if found.result_kind == SUCCEEDED:
                raise Ineligible("A retry of it has succeeded: there is nothing to redo.", earlier=found.id)
            if not found.finished:
                raise Ineligible("A retry of it is not finished: wait for what becomes of that.", earlier=found.id)
            seen.add(found.id)
            waiting.append(found)
    number = len(numbered(reader, run.id)) + 1
    return Next(retry_id(run.id, number), number)


def retries(reader: Reader, run: Execution) -> list[Execution]:
    """The executions that name this one as what they retry: of the newest of its function, and by the ids we give."""
    params: dict[str, Value] = {"ffqn": run.ffqn, "id": run.id, "searched": SEARCHED}
    ids = [text(run_id) for (run_id,) in reader.rows(_RETRIES, params)] + numbered(reader, run.id)
    return [found for run_id in dict.fromkeys(ids) if (found := execution(reader, run_id))]


def numbered(reader: Reader, run_id: str) -> list[str]:
    """The retries whose ids are ours, oldest first."""
    found: list[str] = []
    while reader.rows(_TAKEN, {"id": (derived := retry_id(run_id, len(found) + 1))}):
        found.append(derived)
    return found
