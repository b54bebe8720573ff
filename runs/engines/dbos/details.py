"""One run with all that its row says."""

from dataclasses import replace

from runs.engines.dbos import bodies, listing
from runs.engines.dbos.reasons import Reasons
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import instant, milliseconds, optional, text, whole
from runs.errors import RunNotFound
from runs.records import Cell, Fact, Run, RunRef, Status
from runs.sources.base import Value

_EXISTS = "SELECT 1 FROM {schema}workflow_status s WHERE s.workflow_uuid = :run"

# (label, column, how it reads): in the engine's own words, in the order of a header.
_FACTS: tuple[tuple[str, str, str], ...] = (
    ("queue", "queue_name", "text"),
    ("partition", "queue_partition_key", "text"),
    ("priority", "priority", "number"),
    ("deduplication id", "deduplication_id", "text"),
    ("executor", "executor_id", "text"),
    ("application version", "application_version", "text"),
    ("application", "application_name", "text"),
    ("application id", "application_id", "text"),
    ("class", "class_name", "text"),
    ("config name", "config_name", "text"),
    ("schedule", "schedule_name", "text"),
    ("delayed until", "delay_until_epoch_ms", "instant"),
    ("timeout", "workflow_timeout_ms", "duration"),
    ("deadline", "workflow_deadline_epoch_ms", "instant"),
    ("dequeued", "started_at_epoch_ms", "instant"),
    ("updated", "updated_at", "instant"),
    ("recovery attempts", "recovery_attempts", "number"),
    ("forked from", "forked_from", "run"),
    ("was forked", "was_forked_from", "flag"),
    ("rate limited", "rate_limited", "flag"),
    ("debounced", "is_debounced", "flag"),
    ("debounce deadline", "debounce_deadline_epoch_ms", "instant"),
    ("authenticated user", "authenticated_user", "text"),
    ("assumed role", "assumed_role", "text"),
    ("authenticated roles", "authenticated_roles", "json"),
    ("attributes", "attributes", "json"),
    ("serialization", "serialization", "text"),
    ("owner", "owner_xid", "text"),
    ("creator", "creator_xid", "text"),
)
_FACTS_SQL = "SELECT {columns} FROM {schema}workflow_status s WHERE s.workflow_uuid = :run".replace(
    "{columns}", ", ".join(f"s.{column}" for _, column, _ in _FACTS)
)


def missing(run_id: str) -> RunNotFound:
    """The error of a run that there is not."""
    return RunNotFound(f"It has no run {run_id[:200]!r}.")


def require(snapshot: Snapshot, run_id: str) -> None:
    """Raises RunNotFound where there is no such run."""
    if not snapshot.rows(_EXISTS, {"run": run_id}):
        raise missing(run_id)


def details(snapshot: Snapshot, run_id: str) -> Run:
    """The run with facts and payloads. Raises RunNotFound."""
    rows = listing.by_id(snapshot, [run_id])
    if not rows:
        raise missing(run_id)
    (run,) = listing.runs(snapshot, rows)
    if run.status is Status.QUEUED and run.queue:
        before = Reasons(snapshot, ()).before(run.id, run.queue)
        run = replace(run, reason=f"{run.reason}, {before:,} before it")
    return replace(run, facts=_facts(snapshot, run_id), payloads=bodies.of_run(snapshot, run_id))


def _facts(snapshot: Snapshot, run_id: str) -> tuple[Fact, ...]:
    row = snapshot.rows(_FACTS_SQL, {"run": run_id})[0]
    found = ((label, _cell(value, reading)) for (label, _, reading), value in zip(_FACTS, row, strict=True))
    return tuple(Fact(label, cell) for label, cell in found if cell is not None)


def _cell(value: Value, reading: str) -> Cell:
    match reading:
        case "number":
            return whole(value) or None  # zero is what the engine writes for none
        case "instant":
            return instant(value)
        case "duration":
            return milliseconds(value)
        case "flag":
            return "yes" if value else None
        case "run":
            name = optional(value)
            return RunRef(name) if name else None
        case "json":
            return None if text(value) in ("", "null") else text(value)
    return optional(value)
