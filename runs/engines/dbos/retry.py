"""A retry of a DBOS run is a fork: new rows beside the failed ones, with the steps before a start step copied.

retry_facts     what is recorded of a run
retry_start     which steps go again
retry_rows      the rows to append
retry_forks     a run and the children it waits for, forked together
retry_checks    whether a file is fit, and whether the rows are as planned
retry_workers   who would take it up, and what became of it
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from runs.engines.dbos import retry_facts, retry_workers
from runs.engines.dbos.reasons import Reasons
from runs.engines.dbos.retry_checks import unfit
from runs.engines.dbos.retry_facts import Origin
from runs.engines.dbos.retry_forks import DEEP, WHOLE, Fork, fork
from runs.engines.dbos.retry_start import NoChoice
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.vocabulary import INTERNAL_QUEUE
from runs.errors import RunNotFound
from runs.records import Status
from runs.retry import Operation, Options, RetryPlan, count
from runs.sources.base import Opened

# In one transaction, during which the engine can't write: each may take two seconds on a busy machine, and before 2.24 the engine
# gives up after five.
MOST_ROWS = 50_000
MOST_STATEMENTS = 5_000

_INSTEAD = {
    Status.SUCCEEDED: "It succeeded: there is nothing to retry. To run a part of it again, fork it with the engine "
    "(DBOS.fork_workflow), or start it anew.",
    Status.RUNNING: "It is running; or its worker ended without a word, and then the application goes on with it when it "
    "starts. To have it begin again elsewhere, cancel it with the engine first.",
    Status.QUEUED: "It is queued and has not begun{why}. It needs a worker that takes it up, not a retry.",
    Status.SCHEDULED: "It is delayed and has not begun. The engine begins it when its time comes.",
}


def plan(snapshot: Snapshot, run_id: str, options: Options) -> RetryPlan:
    """What a retry of the run would append. Raises RunNotFound."""
    run = retry_facts.origin(snapshot, run_id)
    if run is None:
        raise RunNotFound(f"It has no run {run_id[:200]!r}.")
    refused = RetryPlan(run=run_id, operation=Operation.FORK, eligible=False)
    if reason := _refusal(snapshot, run, options):
        return replace(refused, reason=reason)
    if earlier := retry_facts.standing(snapshot, run_id):
        return replace(refused, reason=_already(*earlier), earlier=earlier[0])
    try:
        top = fork(snapshot, run, options)
    except NoChoice as error:
        return replace(refused, reason=str(error))
    forks = tuple(top.all())
    changes = tuple(change for each in forks for change in each.changes)
    if (rows := count(changes)) > MOST_ROWS or len(changes) > MOST_STATEMENTS:
        return replace(
            refused,
            reason=f"It would append {rows:,} rows by {len(changes):,} statements in one transaction; more than {MOST_ROWS:,}, or "
            f"than {MOST_STATEMENTS:,} statements, would hold the engine up. Retry from an earlier step, which keeps less, or with "
            "the engine's own DBOS.fork_workflow.",
        )
    warnings = [warning for each in forks for warning in each.warnings]
    return RetryPlan(
        run=run_id,
        operation=Operation.FORK,
        eligible=True,
        reason=top.choice.why,
        new_run=top.new_id,
        changes=changes,
        again=tuple(part for each in forks for part in each.parts(again=True)),
        kept=tuple(part for each in forks for part in each.parts(again=False)),
        guards=_unique(
            [
                *(guard for each in forks for guard in retry_facts.guards(snapshot, each.run)),
                *(words for each in forks if (words := retry_workers.next_worker(snapshot, each.run, options.pin))),
            ]
        ),
        effects=_effects(forks),
        warnings=_unique([*warnings, *retry_workers.warnings(snapshot, run, options.pin)]),
    )


def _refusal(snapshot: Snapshot, run: Origin, options: Options) -> str:
    """Why this run, this file or these options allow no retry; empty where they do."""
    if options.operation not in (None, Operation.FORK):
        return f"DBOS knows no {options.operation.value.replace('_', ' ')}: choose fork, or leave the choice out."
    if options.children not in (DEEP, WHOLE):
        return f"{options.children[:50]!r} is no way to retry children: give deep or whole."
    if snapshot.reader.opened is Opened.COPY:
        return (
            "What is shown is a recovered copy, since the file was left in the middle of a write: start its application, "
            "which finishes that, and retry then."
        )
    if reason := unfit(snapshot):
        return reason
    if run.status in _INSTEAD:
        return _INSTEAD[run.status].replace("{why}", _waiting(snapshot, run) if run.status is Status.QUEUED else "")
    if not run.status.finished:
        return f"Its status {run.native[:50]!r} is not known to Durascope: retry it with the engine's own tools."
    return ""


def _waiting(snapshot: Snapshot, run: Origin) -> str:
    said, _ = Reasons(snapshot, ()).of(
        run.id,
        run.native,
        queue=run.queue,
        version=run.version,
        attempts=None,
        delay_until=None,
        deadline=None,
        span=None,
    )
    return f" ({said})" if said else ""


def _already(earlier: str, status: Status) -> str:
    if status is Status.SUCCEEDED:
        return f"It was already retried: {earlier} succeeded."
    return f"It is already being retried: {earlier} is not finished. Wait for it, or cancel it with the engine."


def _effects(forks: Sequence[Fork]) -> tuple[str, ...]:
    """What a retry does beside going on, in plain words."""
    top = forks[0].run
    children = any(step.starts_child and each.choice.again(step.ordinal) for each in forks for step in each.steps)
    found = [
        "The original stays as it is: the retry is a run of its own, with an id of its own.",
        "What goes again does its work again" + (", and starts its children anew" if children else "") + ".",
        "A step that had done its work but was not recorded does it twice: steps run at least once.",
        "Messages, values and results are addressed by id: whoever sends to, or reads from, the original does not meet the "
        "retry.",
    ]
    if timed := [each.run.id for each in forks if each.run.timed]:
        found.append(f"The timeout of {' and of '.join(timed)} is not inherited: the retry has none.")
    found += [
        f"It leaves the queue {queue}, and its limits: a retry is taken up from the engine's internal queue."
        for queue in _unique(each.run.queue or "" for each in forks)
        if queue not in ("", INTERNAL_QUEUE)
    ]
    if top.parent:
        found.append(f"Its parent {top.parent} does not learn of it: retry the parent to have both go on.")
    for each in forks:
        instance = f" ({each.run.class_name}" + (f", instance {each.run.config_name})" if each.run.config_name else ")")
        found.append(
            f"The worker must have the workflow {each.run.name}{instance if each.run.class_name else ''} registered: else the "
            "retry is claimed and stays PENDING."
        )
    return _unique(found)


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
