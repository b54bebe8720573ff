"""One row of t_state as a run: our status beside the engine's words, and what it waits for."""

from datetime import datetime
from typing import NamedTuple

from runs import clock
from runs.engines.base import latest
from runs.engines.obelisk.shapes import Unparsed, hexadecimal, instant, mapping, parse, remembered, text, whole
from runs.records import ErrorSummary, Retried, Run, Status
from runs.sources.base import Value

DIGEST_SHOWN = 12  # hex digits of a component's digest that name a version

COLUMNS = """s.execution_id, s.ffqn, $status, $state, $lifecycle, $result_kind, $created_at, s.pending_expires_finished,
    $component_type, $digest, $deployment, $incompatible, s.join_set_id, $closing, s.run_id, $delay_due"""


class Row(NamedTuple):
    """The values of COLUMNS, and of a list's further columns where they were asked for."""

    run_id: Value
    ffqn: Value
    status: Value
    state: Value
    lifecycle: Value
    result_kind: Value
    created_at: Value
    pending_expires_finished: Value
    component_type: Value
    digest: Value
    deployment: Value
    incompatible: Value
    join_set_id: Value
    join_set_closing: Value
    lease: Value
    delay_due: Value
    started_at: Value = None
    last_event_at: Value = None
    steps: Value = None
    attempts: Value = None

    @property
    def id(self) -> str:
        return text(self.run_id)

    @property
    def our_status(self) -> Status:
        return Status(text(self.status))

    @property
    def finished_at(self) -> datetime | None:
        return instant(self.pending_expires_finished) if self.state == "finished" else None


def run_of(row: Row, error: ErrorSummary | None, again: tuple[Retried, ...]) -> Run:
    """The run as a list shows it."""
    created_at = instant(row.created_at) or clock.EPOCH
    finished_at = row.finished_at
    attempts = whole(row.attempts)
    return Run(
        id=row.id,
        workflow=text(row.ffqn),
        status=row.our_status,
        native_status=native_status(row),
        created_at=created_at,
        started_at=instant(row.started_at),
        finished_at=finished_at,
        duration=finished_at - created_at if finished_at else None,
        last_event_at=latest(instant(row.last_event_at), finished_at, created_at),
        due_at=_due_at(row),
        attempts=attempts,
        steps=whole(row.steps) or 0,
        error=error,
        reason=reason(row, attempts),
        parent=parent_of(row.id),
        retries=again,
        version=hexadecimal(row.digest)[:DIGEST_SHOWN] or None,
        cancelling=row.lifecycle == "cancelling" and row.state != "finished",
    )


def parent_of(run_id: str) -> str | None:
    """A derived id is its parent's, a dot, the join set and a number: neither holds a dot."""
    return run_id.rpartition(".")[0] or None


def native_status(row: Row) -> str:
    """The engine's words: its state, what is above it, and for a finished run the kind of its result."""
    state, lifecycle = text(row.state), text(row.lifecycle)
    if state != "finished":
        return state if lifecycle == "active" else f"{lifecycle}, {state}"
    return _finished_word(row.result_kind)


@remembered
def _finished_word(result_kind: Value) -> str:
    try:
        kind = parse(result_kind)
    except Unparsed:
        return f"finished: {text(result_kind)[:80]}"
    if isinstance(kind, str):
        return f"finished: {kind}"
    found = {key.lower(): value for key, value in mapping(kind).items()}
    if "ok" in found:
        return "finished: ok"
    error = found.get("err")
    failure = next(iter(mapping(error).values()), None)
    if isinstance(failure, str):
        return f"execution failure: {failure}"
    return f"finished: {error}" if isinstance(error, str) else "finished: unknown"


def _due_at(row: Row) -> datetime | None:
    if row.our_status is Status.WAITING:
        return instant(row.delay_due)
    return instant(row.pending_expires_finished) if row.our_status in (Status.SCHEDULED, Status.RETRYING) else None


def reason(row: Row, attempts: int | None) -> str:
    """What an unfinished run waits for, or that a succeeded one needed several attempts."""
    status = row.our_status
    if status is Status.SUCCEEDED:
        return f"after {attempts} attempts" if (attempts or 0) > 1 else ""
    words = ""
    if row.state == "blocked_by_join_set":
        closing = ", which is closing" if row.join_set_closing else ""
        words = f"waits for join set {text(row.join_set_id)}{closing}"
    elif row.state == "pending_at" and row.incompatible is not None:
        words = "waits for an upgrade: the component deployed now can't go on with its history"
    elif status is Status.WAITING:
        words = "waits for an answer from outside"
    elif status is Status.RETRYING:
        words = "waits to be tried again"
    if status is Status.PAUSED:
        return f"paused; {words}" if words else "paused" if row.lease is not None else "paused before it was taken up"
    return words
