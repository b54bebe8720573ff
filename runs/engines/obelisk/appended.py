"""What a retry appended, looked at inside its transaction: row by row, and whether the rows go together."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runs.clock import parse_instant
from runs.engines.obelisk import appended_rows
from runs.engines.obelisk.appended_rows import demand
from runs.engines.obelisk.executions import SUCCEEDED
from runs.engines.obelisk.rows import DELAY, LOG, RESPONSE, STATE, STATE_COLUMNS
from runs.engines.obelisk.shapes import compact
from runs.errors import AppendRefused
from runs.retry import Operation, RetryPlan, Update, count_by_table
from runs.sources.base import Reader, Value

HOLDING = frozenset({"paused", "unpaused"})

_SCOPE = "(x.execution_id = :id OR (x.execution_id > :id || '.' AND x.execution_id < :id || '/'))"

_LOGS = (
    """SELECT x.execution_id, x.version, x.created_at, x.json_value, x.variant, x.join_set_id
FROM {schema}t_execution_log x WHERE """
    + _SCOPE
    + " ORDER BY x.execution_id, x.version"
)
_STATES = "SELECT " + ", ".join(f"x.{name}" for name in STATE_COLUMNS) + " FROM {schema}t_state x WHERE "  # noqa: S608
_RESPONSES = (
    """SELECT x.execution_id, x.created_at, x.join_set_id, x.delay_id, x.delay_success, x.child_execution_id,
    x.finished_version, x.seq FROM {schema}t_join_set_response x WHERE """  # noqa: S608
    + _SCOPE
    + " ORDER BY x.execution_id, x.seq, x.id"
)
_DELAYS = """SELECT x.execution_id, x.join_set_id, x.delay_id, x.expires_at, x.is_paused
FROM {schema}t_delay x WHERE """

_NEWEST = """SELECT x.execution_id, x.version, x.created_at, x.json_value, x.variant, x.join_set_id
FROM {schema}t_execution_log x WHERE x.execution_id = :id ORDER BY x.version DESC LIMIT 1"""
_FUNCTION = """SELECT x.json_value->>'$.created.ffqn' FROM {schema}t_execution_log x
WHERE x.execution_id = :id AND x.version = 0"""


@dataclass(slots=True)
class _Life:
    """One execution's rows: contents of its log by version with their variants, and what belongs to them."""

    state: Mapping[str, Any] | None = None
    log: dict[int, tuple[str, Any]] = field(default_factory=dict)
    responses: list[Mapping[str, Any]] = field(default_factory=list)
    delays: set[str] = field(default_factory=set)


def check(reader: Reader, plan: RetryPlan) -> None:
    """Raises AppendRefused unless the changes of the plan left rows that the engine can read and go on with."""
    if plan.new_run == plan.run:
        _check_changed(reader, plan)
    else:
        _check_new(reader, plan)


def _check_changed(reader: Reader, plan: RetryPlan) -> None:
    """An execution that was there: its newest row, its state, its delays."""
    run = {"id": plan.run}
    states = reader.rows(_STATES + "x.execution_id = :id", run)
    demand(len(states) == 1, f"{plan.run} has no state.")
    state: dict[str, Any] = dict(zip(STATE_COLUMNS, states[0], strict=True))
    appended_rows.state_row(state)
    run_id, version, created_at, source, variant, join_set = reader.rows(_NEWEST, run)[0]
    content = appended_rows.log_row(
        str(run_id), _whole(version), str(created_at), str(source), str(variant), _name(join_set)
    )
    demand(state["corresponding_version"] == version, f"{plan.run}: its state is not at the newest version of its log.")
    function = reader.rows(_FUNCTION, run)
    demand(bool(function) and function[0][0] == state["ffqn"], f"{plan.run}: its state names another function.")
    demand(state["state"] != "finished", f"{plan.run} has ended.")
    if plan.operation is Operation.UNPAUSE:
        demand(variant == "unpaused" and state["lifecycle"] == "active", f"{plan.run} was unpaused but is not active.")
    if plan.operation is Operation.RETRY_NOW:
        # Of an execution that is blocked, an engine that stops writes the same row.
        demand(
            variant == "unlocked" and state["state"] == "pending_at", f"{plan.run} was given back but is not pending."
        )
        due, written = state["pending_expires_finished"], content["backoff_expires_at"]
        demand(parse_instant(due) == parse_instant(written), f"{plan.run} is due at {due}, its log says {written}.")
    keys = {change.where["delay_id"] for change in plan.changes if isinstance(change, Update) and change.table == DELAY}
    delays = [row for row in reader.rows(_DELAYS + _SCOPE, run) if row[2] in keys]
    demand(len(delays) == len(keys), f"{plan.run}: the delay is not there.")
    for row in delays:
        _delay(row)


def _check_new(reader: Reader, plan: RetryPlan) -> None:
    """A new run with everything derived from it: all of its rows are ours."""
    origin = plan.run if plan.operation is Operation.FORK else ""
    demand(plan.new_run.removeprefix("E_") != _ulid(plan.run), "The new run is not a new one.")
    check_tree(reader, origin, plan.new_run, count_by_table(plan.changes))


def check_tree(reader: Reader, origin: str, new_run: str, planned: Counter[str] | None = None) -> None:
    """A run with everything derived from it, none of it taken up: ``planned`` says how many rows each table has of it. A fork's
    rows may not name its ``origin``. Raises AppendRefused."""
    scope = {"id": new_run}
    lives: dict[str, _Life] = defaultdict(_Life)
    counted: Counter[str] = Counter()
    for row in reader.rows(_LOGS, scope):
        run_id, version, created_at, source, variant, join_set = row
        counted[LOG] += 1
        content = appended_rows.log_row(
            str(run_id), _whole(version), str(created_at), str(source), str(variant), _name(join_set)
        )
        lives[str(run_id)].log[_whole(version)] = (str(variant), content)
        _demand_own(str(run_id), str(source), content, _ulid(origin))
    for values in reader.rows(_STATES + _SCOPE, scope):
        counted[STATE] += 1
        state = dict(zip(STATE_COLUMNS, values, strict=True))
        appended_rows.state_row(state)
        lives[str(state["execution_id"])].state = state
    for run_id, created_at, join_set, delay, success, child, version, number in reader.rows(_RESPONSES, scope):
        counted[RESPONSE] += 1
        demand(appended_rows.column_instant(created_at), f"A response of {run_id!r} was created at {created_at!r}.")
        response = {
            "join_set": join_set, "delay": delay, "success": success, "child": child, "version": version, "seq": number,
        }  # fmt: skip
        lives[str(run_id)].responses.append(response)
    for row in reader.rows(_DELAYS + _SCOPE, scope):
        counted[DELAY] += 1
        _delay(row)
        lives[str(row[0])].delays.add(str(row[2]))
    demand(planned in (None, counted), f"{dict(counted)} rows are there, {dict(planned or {})} were planned.")
    demand(new_run in lives, "The new run is not there.")
    for each, life in lives.items():
        _check_life(each, life, lives)


def _check_life(run_id: str, life: _Life, lives: Mapping[str, _Life]) -> None:
    state = life.state
    if state is None:
        raise AppendRefused(f"{run_id} has rows but no state.")
    demand(bool(life.log) and min(life.log) == 0, f"{run_id} was never created.")
    newest = max(life.log)
    demand(state["corresponding_version"] == newest, f"{run_id}: its state is not at the newest version of its log.")
    created = life.log[0][1]
    demand(state["ffqn"] == created["ffqn"], f"{run_id}: its state names another function than its log.")
    ended = [version for version, (variant, _) in life.log.items() if variant == "finished"]
    demand(
        ended == ([newest] if state["state"] == "finished" else []), f"{run_id} is {state['state']}, its log is not."
    )
    _check_responses(run_id, life, lives)
    if state["state"] == "finished":
        _check_result(run_id, state, life.log[newest][1]["retval"])
    else:
        demand(list(life.log) == list(range(newest + 1)), f"{run_id}: versions are missing in its log.")
        paused = life.log[newest][0] == "paused"
        demand(paused == (state["lifecycle"] == "paused"), f"{run_id} is {state['lifecycle']}, its log is not.")
        demand(state["incompatible_digest"] is None, f"{run_id} could never be taken up: its digest is incompatible.")
        _check_waits(run_id, state, life, lives)


def _check_result(run_id: str, state: Mapping[str, Any], retval: Mapping[str, Any]) -> None:
    ((kind, value),) = retval.items()
    expected = {
        "ok": SUCCEEDED,
        "err": compact({"err": "error"}),
        "execution_failure": compact({"err": {"execution_failure": value["kind"]}})
        if kind == "execution_failure"
        else "",
    }[kind]
    demand(str(state["result_kind"]).replace(" ", "") == expected, f"{run_id}: result_kind is not what its log says.")


def _check_responses(run_id: str, life: _Life, lives: Mapping[str, _Life]) -> None:
    """Numbered from 1 without a gap; each of a child that ended there, or of a delay."""
    numbers = [response["seq"] for response in life.responses]
    demand(numbers == list(range(1, len(numbers) + 1)), f"The responses of {run_id} are numbered {numbers}.")
    for response in life.responses:
        prefix = f".{response['join_set']}_"
        if response["child"] is None:
            delay, own = response["delay"], f"Delay_{run_id.removeprefix('E_')}{prefix}"
            demand(isinstance(delay, str) and delay.startswith(own), f"{run_id} has a response to {delay!r}.")
            demand(
                response["success"] in (0, 1) and response["version"] is None, f"The response to {delay} is malformed."
            )
            demand(delay not in life.delays, f"{delay} has a response and is pending.")
            continue
        child = str(response["child"])
        demand(child.startswith(run_id + prefix), f"{run_id} has a response of {child!r}.")
        demand(response["delay"] is None and response["success"] is None, f"The response of {child} is malformed.")
        found = lives[child].log.get(response["version"]) if child in lives else None
        demand(found is not None and found[0] == "finished", f"{child} has no finished row at {response['version']}.")


def _check_waits(run_id: str, state: Mapping[str, Any], life: _Life, lives: Mapping[str, _Life]) -> None:
    """Every wait but the one that blocks has its response; everything asked for is there, and can still be answered."""
    answers = Counter(response["join_set"] for response in life.responses)
    answered = {response["child"] or response["delay"] for response in life.responses}
    counted: Counter[str] = Counter()
    blocked_at = None
    for version, (variant, content) in life.log.items():
        event = content["event"] if variant == "history_event" else {}
        kind, join_set = event.get("type"), str(event.get("join_set_id"))
        if kind == "join_set_request":
            _check_request(run_id, event["request"], life, lives, answered)
        if kind == "join_next" or (kind == "join_next_try" and event.get("outcome") == "found"):
            demand(blocked_at is None, f"{run_id}: the wait at version {blocked_at} has no response.")
            counted[join_set] += 1
            if counted[join_set] > answers[join_set]:
                demand(kind == "join_next", f"{run_id}: what it found at version {version} has no response.")
                blocked_at = version
    # Being held back, and released, lies above what it waits for.
    newest = max(version for version, (variant, _) in life.log.items() if variant not in HOLDING)
    if state["state"] == "blocked_by_join_set":
        demand(blocked_at == newest, f"{run_id} is blocked, but not by the last row of its log.")
        event = life.log[newest][1]["event"]
        same = state["join_set_id"] == event["join_set_id"] and bool(state["join_set_closing"]) == event["closing"]
        demand(same, f"{run_id} is blocked by another join set than its log says.")
    else:
        demand(state["state"] == "pending_at", f"{run_id} is {state['state']}: nobody has taken it up.")
        demand(blocked_at is None, f"{run_id}: the wait at version {blocked_at} has no response.")


def _check_request(
    run_id: str, request: Mapping[str, Any], life: _Life, lives: Mapping[str, _Life], answered: set[Any]
) -> None:
    delay = request.get("delay_id")
    if delay is not None:
        demand(delay in answered or delay in life.delays, f"{run_id}: the delay {delay} would never end.")
        return
    result = request.get("result")
    if isinstance(result, dict) and "Err" in result:
        return
    child = str(request["child_execution_id"])
    found = lives[child].state if child in lives else None
    demand(found is not None, f"{run_id}: its child {child} is not there.")
    ended = found is not None and found["state"] == "finished"
    demand(ended == (child in answered), f"{run_id}: its child {child} has ended without a response, or the reverse.")


def _demand_own(run_id: str, source: str, content: Any, old: str) -> None:
    """Nothing but the mark of the retry may name the run that is retried: the engine would follow it there."""
    if old and (old in source or "\\u" in source) and isinstance(content, dict):
        rest = {key: value for key, value in content.items() if key != "metadata"}
        demand(old not in compact(rest), f"A row of {run_id} still names {old}.")


def _ulid(run_id: str) -> str:
    """The part of an id that everything derived from it has as well."""
    return run_id.partition(".")[0].removeprefix("E_")


def _delay(row: tuple[Value, ...]) -> None:
    run_id, join_set, delay_id, expires_at, is_paused = row
    appended_rows.delay_row(str(run_id), str(join_set), str(delay_id), str(expires_at), _whole(is_paused))


def _whole(value: Value) -> int:
    return value if isinstance(value, int) else -1


def _name(value: Value) -> str | None:
    return None if value is None else str(value)
