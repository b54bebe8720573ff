"""The rows of a fork, as the engine's own fork_workflow writes them (dbos 3.4, _sys_db.py), for whatever columns a file has.

Only new rows: fork_workflow also marks the original as forked from, which nothing but a list's filter reads, and which would
be a change of what the engine wrote. Every column that is known gets a value: defaults differ by what created the file.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

from runs.engines.dbos.retry_facts import Origin, StepRow
from runs.engines.dbos.schema import ONLY_1X, Schema
from runs.engines.dbos.snapshot import Row, Snapshot
from runs.engines.dbos.values import text, whole
from runs.engines.dbos.vocabulary import INTERNAL_QUEUE
from runs.retry import Cell, Change, Clock, Copies, Copy, Now
from runs.sources.base import Value

NOW = Now(Clock.EPOCH_MS)
STEP = "function_id"

# What fork_workflow takes over from the original's row.
_TAKEN_OVER = (
    *("name", "class_name", "config_name", "application_id", "authenticated_user", "authenticated_roles"),
    *("assumed_role", "serialization", "attributes", "application_name"),
)
_ZERO = ("priority", "recovery_attempts", "was_forked_from", "rate_limited", "is_debounced")
# Claiming, ending or another kind of run sets them.
_EMPTY = (
    *("request", "output", "error", "executor_id", "workflow_timeout_ms", "workflow_deadline_epoch_ms"),
    *("started_at_epoch_ms", "deduplication_id", "queue_partition_key", "owner_xid", "creator_xid"),
    *("parent_workflow_id", "delay_until_epoch_ms", "completed_at", "schedule_name", "debounce_deadline_epoch_ms"),
)
_STATUS = (
    *("workflow_uuid", "status", "queue_name", "application_version", "created_at", "updated_at", "forked_from", "inputs"),
    *_TAKEN_OVER, *_ZERO, *_EMPTY,
)  # fmt: skip
# Every column of the newest schema of the tables that a fork has rows in.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "workflow_status": _STATUS,
    "workflow_input": ("workflow_uuid", "inputs", "retention_timestamp"),
    "operation_outputs": (
        *("workflow_uuid", "function_id", "function_name", "output", "error", "serialization", "child_workflow_id"),
        *("started_at_epoch_ms", "completed_at_epoch_ms", "application_name", "retention_timestamp"),
    ),
    "workflow_events_history": ("workflow_uuid", "function_id", "key", "value", "serialization"),
    "workflow_events": ("workflow_uuid", "key", "value", "serialization"),
    "streams": ("workflow_uuid", "key", "value", "offset", "function_id", "serialization"),
    "notifications": (
        *("message_uuid", "destination_uuid", "topic", "message", "created_at_epoch_ms", "serialization"),
        *("consumed", "consumed_by_function_id"),
    ),
    ONLY_1X: (
        *("workflow_uuid", "function_id", "output", "error", "txn_id", "txn_snapshot", "executor_id"),
        *("function_name", "created_at"),
    ),
}

_HISTORY = """
SELECT h.function_id, h.key FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run
ORDER BY h.function_id, h.key
"""
_EVENTS = "SELECT v.key FROM {schema}workflow_events v WHERE v.workflow_uuid = :run ORDER BY v.key"
_STREAMS = """
SELECT t.function_id, t.key, t."offset" FROM {schema}streams t WHERE t.workflow_uuid = :run
ORDER BY t.function_id, t.key, t."offset"
"""
_CONSUMED = """
SELECT n.message_uuid FROM {schema}notifications n
WHERE n.destination_uuid = :run AND n.consumed_by_function_id = :ordinal ORDER BY n.message_uuid
"""
# Before 3.1 a message does not say which recv took it, but the recv's output is the message.
_CONSUMED_ALIKE = """
SELECT n.message_uuid FROM {schema}notifications n
JOIN {schema}operation_outputs o ON o.workflow_uuid = n.destination_uuid AND o.function_id = :ordinal
WHERE n.destination_uuid = :run AND n.consumed AND n.consumed_by_function_id IS NULL AND n.message = o.output
ORDER BY n.created_at_epoch_ms, n.message_uuid
"""
_UNREAD = "SELECT count(*) FROM {schema}notifications n WHERE n.destination_uuid = :run AND NOT COALESCE(n.consumed, 0)"
_RECEIVED = """
SELECT 1 FROM {schema}operation_outputs o WHERE o.workflow_uuid = :run AND o.function_id = :ordinal
  AND o.output IS NOT NULL
"""
RECV = "DBOS.recv"
PUBLISHING = frozenset({"DBOS.setEvent"})
STREAMING = frozenset({"DBOS.writeStream", "DBOS.closeStream"})


@dataclass(frozen=True, slots=True)
class Written:
    """Rows to append, and what can't be carried over, in words."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()


def rows(
    snapshot: Snapshot,
    run: Origin,
    new_id: str,
    steps: Iterable[StepRow],
    again: Callable[[int], bool],
    children: Mapping[str, str],
    pin: str,
) -> Written:
    """All rows of one fork. ``again`` says which steps are left out; ``children`` replaces ids of child runs."""
    schema, steps = snapshot.schema, tuple(steps)
    changes = [*_run(schema, run, new_id, pin), *_recorded(schema, run, new_id, steps, again, children)]
    warnings: list[str] = []
    for written in (
        _published(snapshot, run, new_id, steps, again),
        _streamed(snapshot, run, new_id, steps, again),
        _received(snapshot, run, new_id, steps, again),
    ):
        changes += written.changes
        warnings += written.warnings
    return Written(tuple(changes), tuple(warnings))


def _copied(
    schema: Schema, table: str, key: Mapping[str, Value], changed: Mapping[str, Cell], source: str = ""
) -> Copy:
    """One row of the table from the row that the key names, with every known column that the file has."""
    there = [column for column in KNOWN[table] if schema.has(table, column)]
    return Copy(
        table=table,
        key=key,
        columns=tuple(column for column in there if column not in changed),
        changed={column: value for column, value in changed.items() if column in there},
        source=source,
    )


def _together(
    schema: Schema,
    table: str,
    key: Mapping[str, Value],
    names: tuple[str, ...],
    found: Iterable[tuple[Row, bool]],
    changed: Mapping[str, Cell],
) -> Iterator[Change]:
    """The rows of a run that are kept, from the rest of their keys, ``names``, with whether they are: ``found`` is in the order of
    the first of these, the step. What lies between two that are not kept is one statement, however much it is."""
    one = _copied(schema, table, key, changed)
    for kept, some in groupby(found, itemgetter(1)):
        each = tuple(rest for rest, _ in some)
        if kept and len(each) == 1:
            yield replace(one, key={**key, **dict(zip(names, each[0], strict=True))})
        elif kept and names[0] == STEP:
            between = STEP, whole(each[0][0]) or 0, whole(each[-1][0]) or 0
            yield Copies(table, key, names, each, one.columns, one.changed, between)
        elif kept:
            yield Copies(table, key, names, each, one.columns, one.changed)


def _run(schema: Schema, run: Origin, new_id: str, pin: str) -> list[Change]:
    key = {"workflow_uuid": run.id}
    apart = schema.has("workflow_input")  # since 3.0
    changed: dict[str, Cell] = {
        "workflow_uuid": new_id,
        "status": "ENQUEUED",
        "queue_name": INTERNAL_QUEUE,
        "application_version": pin or None,
        "forked_from": run.id,
        "created_at": NOW,
        "updated_at": NOW,
        **dict.fromkeys(_ZERO, 0),
        **dict.fromkeys(_EMPTY),
        **({"inputs": None} if apart else {}),
    }
    changes: list[Change] = [_copied(schema, "workflow_status", key, changed)]
    if apart:
        # The rows of an upgraded file still have it in workflow_status.
        source = "" if run.input_row else "workflow_status"
        changed = {"workflow_uuid": new_id, "retention_timestamp": NOW}
        changes.append(_copied(schema, "workflow_input", key, changed, source))
    return changes


def _recorded(
    schema: Schema,
    run: Origin,
    new_id: str,
    steps: tuple[StepRow, ...],
    again: Callable[[int], bool],
    children: Mapping[str, str],
) -> Iterator[Change]:
    """The steps that are kept; one that names a child which is replaced is a row of its own."""
    key: dict[str, Value] = {"workflow_uuid": run.id}
    new: dict[str, Cell] = {"workflow_uuid": new_id, "application_name": run.application, "retention_timestamp": NOW}
    replaced = {
        step.ordinal: children[step.child] for step in steps if step.child is not None and step.child in children
    }
    for table in ("operation_outputs", ONLY_1X):
        found = [step.ordinal for step in steps if step.transaction is (table == ONLY_1X)]
        alike = [((number,), not again(number) and number not in replaced) for number in found]
        yield from _together(schema, table, key, (STEP,), alike, new)
    for number, child in replaced.items():
        if not again(number):
            at = {**key, STEP: number}
            yield _copied(schema, "operation_outputs", at, {**new, "child_workflow_id": child})


def _published(
    snapshot: Snapshot, run: Origin, new_id: str, steps: tuple[StepRow, ...], again: Callable[[int], bool]
) -> Written:
    """What was published by the steps that are kept: the history, and the last value of each key."""
    schema, key, new = snapshot.schema, {"workflow_uuid": run.id}, {"workflow_uuid": new_id}
    history = (
        [(whole(number) or 0, key) for number, key in snapshot.rows(_HISTORY, {"run": run.id})]
        if schema.has("workflow_events_history")
        else []
    )
    alike = [((number, name), not again(number)) for number, name in history]
    changes = [*_together(schema, "workflow_events_history", key, (STEP, "key"), alike, new)]
    latest = {name: number for number, name in history if not again(number)}
    for name, number in latest.items():
        at = {**key, STEP: number, "key": name}
        changes.append(_copied(schema, "workflow_events", at, new, "workflow_events_history"))
    # Before 2.5 nothing says which step published a value.
    known = {name for _, name in history}
    unknown = [name for (name,) in snapshot.rows(_EVENTS, {"run": run.id}) if name not in known]
    if unknown and any(step.name in PUBLISHING and again(step.ordinal) for step in steps):
        warning = (
            f"{_number(unknown, 'published value')} can't be carried over: this file does not say which step set "
            f"{_them(unknown)}, and some that did go again."
        )
        return Written(tuple(changes), (warning,))
    changes += [_copied(schema, "workflow_events", {**key, "key": name}, new) for name in unknown]
    return Written(tuple(changes))


def _streamed(
    snapshot: Snapshot, run: Origin, new_id: str, steps: tuple[StepRow, ...], again: Callable[[int], bool]
) -> Written:
    """What the steps that are kept wrote to streams."""
    schema, key, new = snapshot.schema, {"workflow_uuid": run.id}, {"workflow_uuid": new_id}
    found = snapshot.rows(_STREAMS, {"run": run.id})
    if schema.has("streams", "function_id"):
        alike = [(row, not again(whole(row[0]) or 0)) for row in found]
        return Written(tuple(_together(schema, "streams", key, (STEP, "key", "offset"), alike, new)))
    if found and any(step.name in STREAMING and again(step.ordinal) for step in steps):
        warning = (
            f"{_number(found, 'stream value')} can't be carried over: this file does not say which step wrote "
            f"{_them(found)}, and some that did go again."
        )
        return Written((), (warning,))
    return Written(tuple(_together(schema, "streams", key, ("key", "offset"), [(row[1:], True) for row in found], new)))


def _received(
    snapshot: Snapshot, run: Origin, new_id: str, steps: tuple[StepRow, ...], again: Callable[[int], bool]
) -> Written:
    """The messages that a recv took which goes again; the engine's own fork leaves them out."""
    schema = snapshot.schema
    changes: list[Change] = []
    warnings: list[str] = []
    taken: set[Value] = set()
    exact = schema.has("notifications", "consumed_by_function_id")
    for step in steps:
        at: dict[str, Value] = {"run": run.id, "ordinal": step.ordinal}
        if step.name != RECV or not again(step.ordinal) or not snapshot.rows(_RECEIVED, at):
            continue
        found: list[Value] = [row[0] for row in snapshot.rows(_CONSUMED, at)] if exact else []
        if not found and schema.has("notifications", "consumed"):
            alike = [row[0] for row in snapshot.rows(_CONSUMED_ALIKE, at)]
            found = [message for message in alike if message not in taken][:1]
        if not found and not schema.has("notifications", "consumed"):
            warnings.append(
                f"Step {step.ordinal}, recv, waits for a message again: this release deleted the one it took. "
                "Send it again to the retry, or choose a later step."
            )
        for message in found:
            taken.add(message)
            changed: dict[str, Cell] = {
                "message_uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{new_id} {text(message)}")),
                "destination_uuid": new_id,
                "consumed": 0,
                "consumed_by_function_id": None,
            }
            changes.append(_copied(schema, "notifications", {"message_uuid": message}, changed))
    unread = whole(snapshot.rows(_UNREAD, {"run": run.id})[0][0]) or 0
    if unread:
        warnings.append(
            f"{unread} message{'s' if unread > 1 else ''} sent to {run.id} and never received stay{'' if unread > 1 else 's'} "
            "there: the retry does not get what was sent to the original."
        )
    return Written(tuple(changes), tuple(warnings))


def _number(found: list[Value] | list[tuple[Value, ...]], what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"


def _them(found: list[Value] | list[tuple[Value, ...]]) -> str:
    return "it" if len(found) == 1 else "them"
