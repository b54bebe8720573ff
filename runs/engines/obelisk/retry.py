"""Retries of Obelisk executions: which operation fits, and what speaks against any of them.

Proven with schema V17 on a live 0.41.4; the tables that are written are the same from V13 (0.39.5) on.
"""

from dataclasses import replace

from runs.engines.obelisk import executions, fork, lifecycle, retry_now, run_again, runs
from runs.engines.obelisk.executions import Execution, Ineligible
from runs.engines.obelisk.rows import COLUMNS
from runs.engines.obelisk.schema import NEWEST, Snapshot
from runs.engines.obelisk.shapes import whole
from runs.retry import Operation, Options, RetryPlan
from runs.sources.base import Opened

OLDEST = 13
CHILDREN = ("deep", "whole")

_MIGRATED = "SELECT max(h.version) FROM {schema}refinery_schema_history h"

_UNTRIED = "Never tried on this release: it was proven with schema V17 (0.41.1 to 0.41.4), this is V{number}."
_UNTRIED_UNLOCKED = (
    "Never tried on this release: until 0.41.0 the engine itself never wrote such an `unlocked` row before the back-off"
    " was over. This is schema V{number}."
)


def plan(snapshot: Snapshot, run_id: str, options: Options) -> RetryPlan:
    """What would be appended, or why it must not be. Raises RunNotFound."""
    runs.demand(snapshot, run_id)
    operation = options.operation
    try:
        number = _demand_schema(snapshot)
        run = executions.execution(snapshot.reader, run_id)
        if run is None:
            raise Ineligible("It is gone.")
        _demand_sound(snapshot, run, options)
        operation = operation or _fitting(snapshot, run)
        found = _planned(snapshot, run, operation, options)
    except Ineligible as refusal:
        return RetryPlan(run_id, operation, eligible=False, reason=refusal.reason, earlier=refusal.earlier)
    if number == NEWEST:
        return found
    words = _UNTRIED_UNLOCKED if found.operation is Operation.RETRY_NOW else _UNTRIED
    return replace(found, warnings=(*found.warnings, words.replace("{number}", str(number))))


def _planned(snapshot: Snapshot, run: Execution, operation: Operation, options: Options) -> RetryPlan:
    match operation:
        case Operation.RETRY_NOW:
            return retry_now.plan(snapshot, run)
        case Operation.UNPAUSE:
            return lifecycle.unpause(snapshot, run)
        case Operation.SKIP_DELAY:
            return lifecycle.skip_delay(snapshot, run, options)
        case Operation.RUN_AGAIN:
            return run_again.plan(snapshot, run)
        case Operation.FORK:
            return _fork(snapshot, run, options)


def _fork(snapshot: Snapshot, run: Execution, options: Options) -> RetryPlan:
    """A fork; where nobody asked for one and it can't be, the run from its beginning."""
    try:
        return fork.plan(snapshot, run, options)
    except Ineligible as refusal:
        if options.operation or refusal.earlier or options.start not in lifecycle.AUTO:
            raise
        found = run_again.plan(snapshot, run)
        return replace(found, warnings=(*found.warnings, f"It can't go on from where it failed: {refusal.reason}"))


def _fitting(snapshot: Snapshot, run: Execution) -> Operation:
    """The operation for what the run is. Raises Ineligible where there is none."""
    if run.finished:
        whole_workflow = run.top and run.component_type == "workflow"
        return Operation.FORK if whole_workflow else Operation.RUN_AGAIN
    if run.lifecycle == "paused":
        return Operation.UNPAUSE
    if run.state == "locked":
        raise Ineligible("It is running at this moment. Wait for how it ends.")
    if run.lifecycle == "cancelling":
        raise Ineligible("It is being cancelled. Wait until that is done.")
    if lifecycle.waits_for_delay(snapshot, run):
        return Operation.SKIP_DELAY
    if run.state == "pending_at" and run.component_type == "activity":
        return Operation.RETRY_NOW
    if run.component_type == "activity_stub":
        raise Ineligible("It waits for an answer from outside. Give it through the server.")
    if run.state == "blocked_by_join_set":
        raise Ineligible(f"It is waiting, not failed. {lifecycle.waits_for(snapshot, run)}".strip())
    raise Ineligible(f"It has yet to run: the engine takes it up by itself at {run.due}.")


def _demand_schema(snapshot: Snapshot) -> int:
    """The number of the schema. Raises Ineligible where it is none that is known to be written like this."""
    tables = snapshot.tables
    migrated = snapshot.reader.rows(_MIGRATED)[0][0] if "version" in tables.get("refinery_schema_history", {}) else None
    number = whole(migrated)
    if number is None:
        raise Ineligible(
            "It was written by Obelisk 0.37 or earlier. A retry needs schema V13 to V17: Obelisk 0.39.5 or later."
        )
    if not OLDEST <= number <= NEWEST:
        later = number > NEWEST
        words = "a later Durascope may know it" if later else "upgrade the server to Obelisk 0.39.5 or later"
        raise Ineligible(f"It has schema V{number}; retries are known for V13 to V17: {words}.")
    for table, columns in COLUMNS.items():
        if different := columns ^ tables.get(table, {}).keys():
            names = ", ".join(sorted(different))
            raise Ineligible(f"The columns of {table} are not those of schema V{number} ({names}). Nothing is written.")
    return number


def _demand_sound(snapshot: Snapshot, run: Execution, options: Options) -> None:
    if snapshot.reader.opened is Opened.COPY:
        raise Ineligible(
            "What you see is a private copy: the engine ended without closing the file. Start the engine once, so that it"
            " recovers its file, then retry."
        )
    if options.pin:
        raise Ineligible("Obelisk pins no version: a new execution is always of the active deployment.")
    if options.children not in CHILDREN:
        raise Ineligible(f"{options.children!r} is no way to redo a child: deep or whole.")
    executions.ulid_of(run.id)
    if run.newest != run.version:
        raise Ineligible(
            f"Its log ends at version {run.newest}, its state says {run.version}: it is damaged, or written at this moment."
        )
