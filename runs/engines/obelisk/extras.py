"""What else is recorded of a run: responses to its join sets, HTTP requests, backtraces."""

from collections.abc import Sequence

from runs.engines.obelisk import backtraces
from runs.engines.obelisk.attempts import attempts
from runs.engines.obelisk.history import LogRow, lives
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import instant, text
from runs.engines.obelisk.states import native_status
from runs.engines.obelisk.steps import states
from runs.records import Cell, RunRef, Section
from runs.sources.base import Value

_RESPONSES = """SELECT r.created_at, r.join_set_id, r.delay_id, $delay_success, r.child_execution_id
FROM {schema}t_join_set_response r WHERE r.execution_id = :id ORDER BY $sequence"""


def sections(snapshot: Snapshot, run_id: str) -> tuple[Section, ...]:
    """Those of the three that hold something."""
    found = (
        _responses(snapshot, run_id),
        _http(lives(snapshot, [run_id])[run_id]),
        backtraces.section(snapshot, run_id),
    )
    return tuple(section for section in found if section is not None)


def _responses(snapshot: Snapshot, run_id: str) -> Section | None:
    """In the order in which they came: the n-th await of a join set takes its n-th response."""
    if not {"child_execution_id", "delay_id", "id"} <= snapshot.tables.get("t_join_set_response", {}).keys():
        return None
    rows = snapshot.rows(_RESPONSES, {"id": run_id})
    if not rows:
        return None
    children = states(snapshot, [text(row[4]) for row in rows if row[4] is not None])
    cells: list[tuple[Cell, ...]] = []
    for number, (created_at, join_set, delay_id, success, child) in enumerate(rows, start=1):
        row = children.get(text(child))
        outcome = native_status(row) if row else _ended(delay_id, success)
        source: Cell = RunRef(text(child)) if child is not None else text(delay_id)
        cells.append((number, instant(created_at), text(join_set), source, outcome))
    return Section("responses", "Responses", ("number", "at", "join set", "from", "outcome"), tuple(cells))


def _ended(delay_id: Value, success: Value) -> str:
    if delay_id is None:
        return "not in this database"
    return "expired" if success is None or success else "cancelled"


def _http(rows: Sequence[LogRow]) -> Section | None:
    cells: list[tuple[Cell, ...]] = []
    for number, attempt in enumerate(attempts(rows, None), start=1):
        for call in attempt.http:
            took = call.finished_at - call.sent_at if call.finished_at and call.sent_at else None
            cells.append((number, call.sent_at, call.method, call.uri, call.outcome, took))
    if not cells:
        return None
    return Section(
        "http", "HTTP requests", ("attempt", "sent at", "method", "address", "outcome", "took"), tuple(cells)
    )
