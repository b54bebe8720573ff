"""A run's and a step's rows as they are stored."""

from datetime import timedelta
from functools import partial

from runs.engines import stored
from runs.engines.obelisk.history import log_row
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import hexadecimal, instant, text, whole
from runs.engines.obelisk.steps import child_of
from runs.engines.stored import Row, Table
from runs.errors import StepNotFound
from runs.records import Cell, Payload, RunRef, Section
from runs.sources.base import Value

STEPS = frozenset({"join_set_request", "persist", "schedule", "stub"})

_INSTANTS = frozenset({"created_at", "updated_at", "pending_expires_finished", "first_scheduled_at", "expires_at"})
_DIGESTS = frozenset({"component_id_input_digest", "incompatible_digest"})
_FLAGS = frozenset({"is_top_level", "is_paused", "join_set_closing", "delay_success"})


def raw(snapshot: Snapshot, run_id: str, ordinal: int | None) -> tuple[Section, ...]:
    """The row of a run that exists; of a step its row of the log, the response to it, the state of its child or its
    pending delay. Raises StepNotFound."""
    if ordinal is None:
        return _sections(snapshot, [_state(run_id)], {"child": run_id})
    row = log_row(snapshot, run_id, ordinal)
    if row is None or row.variant != "history_event" or row.kind not in STEPS:
        raise StepNotFound(f"{run_id!r} has no step {ordinal}.")
    log = Table(
        "t_execution_log",
        ("execution_id", "version"),
        "t.execution_id = :id AND t.version = :version",
        partial(_meaning, run_id),
        partial(_event, run_id),
    )
    tables = [log]
    child, delay = child_of(row), text(row.request.get("delay_id"))
    for key, value, column in (("child", child, "child_execution_id"), ("delay", delay, "delay_id")):
        if value:
            where = f"t.execution_id = :id AND t.{column} = :{key}"
            tables.append(
                Table("t_join_set_response", ("execution_id", column), where, partial(_meaning, run_id), _none)
            )
    if delay:
        where = "t.execution_id = :id AND t.delay_id = :delay"
        tables.append(Table("t_delay", ("execution_id", "delay_id"), where, partial(_meaning, run_id), _none))
    if child:
        tables.append(_state(child))
    return _sections(snapshot, tables, {"id": run_id, "version": ordinal, "child": child, "delay": delay})


def _sections(snapshot: Snapshot, tables: list[Table], params: dict[str, Value]) -> tuple[Section, ...]:
    found = (stored.section(snapshot.reader, table, params) for table in tables)
    return tuple(section for section in found if section is not None)


def _state(run_id: str) -> Table:
    return Table("t_state", ("execution_id",), "t.execution_id = :child", partial(_meaning, run_id), _none)


def _meaning(run_id: str, column: str, value: Value) -> Cell:
    if column in _INSTANTS:
        return instant(value)
    if column in _DIGESTS:
        digest = hexadecimal(value)
        return f"sha256:{digest}" if digest else None
    if column in _FLAGS and value is not None:
        return "yes" if value else "no"
    if column == "retry_exp_backoff_millis" and (number := whole(value)) is not None:
        return timedelta(milliseconds=max(-(2**53), min(number, 2**53)))
    other = text(value) if column in ("execution_id", "child_execution_id") else ""
    return RunRef(other) if other and other != run_id else None


def _event(run_id: str, column: str, row: Row, size: int) -> Payload | None:
    return Payload(run_id, f"event.{whole(row['version'])}.data", "json", size) if column == "json_value" else None


def _none(_column: str, _row: Row, _size: int) -> None:
    return None
