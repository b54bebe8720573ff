"""The steps of a run: one for each request to a join set, persisted value, scheduled run and answered stub.

Its ordinal is the version of that row. Creating a join set and awaiting it are events, not steps. What became of
a child is read from the child's own rows, for all children of the run together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from runs.engines.base import Settled, earliest
from runs.engines.obelisk.attempts import attempts, count
from runs.engines.obelisk.detail import returned
from runs.engines.obelisk.failures import cut
from runs.engines.obelisk.history import LogRow, in_chunks, input_sizes, lives, log_row_of, step_values
from runs.engines.obelisk.runs import present
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import compact, instant, mapping, snake, text, whole
from runs.engines.obelisk.states import COLUMNS, Row, native_status
from runs.errors import RunNotFound
from runs.records import Attempt, ErrorSummary, Payload, Payloads, Status, Step, StepKind
from runs.sources.base import Value

_STATES = "SELECT $columns FROM {schema}t_state s WHERE s.execution_id IN ($ids)"

_DELAY_RESPONSES = """SELECT r.delay_id, r.created_at, $delay_success
FROM {schema}t_join_set_response r WHERE r.execution_id = :id AND r.delay_id IS NOT NULL"""

_DELAYS = "SELECT d.delay_id, d.expires_at, $delay_paused FROM {schema}t_delay d WHERE d.execution_id = :id"

REFUSED = "request refused"
AT_ONCE = timedelta(0)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class _Sleep:
    """What is recorded of a delay: the response that ended it, or when it is due as of now."""

    ended_at: datetime | None = None
    expired: bool = True  # else it was cancelled
    expires_at: datetime | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class _Around:
    """All that the steps of one run need beside their own rows."""

    run: Row
    children: Mapping[str, Row]
    lives: Mapping[str, Sequence[LogRow]]  # of those that it waited for
    inputs: Mapping[str, int | None]  # of those that it scheduled
    sleeps: Mapping[str, _Sleep]


def steps(snapshot: Snapshot, run_id: str, settled: Settled) -> tuple[Step, ...]:
    """All steps by ordinal; those that are ``settled`` are taken from there, and put there. Raises RunNotFound.

    A child that has finished does not change any more. So a step that waited for it is what it was as long as its own row and the
    child's state are, which names the instant of its end to the nanosecond: the child's log, most of the work, is not read again.
    """
    own = states(snapshot, [run_id]).get(run_id)
    if own is None:
        raise RunNotFound(f"{run_id!r} is not in it.")
    told = step_values(snapshot, run_id)
    kept = _unchanged(snapshot, told, settled)
    new = [values for values in told if values[1] not in kept]
    rows = [log_row_of(values) for values in new]
    started = [child_of(row) for row in rows]
    children = states(snapshot, [child for child in started if child])
    scheduled = {child for row, child in zip(rows, started, strict=True) if row.kind == "schedule"} & children.keys()
    around = _Around(
        run=own,
        children=children,
        lives=lives(snapshot, [child for child in children if child not in scheduled], without="created"),
        inputs=input_sizes(snapshot, sorted(scheduled)),
        sleeps=_sleeps(snapshot, run_id),
    )
    made = [_step(row, child_id, around) for row, child_id in zip(rows, started, strict=True)]
    for values, child_id, step in zip(new, started, made, strict=True):
        child = children.get(child_id)
        if child is not None and child.state == "finished" and child_id not in scheduled:
            settled[step.ordinal] = hash((values, child)), step
    following = iter(made)
    return tuple(kept[values[1]] if values[1] in kept else next(following) for values in told)


def _unchanged(snapshot: Snapshot, told: Sequence[tuple[Value, ...]], settled: Settled) -> dict[Value, Step]:
    """By version what is settled and still as it was; all else is taken out of ``settled``."""
    before = [(values, *settled[version]) for values in told if (version := whole(values[1]) or 0) in settled]
    children = states(snapshot, [step.child for _, _, step in before if step.child])
    kept: dict[Value, Step] = {}
    settled.clear()
    for values, mark, step in before:
        if step.child and mark == hash((values, children.get(step.child))):
            kept[values[1]] = step
            settled[step.ordinal] = mark, step
    return kept


def child_of(row: LogRow) -> str:
    """The run that this row started; empty where it started none."""
    if row.kind == "schedule":
        return text(row.event.get("execution_id"))
    request = row.request
    return text(request.get("child_execution_id")) if not _refusal(request.get("result")) else ""


def states(snapshot: Snapshot, run_ids: Sequence[str]) -> dict[str, Row]:
    """The rows of t_state with these ids, as far as they are there."""
    found: dict[str, Row] = {}
    for names, params in in_chunks(list(dict.fromkeys(run_ids))):
        for values in snapshot.rows(_STATES, params | present(snapshot), ids=names, columns=COLUMNS):
            row = Row(*values)
            found[row.id] = row
    return found


def _sleeps(snapshot: Snapshot, run_id: str) -> dict[str, _Sleep]:
    found: dict[str, _Sleep] = {}
    if "t_delay" in snapshot.tables:
        for delay_id, expires_at, paused in snapshot.rows(_DELAYS, {"id": run_id}):
            found[text(delay_id)] = _Sleep(expires_at=instant(expires_at), paused=bool(paused))
    if "delay_id" in snapshot.tables.get("t_join_set_response", {}):
        for delay_id, created_at, success in snapshot.rows(_DELAY_RESPONSES, {"id": run_id}):
            found[text(delay_id)] = _Sleep(ended_at=instant(created_at), expired=success is None or bool(success))
    return found


def _step(row: LogRow, child_id: str, around: _Around) -> Step:
    match row.kind:
        case "persist":
            return _value(row)
        case "schedule":
            return _scheduled(row, child_id, around)
        case "stub":
            return _answered(row)
        case "join_set_request" if "delay_id" in row.request:
            return _sleep(row, around)
        case "join_set_request":
            return _child(row, child_id, around)
    return Step(
        row.version, StepKind.CODE, "unreadable", Status.UNKNOWN, row.variant, row.at, detail="its row can't be read"
    )


def _child(row: LogRow, child_id: str, around: _Around) -> Step:
    request, child = row.request, around.children.get(child_id)
    name = text(request.get("target_ffqn"))
    if child is None:
        refusal = _refusal(request.get("result"))
        return Step(
            ordinal=row.version,
            kind=StepKind.ACTIVITY,
            name=name or child_id or "unknown function",
            status=Status.FAILED if refusal else Status.UNKNOWN,
            native_status="refused" if refusal else "not in this database",
            started_at=row.at,
            finished_at=row.at if refusal else None,
            duration=AT_ONCE if refusal else None,
            error=ErrorSummary(REFUSED, refusal) if refusal else None,
            branch=text(row.event.get("join_set_id")),
            detail="no child was started" if refusal else "",
            payloads=Payloads(input=_payload(row, "input", row.body_size)),
        )
    life = around.lives.get(child_id, ())
    finished = next((item for item in reversed(life) if item.variant == "finished"), None)
    tries = attempts(life, text(child.lease) if child.state == "locked" else None)
    result = returned(row.run_id, f"step.{row.version}", finished)
    finished_at = child.finished_at
    return Step(
        ordinal=row.version,
        kind=StepKind.CHILD_RUN if child.component_type == "workflow" else StepKind.ACTIVITY,
        name=name or text(child.ffqn),
        status=child.our_status,
        native_status=native_status(child),
        started_at=row.at,
        finished_at=finished_at,
        duration=finished_at - row.at if finished_at and row.at else None,
        attempts=tries,
        attempt_count=count(tries, text(child.component_type)),
        error=_child_error(child, tries, finished),
        child=child_id,
        branch=text(row.event.get("join_set_id")),
        detail="answered from outside" if child.component_type == "activity_stub" else "",
        payloads=Payloads(_payload(row, "input", row.body_size), result.output, result.error),
    )


def _child_error(child: Row, tries: Sequence[Attempt], finished: LogRow | None) -> ErrorSummary | None:
    if finished is not None:
        return finished.outcome[1]
    if child.our_status is not Status.RETRYING:
        return None
    return next((attempt.error for attempt in reversed(tries) if attempt.error), None)


def _sleep(row: LogRow, around: _Around) -> Step:
    """A delay: until its response, else until it is due; one that a finished run left behind ends with the run."""
    sleep = around.sleeps.get(text(row.request.get("delay_id")), _Sleep())
    status, native, finished_at, projected = Status.SUCCEEDED, "expired", sleep.ended_at, False
    if sleep.ended_at is None:
        due_at = sleep.expires_at or instant(row.request.get("expires_at"))
        run_ended_at = around.run.finished_at
        status = Status.CANCELLED if run_ended_at else Status.PAUSED if sleep.paused else Status.WAITING
        native, projected = "left behind" if run_ended_at else "paused" if sleep.paused else "pending", True
        finished_at = earliest(due_at, run_ended_at)
    elif not sleep.expired:
        status, native = Status.CANCELLED, "cancelled"
    return Step(
        ordinal=row.version,
        kind=StepKind.SLEEP,
        name="sleep",
        status=status,
        native_status=native,
        started_at=row.at,
        finished_at=finished_at,
        duration=finished_at - row.at if finished_at and row.at and not projected else None,
        projected=projected,
        branch=text(row.event.get("join_set_id")),
    )


def _value(row: LogRow) -> Step:
    kind = snake(mapping(row.event.get("kind")).get("type"))
    return Step(
        ordinal=row.version,
        kind=StepKind.VALUE,
        name=kind or "value",
        status=Status.SUCCEEDED,
        native_status="persist",
        started_at=row.at,
        finished_at=row.at,
        duration=AT_ONCE,
        detail=_persisted(kind, row.event.get("value")),
        payloads=Payloads(output=_payload(row, "output", row.body_size)),
    )


def _scheduled(row: LogRow, child_id: str, around: _Around) -> Step:
    """A run started for its own sake: this run doesn't wait for it, so the step ends where it begins."""
    child, refusal = around.children.get(child_id), _refusal(row.event.get("result"))
    words = f"not awaited; {child.our_status}" if child else "not in this database"
    return Step(
        ordinal=row.version,
        kind=StepKind.CHILD_RUN,
        name=text(child.ffqn) if child else child_id or "unknown",
        status=Status.FAILED if refusal else Status.SUCCEEDED,
        native_status="refused" if refusal else "scheduled",
        started_at=row.at,
        finished_at=row.at,
        duration=AT_ONCE,
        error=ErrorSummary(REFUSED, refusal) if refusal else None,
        child=child_id if child else None,
        detail="no run was started" if refusal else words,
        payloads=Payloads(input=_payload(row, "input", around.inputs.get(child_id))),
    )


def _answered(row: LogRow) -> Step:
    refusal = _refusal(row.event.get("result"))
    return Step(
        ordinal=row.version,
        kind=StepKind.MESSAGE,
        name="answer to a stub",
        status=Status.FAILED if refusal else Status.SUCCEEDED,
        native_status="stub",
        started_at=row.at,
        finished_at=row.at,
        duration=AT_ONCE,
        error=ErrorSummary(REFUSED, refusal) if refusal else None,
        detail=text(row.event.get("target_execution_id")),
    )


def _payload(row: LogRow, slot: str, size: int | None) -> Payload | None:
    return None if size is None else Payload(row.run_id, f"step.{row.version}.{slot}", "json", size)


def _refusal(result: Any) -> str:
    """Why a request was refused, from ``{"Err": "conflict"}`` or ``{"Err": {"type_check_error": "…"}}``; else empty."""
    found = [value for key, value in mapping(result).items() if key.lower() == "err"]
    if not found:
        return ""
    error = found[-1]
    if isinstance(error, dict) and len(error) == 1:
        ((kind, words),) = error.items()
        return cut(f"{kind}: {words if isinstance(words, str) else compact(words)}")
    return cut(error if isinstance(error, str) else compact(error))


def _persisted(kind: str, value: Any) -> str:
    """A persisted value as the workflow got it; empty where its bytes are not of that kind."""
    try:
        data = bytes(value) if isinstance(value, list) else b""
    except (ValueError, TypeError):
        return ""
    if kind == "random_u64" and len(data) == 8:
        return str(int.from_bytes(data, "big"))
    if kind == "random_string":
        return cut(data.decode("utf-8", "replace"))
    if kind == "execution_id" and len(data) == 16:
        number = int.from_bytes(data, "big")
        return "E_" + "".join(_CROCKFORD[number >> 5 * place & 31] for place in range(25, -1, -1))
    return ""
