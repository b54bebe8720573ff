"""Attempts out of log rows: one for each lock lease, which the engine calls a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs.engines.obelisk.failures import TIMED_OUT, attempt_error
from runs.engines.obelisk.history import LogRow
from runs.engines.obelisk.shapes import instant, mapping, text
from runs.records import Attempt, ErrorSummary, HttpCall, Status


@dataclass(slots=True)
class _Lease:
    id: str
    executor: str
    started_at: datetime | None
    lock: LogRow  # as it was last extended
    seen_at: datetime | None
    recorded: bool = False  # history was written since it was last taken

    def ended(
        self,
        at: datetime | None,
        status: Status,
        error: ErrorSummary | None = None,
        until: datetime | None = None,
        http: tuple[HttpCall, ...] = (),
    ) -> Attempt:
        return Attempt(self.started_at, at, status, error, until, self.id, self.executor, http)


def attempts(rows: Iterable[LogRow], held: str | None) -> tuple[Attempt, ...]:
    """The attempts that the rows of one run tell of, oldest first; ``held`` is the lease that has its lock, or None.

    Extensions of a lock belong to its attempt. For an activity an attempt is a try of its function. For a workflow it
    is one replay of its code until it blocks: one that ended in a wait, or was given back, is *waiting*; only one that
    timed out or trapped is *failed*.
    """
    found: list[Attempt] = []
    lease: _Lease | None = None
    for row in rows:
        if row.variant == "locked":
            name = row.lease or f"row {row.version}"
            if lease and lease.id == name:
                lease.lock, lease.seen_at, lease.recorded = row, row.at, False
                continue
            if lease:
                found.append(lease.ended(lease.seen_at, Status.WAITING))
            lease = _Lease(name, row.executor, row.at, row, row.at)
        elif lease and row.variant == "history_event":
            lease.seen_at, lease.recorded = row.at, True
        elif lease and (attempt := _end(lease, row)):
            found.append(attempt)
            lease = None
    if lease:
        held_now = lease.id == held
        found.append(lease.ended(None, Status.RUNNING) if held_now else lease.ended(lease.seen_at, Status.WAITING))
    return tuple(found)


def count(found: tuple[Attempt, ...], component_type: str) -> int | None:
    """How often it was tried; None for a stub, which nobody tries: somebody answers it.

    Leases of a workflow are no tries: it counts once, and once more after each that failed for now.
    """
    if component_type == "activity_stub":
        return None
    if component_type == "activity" or not found:
        return len(found)
    failed = sum(attempt.status is Status.FAILED and attempt.until is not None for attempt in found)
    return failed + (not (found[-1].status is Status.FAILED and found[-1].until is not None))


def _end(lease: _Lease, row: LogRow) -> Attempt | None:
    match row.variant:
        case "temporarily_failed":
            failure = attempt_error(row.content, row.clipped)
            return lease.ended(row.at, Status.FAILED, failure, _backed_off(row), http_calls(row))
        case "temporarily_timed_out":
            return lease.ended(row.at, Status.FAILED, TIMED_OUT, _backed_off(row), http_calls(row))
        case "unlocked":
            until = _backed_off(row)
            later = until if until and row.at and until > row.at else None
            return lease.ended(row.at, Status.WAITING, until=later, http=http_calls(row))
        case "finished":
            expired_at = instant(lease.lock.content.get("lock_expires_at")) if lease.recorded else None
            if expired_at and row.at and row.at > expired_at:
                # Somebody ended a run that was waiting, by cancelling it: its last lease had ended long before.
                return lease.ended(lease.seen_at, Status.WAITING, http=http_calls(row))
            status, error = row.outcome
            return lease.ended(row.at, status, error, http=http_calls(row))
    return None


def _backed_off(row: LogRow) -> datetime | None:
    return instant(row.content.get("backoff_expires_at"))


def http_calls(row: LogRow) -> tuple[HttpCall, ...]:
    """The HTTP requests that the attempt made which this row ended."""
    traces = None if row.plain else row.content.get("http_client_traces")
    return tuple(_http_call(mapping(trace)) for trace in traces) if isinstance(traces, list) else ()


def _http_call(trace: Any) -> HttpCall:
    request, response = mapping(trace.get("req")), mapping(trace.get("resp"))
    status = mapping(response.get("status"))
    words = next((str(status[key]) for key in ("Ok", "ok", "Err", "err") if key in status), "no answer")
    return HttpCall(
        method=text(request.get("method")),
        uri=text(request.get("uri")),
        sent_at=instant(request.get("sent_at")),
        finished_at=instant(response.get("finished_at")),
        outcome=words,
    )
