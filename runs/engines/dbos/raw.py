"""A run's and a step's rows as they are stored."""

from functools import partial

from runs.engines import stored
from runs.engines.dbos import bodies
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import instant, milliseconds, optional, text, whole
from runs.engines.dbos.vocabulary import status_of
from runs.engines.stored import Row, Table
from runs.errors import StepNotFound
from runs.records import Cell, Payload, RunRef, Section
from runs.sources.base import Value

_OF_RUN = "t.workflow_uuid = :run"
_OF_STEP = "t.workflow_uuid = :run AND t.function_id = :number"
_RUN_TABLES = ("workflow_status", "workflow_input", "workflow_output")
_STEP_TABLES = ("operation_outputs", "workflow_events_history", "streams")
_RECEIVED = "t.destination_uuid = :run AND t.consumed_by_function_id = :number"

_INSTANTS = frozenset({"created_at", "updated_at", "completed_at", "retention_timestamp"})
_RUNS = frozenset({"forked_from", "parent_workflow_id", "child_workflow_id"})


def raw(snapshot: Snapshot, run_id: str, ordinal: int | None) -> tuple[Section, ...]:
    """The rows of a run that exists, or of one of its steps. Raises StepNotFound."""
    payload = partial(_payload, run_id)
    if ordinal is None:
        own = bodies.of_run(snapshot, run_id)
        # Since 3.0 bodies have tables of their own, and rows that are older stay where they were.
        of_run = {"inputs": own.input, "output": own.output, "error": own.error}

        def payload_of_run(column: str, row: Row, size: int) -> Payload | None:
            found = of_run.get(column)
            return found if found is not None and found.size_bytes == size else None

        tables = [Table(name, ("workflow_uuid",), _OF_RUN, _meaning, payload_of_run) for name in _RUN_TABLES]
    else:
        keys = ("workflow_uuid", "function_id")
        tables = [Table(name, keys, _OF_STEP, _meaning, partial(payload, name)) for name in _STEP_TABLES]
        keys = ("destination_uuid", "consumed_by_function_id")
        tables.append(Table("notifications", keys, _RECEIVED, _meaning, partial(payload, "notifications")))
    params: dict[str, Value] = {"run": run_id} | ({} if ordinal is None else {"number": ordinal})
    found = [section for table in tables if (section := stored.section(snapshot.reader, table, params))]
    if ordinal is not None and not any(section.key == "operation_outputs" for section in found):
        raise StepNotFound(f"{run_id[:200]!r} has no step {ordinal}.")
    return tuple(found)


def _meaning(column: str, value: Value) -> Cell:
    if column in _INSTANTS or column.endswith("_epoch_ms"):
        return instant(value)
    if column in _RUNS:
        other = optional(value)
        return RunRef(other) if other else None
    if column == "status":
        return status_of(text(value))
    if isinstance(value, bytes):  # Go stores some texts so
        words = text(value)
        return words if words.isprintable() and "\ufffd" not in words else None
    return milliseconds(value) if column == "workflow_timeout_ms" else None


def _payload(run_id: str, table: str, column: str, row: Row, size: int) -> Payload | None:
    """The body that a column of a step's row holds; None for all other columns."""
    number, key = whole(row.get("function_id")), text(row.get("key"))
    if len(key) > stored.MOST_CHARACTERS:  # it is not all here, and so names nothing
        return None
    match table, column:
        case "operation_outputs", "output" | "error":
            name = f"step.{number}.{column}"
        case "workflow_events_history", "value":
            name = bodies.name_of("value", key, number)
        case "streams", "value":
            name = bodies.name_of("stream", key, whole(row.get("offset")))
        case "notifications", "message":
            name = bodies.name_of("message", text(row.get("message_uuid")))
        case _:
            return None
    head = text(row[column])[: bodies.HEAD]
    return bodies.reference(run_id, name, row.get("serialization"), size, head) if size else None
