"""From when to when a run reaches, over its own row and its own steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from runs.engines.base import earliest, latest
from runs.engines.dbos.snapshot import Snapshot, composed
from runs.engines.dbos.values import instant, text, whole
from runs.sources.base import Value

# A sleep's row is written at its start with a projected end; the end counts where the run's own end allows that it
# was reached.
_OF_STEPS = """
SELECT o.workflow_uuid, count(*),
  min(CASE WHEN {copied} THEN NULL ELSE o.started_at_epoch_ms END),
  max(CASE WHEN {copied} THEN NULL ELSE o.started_at_epoch_ms END),
  max(CASE WHEN {copied} OR o.function_name = 'DBOS.sleep' THEN NULL ELSE o.completed_at_epoch_ms END),
  max(CASE WHEN {copied} OR o.function_name <> 'DBOS.sleep' THEN NULL
      WHEN o.completed_at_epoch_ms <= (SELECT {latest_end} FROM {schema}workflow_status s
        WHERE s.workflow_uuid = o.workflow_uuid) THEN o.completed_at_epoch_ms END)
FROM {schema}operation_outputs o
{beside}WHERE o.workflow_uuid IN {ids}
GROUP BY o.workflow_uuid
"""
# Only a fork has copied rows: nothing need be looked at beside those of other runs, which nearly all are.
_STEPS = composed(_OF_STEPS.replace("{copied}", "FALSE").replace("{beside}", ""))
_STEPS_OF_FORKS = composed(
    _OF_STEPS.replace("{copied}", "{inherited}").replace(
        "{beside}",
        """JOIN {schema}workflow_status s ON s.workflow_uuid = o.workflow_uuid
LEFT JOIN {schema}operation_outputs f ON f.workflow_uuid = s.forked_from AND f.function_id = o.function_id
""",
    )
)

_RUNS = composed("SELECT s.workflow_uuid, {own} FROM {schema}workflow_status s WHERE s.workflow_uuid IN {ids}")


class Own(NamedTuple):
    """What the row of a run says of its time, as far as these are instants. ``latest_end`` is the last that ``end`` may mean."""

    id: str
    created: datetime | None
    started: datetime | None
    updated: datetime | None
    end: datetime | None
    latest_end: datetime | None
    is_fork: bool


@dataclass(frozen=True, slots=True)
class Span:
    """The instants of one run. ``last`` is the last one recorded, which may be later than ``end``: a completed_at in
    whole seconds lies before the last step's end. ``cut_after`` is the last instant that ``end`` may mean: a sleep's
    end beyond it was not reached.
    """

    steps: int
    first: datetime | None
    last: datetime | None
    newest: datetime | None
    end: datetime | None
    cut_after: datetime | None

    @property
    def duration(self) -> timedelta | None:
        """First to last recorded instant; None while unfinished."""
        return self.last - self.first if self.end and self.first and self.last else None


def own(run_id: str, values: Sequence[Value]) -> Own:
    """The six values of ``{own}``."""
    created, started, updated, end, latest_end = map(instant, values[:5])
    return Own(run_id, created, started, updated, end, latest_end, is_fork=bool(values[5]))


def spans(snapshot: Snapshot, ids: Sequence[str]) -> dict[str, Span]:
    """The span of each run that exists."""
    return spans_of(snapshot, [own(text(run_id), values) for run_id, *values in snapshot.rows_of(_RUNS, ids)])


def spans_of(snapshot: Snapshot, runs: Sequence[Own]) -> dict[str, Span]:
    """The span of each of these runs."""
    steps: dict[str, tuple[Value, ...]] = {}
    for sql, forks in ((_STEPS, False), (_STEPS_OF_FORKS, True)):
        for run_id, *values in snapshot.rows_of(sql, [run.id for run in runs if run.is_fork is forks]):
            steps[text(run_id)] = tuple(values)
    return {run.id: _span(run, *steps.get(run.id, (0, None, None, None, None))) for run in runs}


def _span(run: Own, count: Value, *instants: Value) -> Span:
    first, began, ended, slept = map(instant, instants)
    last = latest(run.created, run.started, run.end, began, ended, slept)
    return Span(
        steps=whole(count) or 0,
        first=earliest(run.created, run.started, first),
        last=last,
        newest=latest(last, run.updated),
        end=run.end,
        cut_after=run.latest_end,
    )
