"""From when to when a run reaches, over its own row and its own steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs.engines.base import earliest, latest
from runs.engines.dbos.snapshot import Snapshot, composed
from runs.engines.dbos.values import instant, text, whole

# A sleep's row is written at its start with a projected end; the end counts where the run's own end allows that it
# was reached.
_STEPS = composed("""
SELECT o.workflow_uuid, count(*),
  min(CASE WHEN {inherited} THEN NULL ELSE o.started_at_epoch_ms END),
  max(CASE WHEN {inherited} THEN NULL ELSE o.started_at_epoch_ms END),
  max(CASE WHEN {inherited} OR o.function_name = 'DBOS.sleep' THEN NULL ELSE o.completed_at_epoch_ms END),
  max(CASE WHEN {inherited} OR o.function_name <> 'DBOS.sleep' THEN NULL
      WHEN o.completed_at_epoch_ms <= {latest_end} THEN o.completed_at_epoch_ms END)
FROM {schema}operation_outputs o
JOIN {schema}workflow_status s ON s.workflow_uuid = o.workflow_uuid
LEFT JOIN {schema}operation_outputs f ON f.workflow_uuid = s.forked_from AND f.function_id = o.function_id
WHERE o.workflow_uuid IN {ids}
GROUP BY o.workflow_uuid
""")

_RUNS = composed("""
SELECT s.workflow_uuid, s.created_at, s.started_at_epoch_ms, s.updated_at, {end}, {latest_end}
FROM {schema}workflow_status s WHERE s.workflow_uuid IN {ids}
""")


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


def spans(snapshot: Snapshot, ids: Sequence[str]) -> dict[str, Span]:
    """The span of each run that exists."""
    counts: dict[str, int] = {}
    times: dict[str, list[datetime | None]] = {}
    for run_id, count, *instants in snapshot.rows_of(_STEPS, ids):
        counts[text(run_id)] = whole(count) or 0
        times[text(run_id)] = [instant(value) for value in instants]
    found: dict[str, Span] = {}
    for run_id, *instants in snapshot.rows_of(_RUNS, ids):
        key = text(run_id)
        created, started, updated, end, cut_after = (instant(value) for value in instants)
        first, began, ended, slept = times.get(key, [None] * 4)
        last = latest(created, started, end, began, ended, slept)
        found[key] = Span(
            steps=counts.get(key, 0),
            first=earliest(created, started, first),
            last=last,
            newest=latest(last, updated),
            end=end,
            cut_after=cut_after,
        )
    return found
