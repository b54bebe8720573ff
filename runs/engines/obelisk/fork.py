"""Fork: a failed workflow goes on as a new run, in the state in which the old one waited for what failed.

Its log is copied up to and with the wait that consumed the failure. Children that ended before keep their results; what
failed is begun anew, or, where it is a workflow itself, goes on by the same rules. The engine does the rest: the child
ends, its parent is told, replays its history, and goes on.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from runs.engines.obelisk import continuation, deployed, executions, kept, rows
from runs.engines.obelisk.consumed import Request
from runs.engines.obelisk.continuation import Continuation
from runs.engines.obelisk.deployed import Deployment
from runs.engines.obelisk.earlier import next_retry, numbered
from runs.engines.obelisk.executions import Execution, Ineligible
from runs.engines.obelisk.run_again import demand_failed
from runs.engines.obelisk.schema import Snapshot
from runs.retry import Cell, Change, Clock, Insert, Now, Operation, Options, Part, RetryPlan, count
from runs.sources.base import Reader

# In one transaction, during which the engine can't write: after a second it logs an error. So many rows are appended in a quarter
# of one and, where they were held back, deleted again in half of one.
MOST_ROWS = 10_000
MOST_STATEMENTS = 5_000


@dataclass(slots=True)
class _Growing:
    """A fork while it is put together."""

    reader: Reader
    deployment: Deployment
    ulids: tuple[str, str]
    deep: bool
    held: bool
    tree: dict[str, Execution]
    changes: list[Change] = field(default_factory=list)
    again: list[Part] = field(default_factory=list)
    kept: list[Part] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    delays: list[timedelta] = field(default_factory=list)
    later: list[Request] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)


def plan(snapshot: Snapshot, run: Execution, options: Options) -> RetryPlan:
    """The rows of the whole tree. Raises Ineligible."""
    demand_failed(run)
    if run.component_type != "workflow":
        raise Ineligible("Only a workflow can go on from where it failed. Run it again instead.")
    if not run.top:
        raise Ineligible(
            "It is a child: a fork of it alone would tell nobody. Fork the run it belongs to,"
            f" {run.id.partition('.')[0]}, or run it again by itself."
        )
    reader = snapshot.reader
    deployment = deployed.active(reader)
    following = next_retry(reader, run)
    asked_for = options.operation is Operation.FORK
    found = continuation.find(reader, run, deployment, options.start, from_end=asked_for, replayed=options.held)
    ulids = executions.ulid_of(run.id), executions.ulid_of(following.id)
    deep = options.children == "deep"
    growing = _Growing(reader, deployment, ulids, deep, options.held, dict(executions.tree(reader, run.id)))
    _go_on(growing, found)
    growing.changes += kept.copied(reader, run.id, _kept_whole(growing), ulids)
    appended, statements = count(growing.changes), len(growing.changes)
    if appended > MOST_ROWS or statements > MOST_STATEMENTS:
        raise Ineligible(
            f"It would append {appended:,} rows by {statements:,} statements in one transaction; more than {MOST_ROWS:,}, or than"
            f" {MOST_STATEMENTS:,} statements, would hold the engine up. Run it again from its beginning instead."
        )
    if found.failure is None:
        growing.warnings.append("No child failed: it goes on at its end, and the same code may fail there once more.")
    return RetryPlan(
        run=run.id,
        operation=Operation.FORK,
        eligible=True,
        new_run=following.id,
        changes=tuple(growing.changes),
        again=tuple(growing.again),
        kept=tuple(growing.kept),
        guards=(run.guard, f"{deployment.id} is active", f"it is retry {following.number}"),
        effects=tuple(_effects(growing)),
        warnings=tuple(growing.warnings),
        held=growing.held,
    )


def _go_on(growing: _Growing, found: Continuation) -> None:
    """The rows of one workflow that goes on, then those of its children."""
    run, ulids = found.run, growing.ulids
    if growing.held and (words := growing.deployment.other_code(growing.reader, run)):
        growing.warnings.append(words)
    growing.changes.append(rows.continued(growing.reader, run, ulids, found.cut))
    if found.cut:
        growing.changes.append(rows.copied_log(run.id, found.cut, ulids))
    if growing.held:
        growing.changes.append(rows.held_back(run.id.replace(*ulids), found.cut + 1))
    growing.changes.append(rows.copied_state(run.id, ulids, _state(found, held=growing.held)))
    responses = found.kept()
    growing.changes += rows.copied_responses(run.id, responses, ulids)
    answered = {response.child or response.delay for response in responses}
    again = {request.child for request in found.again()}
    growing.later += [request for request in found.history.requests if request.version > found.cut]
    for request in found.requests:
        if request.child in again:
            _redo(growing, found, request)
        elif request.child:
            growing.kept.append(Part(request.version, request.name, run.id))
            _keep(growing, request.child)
        elif request.delay in answered:
            growing.kept.append(Part(request.version, request.name, run.id))
        else:
            growing.again.append(Part(request.version, request.name, run.id))
            growing.changes.append(_delay(growing, run, request))


def _state(found: Continuation, *, held: bool) -> dict[str, Cell]:
    """As it was when it waited at the cut; digest and deployment stay those of the source."""
    blocked = not found.satisfied()
    state: dict[str, Cell] = {
        "corresponding_version": found.cut + held,
        "pending_expires_finished": rows.NOW,
        "state": "blocked_by_join_set" if blocked else "pending_at",
        "updated_at": rows.TODAY,
        "intermittent_event_count": 0,
        "max_retries": None,
        "retry_exp_backoff_millis": None,
        "last_lock_version": None,
        "executor_id": None,
        "run_id": None,
        "join_set_id": found.failure.join_set if blocked and found.failure else None,
        "join_set_closing": 0 if blocked else None,
        "result_kind": None,
        "incompatible_digest": None,
        "lifecycle": "paused" if held else "active",
    }
    # A top-level run is listed by when it came to be; the children keep their places.
    return state | {"created_at": rows.NOW, "first_scheduled_at": rows.NOW} if found.run.top else state


def _redo(growing: _Growing, parent: Continuation, request: Request) -> None:
    """A child that runs again: from its beginning, or from where it failed."""
    child = growing.tree.get(request.child)
    if child is None:
        raise Ineligible(f"{request.child} is not recorded any more. Run it again from its beginning instead.")
    if growing.deep and child.failed and child.component_type == "workflow":
        try:
            found = continuation.find(growing.reader, child, growing.deployment, replayed=growing.held)
        except Ineligible as refusal:
            growing.warnings.append(f"{request.child} runs from its beginning. {_reason(refusal)}")
        else:
            _go_on(growing, found)
            return
    export = growing.deployment.taker(growing.reader, child)
    fresh = rows.fresh_child(growing.reader, child, growing.ulids, export, growing.deployment)
    growing.changes += rows.paused(fresh) if growing.held else fresh
    growing.again.append(Part(request.version, request.name, parent.run.id))
    if child.component_type == "activity_stub":
        growing.warnings.append(f"{request.name} waits for a new answer from outside.")
    if child.result_kind == executions.CANCELLED:
        growing.warnings.append(f"{request.name} did not fail: somebody cancelled it.")
    if done := numbered(growing.reader, child.id):
        growing.warnings.append(f"{request.name} was already run again by itself: {done[-1]}.")


def _keep(growing: _Growing, child: str) -> None:
    """A child that ended, with all below it that ended."""
    if child not in growing.tree or not growing.tree[child].finished:
        raise Ineligible(f"{child} ended, but its state is not recorded. Run the whole from its beginning instead.")
    growing.answered.add(child)


def _kept_whole(growing: _Growing) -> set[str]:
    """The executions that are kept whole. What did not end would begin to run, and nobody asks for it."""
    ids: set[str] = set()
    for run_id, execution in growing.tree.items():  # parents first
        if execution.finished and (run_id in growing.answered or run_id.rpartition(".")[0] in ids):
            ids.add(run_id)
    return ids


def _delay(growing: _Growing, run: Execution, request: Request) -> Insert:
    """A delay that was not over: again, in its full length. Its old instant has mostly passed, and would win every race."""
    growing.delays.append(request.length)
    return Insert(rows.DELAY, {
        "execution_id": run.id.replace(*growing.ulids),
        "join_set_id": request.join_set,
        "delay_id": request.delay.replace(*growing.ulids),
        "expires_at": Now(Clock.COLUMN, later=request.length),
        "is_paused": int(request.paused or growing.held),
    })  # fmt: skip


def _reason(refusal: Ineligible) -> str:
    """Without what to do instead, which is being done."""
    return refusal.reason.removesuffix(" Run it again from its beginning instead.")


def _effects(growing: _Growing) -> list[str]:
    names = ", ".join(dict.fromkeys(part.name for part in growing.again if part.name != "sleep"))
    effects = [f"Again: {names}. What it did outside before it failed happens once more."] if names else []
    if kept := len(growing.kept):
        effects.append("1 step keeps its result." if kept == 1 else f"{kept} steps keep their results.")
    if later := len(growing.later):
        effects.append(
            f"{later} later {'step is' if later == 1 else 'steps are'} left out, but not undone: what was put right after the"
            " failure, such as a refund, stays done."
        )
    if growing.held:
        effects.append(
            "It is appended paused, and released as soon as the engine's own replay has followed its history."
        )
    for length in growing.delays:
        effects.append(f"A sleep of {length} begins anew.")
    return effects
