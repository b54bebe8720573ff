"""Whether a file is one that a fork may be appended to, and whether what was appended is what was planned."""

from collections.abc import Mapping
from datetime import timedelta

from runs import clock
from runs.clock import to_epoch_ms
from runs.engines.dbos import retry_facts
from runs.engines.dbos.retry_rows import KNOWN
from runs.engines.dbos.schema import FIRST, ONLY_1X, Schema
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import text, whole
from runs.errors import AppendRefused
from runs.retry import Copies, Copy, Now, RetryPlan, count
from runs.sources.base import Value

_CLOCKS = timedelta(minutes=5)  # an append is checked in the transaction that made it
_COLUMNS = """SELECT name, "notnull", dflt_value FROM pragma_table_xinfo(:name) WHERE hidden IN (0, 2, 3)"""
_ROWS = {
    "workflow_status": "SELECT count(*) FROM {schema}workflow_status s WHERE s.workflow_uuid = :run",
    "workflow_input": "SELECT count(*) FROM {schema}workflow_input i WHERE i.workflow_uuid = :run",
    "workflow_output": "SELECT count(*) FROM {schema}workflow_output r WHERE r.workflow_uuid = :run",
    "operation_outputs": "SELECT count(*) FROM {schema}operation_outputs o WHERE o.workflow_uuid = :run",
    "workflow_events_history": "SELECT count(*) FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run",
    "workflow_events": "SELECT count(*) FROM {schema}workflow_events v WHERE v.workflow_uuid = :run",
    "streams": "SELECT count(*) FROM {schema}streams t WHERE t.workflow_uuid = :run",
    "notifications": "SELECT count(*) FROM {schema}notifications n WHERE n.destination_uuid = :run",
    ONLY_1X: "SELECT count(*) FROM {schema}transaction_outputs x WHERE x.workflow_uuid = :run",
}


def unfit(snapshot: Snapshot) -> str:
    """Why nothing may be appended to a file of this schema; empty where it may."""
    schema = snapshot.schema
    if missing := schema.missing():
        return f"This file lacks {', '.join(missing)}, which every release has: retry with the engine's own tools."
    for table, known in KNOWN.items():
        if not schema.has(table):
            continue
        for name, needed, default in snapshot.rows(_COLUMNS, {"name": table}):
            if needed and default is None and text(name) not in known:
                return (
                    f"{table}.{text(name)} must be filled, and Durascope does not know it: this file is of a newer release "
                    "of DBOS. Retry with the engine's own DBOS.fork_workflow, or with a newer Durascope."
                )
    return ""


def is_first(schema: Schema) -> bool:
    """Whether a 1.x release writes this file: its write_stream does not honour what it recorded."""
    return schema.release(None) == FIRST and schema.has(ONLY_1X)


def check_appended(snapshot: Snapshot, plan: RetryPlan) -> None:
    """Raises AppendRefused unless every planned row is there as planned, its runs have no other, and the originals are as
    they were."""
    expected: dict[tuple[str, str], int] = {}
    for change in plan.changes:
        if not isinstance(change, Copy | Copies):
            raise AppendRefused(f"A fork only copies rows, and this plan does something else in {change.table}.")
        _check_rows(snapshot, change)
        owner = change.changed.get("workflow_uuid") or change.changed.get("destination_uuid")
        place = change.table, text(owner if not isinstance(owner, Now) else None)
        expected[place] = expected.get(place, 0) + count([change])
    for new_id in {run for _, run in expected}:
        for table, sql in _ROWS.items():
            if snapshot.schema.has(table):
                found = whole(snapshot.rows(sql, {"run": new_id})[0][0])
                if found != expected.get((table, new_id), 0):
                    raise AppendRefused(
                        f"{new_id} has {found} rows in {table}, not {expected.get((table, new_id), 0)}."
                    )
    for change in plan.changes:
        if change.table == "workflow_status" and isinstance(change, Copy):
            _check_original(snapshot, plan, text(change.key["workflow_uuid"]))


def _check_original(snapshot: Snapshot, plan: RetryPlan, run_id: str) -> None:
    run = retry_facts.origin(snapshot, run_id)
    if run is None or not set(retry_facts.guards(snapshot, run)) <= set(plan.guards):
        raise AppendRefused(f"{run_id} is no longer as it was when the retry was planned.", remedy="Plan it again.")


def _check_rows(snapshot: Snapshot, change: Copy | Copies) -> None:
    """Exactly one row has the planned values, and those of the row it was made from, with their storage classes; of several that
    are copied together, each."""
    params: dict[str, Value] = {f"key_{name}": value for name, value in change.key.items()}
    terms = [f'source."{name}" = :key_{name}' for name in change.key]
    origin = change.table
    if isinstance(change, Copy):
        origin = change.source or change.table
    elif change.between is not None:
        name, params["first"], params["last"] = change.between
        terms.append(f'source."{name}" BETWEEN :first AND :last')
    terms += [
        f'made."{name}" IS source."{name}" AND typeof(made."{name}") = typeof(source."{name}")'
        for name in change.columns
    ]
    for name, value in change.changed.items():
        if isinstance(value, Now):
            moment = clock.now() + value.later
            params[f"from_{name}"] = to_epoch_ms(moment - _CLOCKS)
            params[f"until_{name}"] = to_epoch_ms(moment + _CLOCKS)
            terms.append(
                f'typeof(made."{name}") = \'integer\' AND made."{name}" BETWEEN :from_{name} AND :until_{name}'
            )
        else:
            params[f"new_{name}"] = value
            terms.append(f'made."{name}" IS :new_{name}')
    sql = (
        f'SELECT count(*) FROM {{schema}}"{change.table}" AS made, '  # noqa: S608  names of KNOWN alone
        f'{{schema}}"{origin}" AS source WHERE {" AND ".join(terms)}'
    )
    found, planned = whole(snapshot.reader.rows(sql, params)[0][0]), count([change])
    if found != planned:
        raise AppendRefused(
            f"Of {planned:,} to be copied to {change.table}, {found} are as planned: {_described(change.key)}."
        )


def _described(key: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {text(value)[:200]}" for name, value in key.items())
