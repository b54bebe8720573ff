"""What an unfinished run waits for, and what is notable about a finished one, in a few words: only what is recorded.

DBOS writes a step when it ends, keeps no heartbeat, and forgets a run's queue when it is cancelled: so "running" can
only name the last thing recorded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from runs import clock
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.spans import Span
from runs.engines.dbos.timeouts import wake_up
from runs.engines.dbos.values import instant, text, whole
from runs.engines.dbos.vocabulary import INTERNAL_QUEUE, SLEEP

_LAST_STEPS = """
SELECT o.workflow_uuid, o.function_id, o.function_name, o.completed_at_epoch_ms, o.serialization,
  CASE WHEN o.function_name = 'DBOS.sleep' THEN substr(o.output, 1, 200) END,
  EXISTS (SELECT 1 FROM {schema}operation_outputs f
          WHERE f.workflow_uuid = o.workflow_uuid AND f.function_id = o.function_id - 1)
FROM {schema}operation_outputs o
WHERE o.workflow_uuid IN {ids}
  AND o.function_id = (SELECT max(f.function_id) FROM {schema}operation_outputs f
                       WHERE f.workflow_uuid = o.workflow_uuid)
"""
_NEWEST_VERSION = """
SELECT a.version_name FROM {schema}application_versions a ORDER BY a.version_timestamp DESC, a.version_name DESC LIMIT 1
"""
_QUEUES = "SELECT q.name FROM {schema}queues q LIMIT 10000"
_BEFORE = """
SELECT count(*) FROM (
  SELECT 1 FROM {schema}workflow_status s
  JOIN {schema}workflow_status p ON p.workflow_uuid = :run AND p.queue_name = s.queue_name
  WHERE s.queue_name = :queue AND s.status = 'ENQUEUED' AND s.status IN ('ENQUEUED', 'PENDING')
    AND (s.priority, s.created_at, s.workflow_uuid) < (p.priority, p.created_at, p.workflow_uuid)
  LIMIT 10000) AS waiting
"""


@dataclass(frozen=True, slots=True)
class _Last:
    """The last recorded step of a run; ``until`` where it is a sleep, or the timeout of a recv or getEvent that is
    not over.
    """

    ordinal: int
    name: str
    until: datetime | None = None
    timeout: bool = False


class Reasons:
    """The reasons of the runs of one answer; what they share is read once, and only if a run needs it."""

    def __init__(self, snapshot: Snapshot, running: Sequence[str]) -> None:
        self._snapshot = snapshot
        self._running = running

    def of(
        self,
        run_id: str,
        native: str,
        *,
        queue: str | None,
        version: str | None,
        attempts: int | None,
        delay_until: datetime | None,
        deadline: datetime | None,
        span: Span | None,
    ) -> tuple[str, datetime | None]:
        """The reason, empty where there is nothing to say, and when the run goes on, where that is recorded."""
        match native:
            case "ENQUEUED":
                return ", ".join(self._queued(queue, version)), None
            case "DELAYED":
                return ", ".join(["delayed", *self._queued(queue, version)]), delay_until
            case "PENDING":
                return self._still(run_id, queue)
            case "MAX_RECOVERY_ATTEMPTS_EXCEEDED" | "RETRIES_EXCEEDED":
                return f"given up: taken up {attempts} times without coming to an end", None
            case "CANCELLED" if deadline and span and span.cut_after and span.cut_after >= deadline:
                return "its deadline had passed", None
        return "", None

    def before(self, run_id: str, queue: str) -> int:
        """How many enqueued runs of the queue come before this one: by priority, then age. At most 10,000 are
        counted.
        """
        return whole(self._snapshot.rows(_BEFORE, {"run": run_id, "queue": queue})[0][0]) or 0

    def _queued(self, queue: str | None, version: str | None) -> list[str]:
        words = [f"queue {queue}" if queue else "no queue recorded"]
        if queue and queue != INTERNAL_QUEUE and self._queues and queue not in self._queues:
            words.append("which is not registered")
        if version and self._newest_version and version != self._newest_version:
            words.append(f"waits for version {version}; newest is {self._newest_version}")
        return words

    def _still(self, run_id: str, queue: str | None) -> tuple[str, datetime | None]:
        last = self._last.get(run_id)
        taken = f", taken from queue {queue}" if queue else ""
        if last is None:
            return f"no step recorded yet{taken}", None
        if last.until is not None and last.until > clock.now():
            what = "sleeps, or waits for a message or value" if last.timeout else "sleeps"
            return f"{what}, step {last.ordinal}", last.until
        return f"nothing recorded since {last.name}, step {last.ordinal}{taken}", None

    @cached_property
    def _last(self) -> dict[str, _Last]:
        found: dict[str, _Last] = {}
        for run_id, *row in self._snapshot.rows_of(_LAST_STEPS, self._running):
            ordinal, name, completed, serialization, output, follows = row
            last = _Last(whole(ordinal) or 0, text(name))
            if last.name == SLEEP:
                # A recv or getEvent is recorded when it is over, under the number before its timeout's.
                timeout = not follows and last.ordinal > (0 if self._snapshot.schema.is_go else 1)
                last = _Last(last.ordinal, last.name, wake_up(serialization, output) or instant(completed), timeout)
            found[text(run_id)] = last
        return found

    @cached_property
    def _newest_version(self) -> str:
        if not self._snapshot.schema.has("application_versions"):
            return ""
        rows = self._snapshot.rows(_NEWEST_VERSION)
        return text(rows[0][0]) if rows else ""

    @cached_property
    def _queues(self) -> frozenset[str]:
        """The registered queues; queues that exist in code alone are in no table, so an empty one says nothing."""
        if not self._snapshot.schema.has("queues"):
            return frozenset()
        return frozenset(text(name) for (name,) in self._snapshot.rows(_QUEUES))
