"""What an Obelisk file must look like for its engine, with plain SQL and nothing of Durascope's: for tests of what was appended.

``complaints`` says what is wrong with the rows of some executions; ``expected_cut`` where a failed workflow can go on;
``fork_complaints`` what a fork got wrong.
"""

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

Row = dict[str, Any]

U = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
SEGMENTS = r"(\.[ong]:[a-zA-Z0-9/-]+_\d+)"
COLUMN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?\+00:00")
ZULU = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}|\.\d{6}|\.\d{9})?Z")
SET_IN_COLUMN = ("join_set_create", "join_set_request", "join_next")
LEASE = {"executor_id", "run_id"}
RUN_COLUMNS = (
    "max_retries", "retry_exp_backoff_millis", "last_lock_version", "executor_id", "run_id", "join_set_id",
    "join_set_closing", "result_kind",
)  # fmt: skip


def rows(connection: sqlite3.Connection, sql: str, *params: object) -> list[Row]:
    cursor = connection.execute(sql, params)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def family(connection: sqlite3.Connection, run_id: str) -> list[str]:
    found = connection.execute(
        "SELECT execution_id FROM t_state WHERE execution_id = ? OR execution_id GLOB ? || '.*'", (run_id,) * 2
    )
    return sorted(row[0] for row in found)


def log_of(connection: sqlite3.Connection, run_id: str) -> list[Row]:
    return rows(connection, "SELECT * FROM t_execution_log WHERE execution_id = ? ORDER BY version", run_id)


def state_of(connection: sqlite3.Connection, run_id: str) -> Row:
    (row,) = rows(connection, "SELECT * FROM t_state WHERE execution_id = ?", run_id)
    return row


def responses_of(connection: sqlite3.Connection, run_id: str) -> list[Row]:
    return rows(connection, "SELECT * FROM t_join_set_response WHERE execution_id = ? ORDER BY seq", run_id)


def event(row: Row) -> Row:
    return json.loads(row["json_value"])["history_event"]["event"] if row["variant"] == "history_event" else {}


def complaints(connection: sqlite3.Connection, run_ids: Iterable[str], ours: bool = True) -> Iterator[str]:
    """What the engine would stumble over; ``ours``: also what only the engine itself may leave behind."""
    for run_id in run_ids:
        log, state = log_of(connection, run_id), state_of(connection, run_id)
        for problem in [*_log(run_id, log), *_state(state, log), *_answers(connection, run_id, state, log, ours)]:
            yield f"{run_id}: {problem}"


def _log(run_id: str, log: list[Row]) -> Iterator[str]:
    if not re.fullmatch(f"E_{U}{SEGMENTS}*", run_id):
        yield "id"
    if [row["version"] for row in log] != list(range(len(log))):
        yield "versions"
    parent, _, last = run_id.rpartition(".")
    for row in log:
        at, value = row["version"], json.loads(row["json_value"])
        if (at == 0) != (row["variant"] == "created"):
            yield f"{at}: first row"
        if not COLUMN.fullmatch(row["created_at"]):
            yield f"{at}: created_at {row['created_at']}"
        if row["variant"] in ("paused", "unpaused", "cancellation_requested"):
            if value != row["variant"]:
                yield f"{at}: {value}"
        elif list(value) != [row["variant"]]:
            yield f"{at}: not one key {row['variant']}"
        if row["json_value"] != json.dumps(value, separators=(",", ":"), ensure_ascii=False):
            yield f"{at}: not compact"
        join_set = None
        if row["variant"] == "created":
            created = value["created"]
            join_set = last.rpartition("_")[0] if parent else None
            if created["parent"] != ([parent, join_set] if parent else None):
                yield f"parent {created['parent']}"
            if not ZULU.fullmatch(created["scheduled_at"]) or not re.fullmatch(f"Dep_{U}", created["deployment_id"]):
                yield "created: scheduled_at or deployment"
            if not re.fullmatch("sha256:[0-9a-f]{64}", created["component_id"]["component_digest"]):
                yield "created: digest"
            if not all(isinstance(text, str) for text in created["metadata"].values()):
                yield "metadata"
        elif event(row).get("type") in SET_IN_COLUMN:
            join_set = event(row)["join_set_id"]
        if row["join_set_id"] != join_set:
            yield f"{at}: join set {row['join_set_id']}"
        if row["history_event_type"] != event(row).get("type"):
            yield f"{at}: generated type"
        if row["variant"] == "unlocked" and not ZULU.fullmatch(value["unlocked"]["backoff_expires_at"]):
            yield f"{at}: unlocked"


def _state(state: Row, log: list[Row]) -> Iterator[str]:
    filled = {name for name in RUN_COLUMNS if state[name] is not None}
    lifecycle = state["lifecycle"]
    match state["state"]:
        case "pending_at":
            fits = filled in (set(), LEASE)
        case "locked":
            fits = (
                filled - {"max_retries", "retry_exp_backoff_millis"} == LEASE | {"last_lock_version"}
                and lifecycle != "paused"
            )
        case "blocked_by_join_set":
            fits = filled - LEASE == {"join_set_id", "join_set_closing"}
        case "finished":
            fits = filled == {"result_kind"} and lifecycle == "active"
        case _:
            fits = False
    if not fits:
        yield f"state {state['state']} with {filled}, {lifecycle}"
    for name in ("created_at", "first_scheduled_at", "pending_expires_finished"):
        if not COLUMN.fullmatch(state[name]):
            yield f"{name} {state[name]}"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", state["updated_at"]):
        yield f"updated_at {state['updated_at']}"
    if len(state["component_id_input_digest"]) != 32 or not re.fullmatch(f"Dep_{U}", state["deployment_id"]):
        yield "digest or deployment"
    if state["is_top_level"] != ("." not in state["execution_id"]):
        yield "is_top_level"
    if state["corresponding_version"] != log[-1]["version"]:
        yield "corresponding_version"
    created = json.loads(log[0]["json_value"])["created"]
    if state["ffqn"] != created["ffqn"] or state["component_type"] != created["component_id"]["component_type"]:
        yield "ffqn or component type"
    if (state["state"] == "finished") != (log[-1]["variant"] == "finished"):
        yield "finished"


def _answers(connection: sqlite3.Connection, run_id: str, state: Row, log: list[Row], ours: bool) -> Iterator[str]:
    """§7's structure: every wait but the one that blocks has its response, and that its finished row."""
    responses = responses_of(connection, run_id)
    if [each["seq"] for each in responses] != list(range(1, len(responses) + 1)):
        yield "seq"
    answered: dict[str, list[Row]] = defaultdict(list)
    for each in responses:
        answered[each["join_set_id"]].append(each)
        if not COLUMN.fullmatch(each["created_at"]):
            yield "response created_at"
        if each["delay_id"]:
            if (
                each["delay_success"] not in (0, 1)
                or each["child_execution_id"] is not None
                or each["finished_version"] is not None
            ):
                yield "delay response"
            if not each["delay_id"].startswith(f"Delay_{run_id[2:]}.{each['join_set_id']}_"):
                yield f"response of {each['delay_id']}"
            continue
        if not each["child_execution_id"].startswith(f"{run_id}.{each['join_set_id']}_"):
            yield f"response of {each['child_execution_id']}"
        (ended,) = connection.execute(
            "SELECT count(*) FROM t_execution_log WHERE execution_id = ? AND version = ? AND variant = 'finished'",
            (each["child_execution_id"], each["finished_version"]),
        ).fetchone()
        if not ended:
            yield f"{each['child_execution_id']} has no finished row"
    waits: dict[str, int] = defaultdict(int)
    unanswered = []
    for row in log:
        found = event(row)
        if found.get("type") == "join_next" or (found.get("type") == "join_next_try" and found["outcome"] == "found"):
            waits[found["join_set_id"]] += 1
            if waits[found["join_set_id"]] > len(answered[found["join_set_id"]]):
                unanswered.append(row)
    if state["state"] == "blocked_by_join_set":
        if [row["join_set_id"] for row in unanswered] != [state["join_set_id"]]:
            yield f"blocked, but unanswered are {[row['version'] for row in unanswered]}"
        if ours and unanswered and unanswered[-1]["version"] != log[-1]["version"]:
            yield "blocked, but not by its last row"
    elif unanswered and state["state"] != "finished":
        yield f"unanswered at {[row['version'] for row in unanswered]}"
    if state["state"] != "finished":
        yield from _requests(
            connection, run_id, log, {each["child_execution_id"] or each["delay_id"] for each in responses}
        )


def _requests(connection: sqlite3.Connection, run_id: str, log: list[Row], answered: set[str]) -> Iterator[str]:
    for row in log:
        request = event(row).get("request", {})
        if delay := request.get("delay_id"):
            pending = rows(connection, "SELECT * FROM t_delay WHERE delay_id = ?", delay)
            if (delay in answered) == bool(pending):
                yield f"{delay} answered or pending"
            if not all(COLUMN.fullmatch(each["expires_at"]) and each["execution_id"] == run_id for each in pending):
                yield f"{delay} malformed"
        elif request and "Err" not in request["result"]:
            child = request["child_execution_id"]
            states = connection.execute("SELECT state FROM t_state WHERE execution_id = ?", (child,)).fetchall()
            if len(states) != 1 or (states[0][0] == "finished") != (child in answered):
                yield f"{child} lost"


def retval(connection: sqlite3.Connection, response: Row) -> Row:
    (text,) = connection.execute(
        "SELECT json_value FROM t_execution_log WHERE execution_id = ? AND version = ?",
        (response["child_execution_id"], response["finished_version"]),
    ).fetchone()
    return json.loads(text)["finished"]["retval"]


def expected_cut(connection: sqlite3.Connection, run_id: str) -> tuple[int, str, bool] | None:
    """Of §7 rule 2: the version of the wait, its join set, and whether it was a try; None where there is nothing to redo."""
    answered: dict[str, list[Row]] = defaultdict(list)
    for each in responses_of(connection, run_id):
        answered[each["join_set_id"]].append(each)
    failures = []
    waits: dict[str, int] = defaultdict(int)
    for row in log_of(connection, run_id):
        found = event(row)
        tried = found.get("type") == "join_next_try"
        if found.get("type") == "join_next" or (tried and found["outcome"] == "found"):
            response = answered[found["join_set_id"]][waits[found["join_set_id"]]]
            waits[found["join_set_id"]] += 1
            child_failed = response["child_execution_id"] and "ok" not in retval(connection, response)
            if child_failed and not found.get("closing"):
                failures.append((row["version"], found["join_set_id"], tried))
    return next((each for each in failures if each[1] == failures[-1][1]), None) if failures else None


def fork_complaints(
    connection: sqlite3.Connection, old: str, new: str, now: datetime, deep: bool = True
) -> Iterator[str]:
    """§7 rules 2 to 6, for the root and every workflow below it that goes on."""
    cut = expected_cut(connection, old)
    assert cut is not None
    wait, join_set, tried = cut
    last = wait - 1 if tried else wait
    ulids = old[2:28], new[2:28]
    source, state = state_of(connection, old), state_of(connection, new)
    before, after = log_of(connection, old), log_of(connection, new)
    if len(after) != last + 1:
        yield f"{new}: {len(after)} rows, not {last + 1}"
    for was, now_is in zip(before[1:], after[1:], strict=False):
        expected = {**was, "execution_id": new, "json_value": was["json_value"].replace(*ulids)}
        if now_is != expected:
            yield f"{new}: row {was['version']} differs"
    created = json.loads(before[0]["json_value"].replace(*ulids))
    created["created"]["metadata"] |= {"retry-of": old, "retry-cut": str(last), "retry-tool": "durascope"}
    if json.loads(after[0]["json_value"]) != created or after[0]["created_at"] != before[0]["created_at"]:
        yield f"{new}: created differs"
    same = ("ffqn", "is_top_level", "component_id_input_digest", "component_type", "deployment_id")
    if any(source[name] != state[name] for name in same):
        yield f"{new}: state differs"
    if state["lifecycle"] != "active" or state["incompatible_digest"] is not None:
        yield f"{new}: held back"

    answers = {each["child_execution_id"] or each["delay_id"]: each for each in responses_of(connection, old)}
    consumed = _consumed(before, list(answers.values()), wait)
    kept, redone = [], set()
    requests = [event(row)["request"] for row in before[: last + 1] if event(row).get("type") == "join_set_request"]
    for request in requests:
        child = request.get("child_execution_id")
        if child and "Err" not in request["result"]:
            answer = answers.get(child)
            if answer and (child in consumed or "ok" in retval(connection, answer)):
                kept.append(child)
                yield from _copied(connection, child, ulids)
            else:
                redone.add(child)
                yield from _redone(connection, child, ulids, now, deep)
    racing = {child.rpartition(".")[2].rpartition("_")[0] for child in redone}
    for request, row in [(event(row)["request"], row) for row in before[: last + 1] if "request" in event(row)]:
        delay = request.get("delay_id")
        if not delay:
            continue
        answer = answers.get(delay)
        if delay in consumed or (answer and answer["delay_success"] and row["join_set_id"] not in racing):
            kept.append(delay)
        elif not rows(connection, "SELECT * FROM t_delay WHERE delay_id = ?", delay.replace(*ulids)):
            yield f"{delay} is not armed again"
    copied = [each for key, each in answers.items() if key in kept]
    columns = ("created_at", "join_set_id", "delay_success", "finished_version")
    expected = [
        [each[name] for name in columns]
        + [(each["delay_id"] or "").replace(*ulids), (each["child_execution_id"] or "").replace(*ulids), number]
        for number, each in enumerate(copied, 1)
    ]
    found = [
        [each[name] for name in columns] + [each["delay_id"] or "", each["child_execution_id"] or "", each["seq"]]
        for each in responses_of(connection, new)
    ]
    if found != expected:
        yield f"{new}: responses {found}, not {expected}"
    satisfied = tried or sum(each["join_set_id"] == join_set for each in copied) > sum(
        answers[key]["join_set_id"] == join_set for key in consumed
    )
    if (state["state"], state["join_set_id"]) != (
        ("pending_at", None) if satisfied else ("blocked_by_join_set", join_set)
    ):
        yield f"{new} is {state['state']} {state['join_set_id']}"


def _consumed(log: list[Row], responses: list[Row], wait: int) -> set[str]:
    answered: dict[str, list[str]] = defaultdict(list)
    for each in responses:
        answered[each["join_set_id"]].append(each["child_execution_id"] or each["delay_id"])
    found = set()
    for row in log[:wait]:
        done = event(row)
        if done.get("type") == "join_next" or (done.get("type") == "join_next_try" and done["outcome"] == "found"):
            found.add(answered[done["join_set_id"]].pop(0))
    return found


def _copied(connection: sqlite3.Connection, old: str, ulids: tuple[str, str]) -> Iterator[str]:
    """A kept child, with all that ended below it."""
    for run_id in family(connection, old):
        source = state_of(connection, run_id)
        if source["state"] != "finished":
            continue
        new = run_id.replace(*ulids)
        if state_of(connection, new) != {**source, "execution_id": new}:
            yield f"{new}: state is no copy"
        text = [[str(value).replace(*ulids) for value in row.values()] for row in log_of(connection, run_id)]
        if [[str(value) for value in row.values()] for row in log_of(connection, new)] != text:
            yield f"{new}: log is no copy"
        if len(responses_of(connection, new)) != len(responses_of(connection, run_id)):
            yield f"{new}: responses are no copy"


def _redone(
    connection: sqlite3.Connection, old: str, ulids: tuple[str, str], now: datetime, deep: bool
) -> Iterator[str]:
    new, source = old.replace(*ulids), state_of(connection, old)
    if deep and source["component_type"] == "workflow" and expected_cut(connection, old):
        yield from fork_complaints(connection, old, new, now)
    else:
        yield from fresh_complaints(connection, old, new, now, ulids)


def fresh_complaints(
    connection: sqlite3.Connection, old: str, new: str, now: datetime, ulids: tuple[str, str] = ("", "")
) -> Iterator[str]:
    """§6, and §7 rule 5: one created row and a state due now, of the active deployment."""
    created, *others = log_of(connection, new)
    if others or responses_of(connection, new):
        yield f"{new}: has more than a created row"
    was = json.loads(log_of(connection, old)[0]["json_value"])["created"]
    content = json.loads(created["json_value"])["created"]
    params = json.dumps(was["params"])
    if json.dumps(content["params"]) != (params.replace(*ulids) if ulids[0] else params):
        yield f"{new}: params"
    if content["metadata"] != {**was["metadata"], "retry-of": old, "retry-tool": "durascope"}:
        yield f"{new}: metadata {content['metadata']}"
    if list(content) != list(was) or content["scheduled_by"] is not None or content["ffqn"] != was["ffqn"]:
        yield f"{new}: keys"
    active = rows(
        connection,
        "SELECT c.* FROM t_deployment d JOIN t_deployment_component c USING (deployment_id) WHERE d.status = 'active'",
    )
    state = state_of(connection, new)
    component = content["component_id"]
    fitting = [
        each
        for each in active
        if each["component_name"] == component["name"]
        and each["component_type"] == component["component_type"] == state["component_type"]
        and f"sha256:{each['component_digest'].hex()}" == component["component_digest"]
        and each["component_digest"] == state["component_id_input_digest"]
        and each["deployment_id"] == content["deployment_id"] == state["deployment_id"]
    ]
    if len(fitting) != 1:
        yield f"{new}: component {component}"
    column, zulu = f"{now:%Y-%m-%d %H:%M:%S.%f}+00:00", f"{now:%Y-%m-%dT%H:%M:%S.%f}Z"
    if {created["created_at"], state["created_at"], state["first_scheduled_at"], state["pending_expires_finished"]} != {
        column
    }:
        yield f"{new}: columns of time"
    if content["scheduled_at"] != zulu:
        yield f"{new}: scheduled_at {content['scheduled_at']}, not {zulu}"
    if (state["state"], state["lifecycle"], state["corresponding_version"], state["intermittent_event_count"]) != (
        "pending_at", "active", 0, 0,
    ):  # fmt: skip
        yield f"{new}: not pending"
