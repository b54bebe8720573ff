"""Retries of Obelisk executions on real files: each planned, appended, and held against the engine's rules in plain SQL."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from runs import clock
from runs.errors import AlreadyRetried
from runs.retry import Copies, Copy, Insert, Operation, RetryPlan, count
from runs.statements import statement
from tests.obelisk_rules import (
    complaints,
    expected_cut,
    family,
    fork_complaints,
    fresh_complaints,
    log_of,
    rows,
    state_of,
)
from tests.retrying import follow, plan, retry, retry_here

SHOPS = ("shop", "shop-live", "shop-fork", "shop-staging")
KEYS = {
    "t_state": ("execution_id",),
    "t_execution_log": ("execution_id", "version"),
    "t_join_set_response": ("id",),
    "t_delay": ("execution_id", "join_set_id", "delay_id"),
}
CANCELLED = '{"err":{"execution_failure":"cancelled"}}'

Everything = dict[str, dict[tuple[Any, ...], tuple[Any, ...]]]


def everything(path: Path) -> Everything:
    """Every row of every table by its key."""
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found: Everything = {}
        for table in tables:
            columns = [row["name"] for row in rows(connection, f"PRAGMA table_xinfo({table})")]
            key = KEYS.get(table) or ("rowid",)
            names = ", ".join(f'"{name}"' for name in (*key, *columns))
            found[table] = {
                row[: len(key)]: row[len(key) :] for row in connection.execute(f"SELECT {names} FROM {table}")
            }
    del found["sqlite_sequence"]
    return found


def expected_operation(connection: sqlite3.Connection, run_id: str, now: str) -> Operation | None:
    """What fits an execution, from its rows alone; None: nothing may be appended."""
    state = state_of(connection, run_id)
    kind = state["component_type"]
    if state["state"] == "finished":
        if state["result_kind"] in ('"ok"', CANCELLED) or kind not in ("activity", "workflow"):
            return None
        if kind == "workflow" and state["is_top_level"] and expected_cut(connection, run_id):
            ((digest,),) = connection.execute(
                "SELECT component_digest FROM t_deployment d JOIN t_deployment_component c USING (deployment_id)"
                " WHERE d.status = 'active' AND c.component_type = 'workflow'"
            )
            if digest == state["component_id_input_digest"]:
                return Operation.FORK
        return Operation.RUN_AGAIN
    if state["lifecycle"] == "paused":
        return Operation.UNPAUSE
    if state["lifecycle"] == "cancelling":
        return None
    if state["state"] == "pending_at" and kind == "activity":
        failed = log_of(connection, run_id)[-1]["variant"] in ("temporarily_failed", "temporarily_timed_out")
        return Operation.RETRY_NOW if failed and state["pending_expires_finished"] > now else None
    delays = rows(
        connection,
        "SELECT * FROM t_delay WHERE execution_id = ? AND join_set_id = ? AND NOT is_paused AND expires_at > ?",
        run_id, state["join_set_id"], now,
    )  # fmt: skip
    return Operation.SKIP_DELAY if state["state"] == "blocked_by_join_set" and delays else None


@pytest.mark.parametrize("name", SHOPS)
def test_whatever_failed_or_waits_is_retried_as_the_engine_wants_it_and_nothing_else_changes(
    name: str, shop: Callable[[str], Path]
) -> None:
    path = shop(name)
    before = everything(path)
    now = clock.now()
    moment = f"{now:%Y-%m-%d %H:%M:%S.%f}+00:00"
    with closing(sqlite3.connect(path)) as connection:
        ids = [run_id for (run_id,) in connection.execute("SELECT execution_id FROM t_state")]
        assert list(complaints(connection, ids, ours=False)) == []  # the rules are the engine's: its own rows keep them
        # Children first: a fork that redoes a child stands in the way of running that child again.
        waiting = [run_id for run_id in ids if state_of(connection, run_id)["result_kind"] != '"ok"']
        waiting.sort(key=lambda run_id: (-run_id.count("."), run_id))
        expected = {run_id: expected_operation(connection, run_id, moment) for run_id in waiting}
    changed: dict[str, set[tuple[Any, ...]]] = {table: set() for table in before}
    added: Counter[str] = Counter()
    done: Counter[Operation | None] = Counter()
    for run_id, operation in expected.items():
        found = plan(path, run_id)
        assert found.eligible == (operation is not None), (run_id, operation, found.reason)
        done[operation] += 1
        if operation is None:
            assert found.reason
            assert not found.changes
            continue
        assert found.operation is operation, run_id
        assert plan(path, run_id).digest == found.digest
        retry_here(path, run_id)
        with closing(sqlite3.connect(path)) as connection:
            assert list(problems(connection, found)) == []
        for change in found.changes:
            if isinstance(change, Insert | Copy | Copies):
                added[change.table] += count([change])
            else:
                changed[change.table].add(tuple(change.where[column] for column in KEYS[change.table]))
    assert len(done) >= 5, done
    after = everything(path)
    for table, were in before.items():
        new = after[table].keys() - were.keys()
        assert len(new) == added[table], table
        different = {key for key, row in were.items() if after[table].get(key) != row}
        assert different == changed[table], table
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        ids = [run_id for (run_id,) in connection.execute("SELECT execution_id FROM t_state")]
        assert list(complaints(connection, ids, ours=False)) == []


def problems(connection: sqlite3.Connection, found: RetryPlan) -> Iterator[str]:
    """What is wrong with an appended retry, of whatever operation."""
    now = clock.now()
    column, zulu = f"{now:%Y-%m-%d %H:%M:%S.%f}+00:00", f"{now:%Y-%m-%dT%H:%M:%S.%f}Z"
    state = state_of(connection, found.new_run)
    yield from complaints(connection, family(connection, found.new_run), ours=found.operation is Operation.FORK)
    match found.operation:
        case Operation.FORK:
            yield from fork_complaints(connection, found.run, found.new_run, now)
        case Operation.RUN_AGAIN:
            yield from fresh_complaints(connection, found.run, found.new_run, now)
            if not state["is_top_level"] or found.new_run[:12] != found.run[:12]:
                yield "not top-level, or of another time"
        case Operation.RETRY_NOW:
            last = log_of(connection, found.run)[-1]
            content = json.loads(last["json_value"])
            if (
                last["variant"] != "unlocked"
                or last["created_at"] != column
                or state["pending_expires_finished"] != column
            ):
                yield "not given back now"
            if content != {"unlocked": {"backoff_expires_at": zulu, "reason": "retry requested by an operator"}}:
                yield f"given back: {content}"
        case Operation.UNPAUSE:
            last = log_of(connection, found.run)[-1]
            if (last["variant"], last["json_value"], state["lifecycle"]) != ("unpaused", '"unpaused"', "active"):
                yield "not unpaused"
        case Operation.SKIP_DELAY:
            due = rows(connection, "SELECT expires_at FROM t_delay WHERE execution_id = ?", found.run)
            if {"expires_at": column} not in due:
                yield "not due now"


@pytest.mark.parametrize("name", SHOPS)
def test_an_append_by_its_own_process_is_the_same(name: str, shop: Callable[[str], Path]) -> None:
    path = shop(name)
    with closing(sqlite3.connect(path)) as connection:
        workflow = "component_type = 'workflow' AND is_top_level AND state = 'finished' AND result_kind LIKE '%error%'"
        ids = [run_id for (run_id,) in connection.execute(f"SELECT execution_id FROM t_state WHERE {workflow}")]
    found = next(found for run_id in ids if (found := plan(path, run_id)).operation is Operation.FORK)
    done = retry(path, found.run)
    assert done.new_run == found.new_run
    with closing(sqlite3.connect(path)) as connection:
        assert list(problems(connection, found)) == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert follow(path, done).taken_up_after is None
    assert follow(path, done).why_not


@pytest.mark.parametrize("fraction", ["", ".5", ".213250"])
def test_whenever_it_is_appended_its_instants_have_as_many_digits_as_the_engines(
    fraction: str, shop: Callable[[str], Path], oracle: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop("shop-staging")
    labels = oracle("shop-staging")["scenarios"]
    monkeypatch.setenv("DURASCOPE_NOW", f"{oracle('shop-staging')['read_at'][:19]}{fraction}Z")
    operations = set()
    for label in "backoff", "retries-exhausted", "blocked-on-delay":
        found = plan(path, labels[label])
        retry_here(path, labels[label])
        operations.add(found.operation)
        with closing(sqlite3.connect(path)) as connection:
            assert list(problems(connection, found)) == []
    assert operations == {Operation.RETRY_NOW, Operation.RUN_AGAIN, Operation.SKIP_DELAY}


TWICE = ("backoff", "backoff-child", "paused-new", "blocked-on-delay", "retries-exhausted", "restock-failed")


@pytest.mark.parametrize("label", TWICE)
def test_the_same_plan_twice_is_refused_by_the_database_itself(
    label: str, shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = shop("shop-staging")
    run_id = oracle("shop-staging")["scenarios"][label]
    if label == "backoff-child":
        run_id += ".o:2-sync-tracking_1"
    found = plan(path, run_id)
    retry_here(path, run_id)
    once = everything(path)
    with pytest.raises((apsw.ConstraintError, AssertionError)):
        write(path, found)
    assert everything(path) == once
    again = plan(path, run_id)
    assert not again.eligible
    assert again.earlier == ("" if found.new_run == run_id else found.new_run)
    if again.earlier:
        with pytest.raises(AlreadyRetried):
            retry_here(path, run_id)


def write(path: Path, found: RetryPlan) -> None:
    """The plan's statements, without planning again."""
    with closing(apsw.Connection(str(path))) as connection, connection:
        for change in found.changes:
            made = statement(change, clock.now(), ("rowid",))
            assert len(connection.execute(made.sql, dict(made.values)).fetchall()) == made.count


def finish(path: Path, run_id: str, retval: Any, kind: str) -> None:
    """The engine took it up and ended it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        version = state_of(connection, run_id)["corresponding_version"] + 1
        content = json.dumps({"finished": {"retval": retval, "http_client_traces": None}}, separators=(",", ":"))
        at = state_of(connection, run_id)["pending_expires_finished"]
        connection.execute(
            "INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant) VALUES (?, ?, ?, ?, 'finished')",
            (run_id, at, content, version),
        )
        connection.execute(
            "UPDATE t_state SET state = 'finished', result_kind = ?, corresponding_version = ?, join_set_id = NULL,"
            " join_set_closing = NULL WHERE execution_id = ?",
            (kind, version, run_id),
        )


def test_after_a_failed_retry_there_may_be_another_and_after_a_good_one_none(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = shop("shop-staging")
    run_id = oracle("shop-staging")["scenarios"]["retries-exhausted"]
    first = retry_here(path, run_id).new_run
    assert plan(path, run_id).earlier == first
    finish(path, first, {"err": None}, '{"err":"error"}')
    second = retry_here(path, run_id).new_run
    assert second not in (first, run_id)
    finish(path, second, {"err": None}, '{"err":"error"}')
    third = retry_here(path, second).new_run
    assert plan(path, run_id).earlier == third  # a retry of a retry of it
    finish(path, third, {"ok": None}, '"ok"')
    found = plan(path, run_id)
    assert (found.eligible, found.earlier) == (False, third)
    assert "succeeded" in found.reason


def test_a_retry_by_another_hand_is_found_by_its_metadata(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = shop("shop-staging")
    scenarios = oracle("shop-staging")["scenarios"]
    run_id, other = scenarios["retries-exhausted"], "E_01M81XWFPPZH5AFRNPNDBZZZZZ"
    with closing(sqlite3.connect(path)) as connection, connection:
        state, created = state_of(connection, run_id), log_of(connection, run_id)[0]
        content = json.loads(created["json_value"])
        content["created"]["metadata"] = {"retry-of": run_id}
        names = ", ".join(state)
        copied = {
            **state,
            "execution_id": other,
            "state": "pending_at",
            "result_kind": None,
            "corresponding_version": 0,
        }
        connection.execute(
            f"INSERT INTO t_state ({names}) VALUES ({', '.join('?' * len(state))})", list(copied.values())
        )
        connection.execute(
            "INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant) VALUES (?, ?, ?, 0, 'created')",
            (other, created["created_at"], json.dumps(content)),
        )
    assert plan(path, run_id).earlier == other


def test_a_delay_is_skipped_of_a_workflow_that_a_stopping_server_gave_back(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    """Such a server, as 0.41.4 does, writes ``unlocked`` of a workflow that is blocked too, and moves its lock's end."""
    path = shop("shop-staging")
    run_id = oracle("shop-staging")["scenarios"]["blocked-on-delay"]
    with closing(sqlite3.connect(path)) as connection, connection:
        version = state_of(connection, run_id)["corresponding_version"] + 1
        given = {"unlocked": {"backoff_expires_at": "2026-11-22T20:00:00.202617396Z", "reason": "executor closing"}}
        connection.execute(
            "INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant) VALUES (?, ?, ?, ?, 'unlocked')",
            (run_id, "2026-11-22 20:00:00.202617396+00:00", json.dumps(given, separators=(",", ":")), version),
        )
        connection.execute(
            "UPDATE t_state SET corresponding_version = ?, pending_expires_finished = '2026-11-22 20:00:00.202617396+00:00'"
            " WHERE execution_id = ?",
            (version, run_id),
        )
    assert plan(path, run_id).operation is Operation.SKIP_DELAY
    retry_here(path, run_id)


def test_the_new_id_depends_on_the_original_and_the_number_alone(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = shop("shop")
    run_id = oracle("shop")["scenarios"]["retries-exhausted"]
    found = plan(path, run_id)
    assert found.new_run == plan(path, run_id, operation=Operation.RUN_AGAIN).new_run
    assert found.new_run[:12] == run_id[:12]
    assert len(found.new_run) == 28
    assert set(found.new_run[2:]) <= set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


def test_parameters_stay_to_the_byte(shop: Callable[[str], Path], oracle: Callable[[str], Any]) -> None:
    """Integers beyond 2^53, large payloads, escapes, and a text that looks like our mark for the present."""
    path = shop("shop-staging")
    run_id = oracle("shop-staging")["scenarios"]["retries-exhausted"]
    odd = '["\\u00e9 \\\\{now} {now}",18446744073709551615,1.10,1e400,{"a":1,"b":null}]'
    with closing(sqlite3.connect(path)) as connection, connection:
        created = log_of(connection, run_id)[0]["json_value"]
        params = json.dumps(json.loads(created)["created"]["params"], separators=(",", ":"), ensure_ascii=False)
        count = len(json.loads(params))
        assert params in created
        spoiled = f"[{', '.join(odd for _ in range(count))}]".replace(", ", ",")
        connection.execute(
            "UPDATE t_execution_log SET json_value = ? WHERE execution_id = ? AND version = 0",
            (created.replace(params, spoiled), run_id),
        )
    done = retry_here(path, run_id, operation=Operation.RUN_AGAIN)
    with closing(sqlite3.connect(path)) as connection:
        ((text,),) = connection.execute(
            "SELECT json_value FROM t_execution_log WHERE execution_id = ?", (done.new_run,)
        ).fetchall()
    assert spoiled.replace("{now}", "\\u007bnow}") in text
    assert json.loads(text)["created"]["params"] == json.loads(spoiled)


def test_it_is_taken_up_once_the_engine_has_locked_it(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = shop("shop-staging")
    done = retry_here(path, oracle("shop-staging")["scenarios"]["restock-failed"])
    waiting = follow(path, done)
    assert waiting.taken_up_after is None
    assert "No engine has the file open" in waiting.why_not
    with closing(sqlite3.connect(path)) as connection, connection:
        ((child,),) = connection.execute(
            "SELECT execution_id FROM t_state WHERE execution_id GLOB ? || '.*' AND state = 'pending_at'",
            (done.new_run,),
        ).fetchall()
        at = f"{done.at:%Y-%m-%d %H:%M:%S}.999999+00:00"
        connection.execute(
            "INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant) VALUES (?, ?, '{}', 1, 'locked')",
            (child, at),
        )
    taken = follow(path, done).taken_up_after
    assert taken is not None
    assert taken.total_seconds() < 1


def test_it_says_why_it_is_not_taken_up(shop: Callable[[str], Path], oracle: Callable[[str], Any]) -> None:
    path = shop("shop-staging")
    scenarios = oracle("shop-staging")["scenarios"]
    done = retry_here(path, scenarios["retries-exhausted"])
    stub = retry_here(path, scenarios["stub-refused"])
    assert "answer from outside" in follow(path, stub).why_not

    def meanwhile(statement: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)

    meanwhile(f"UPDATE t_state SET lifecycle = 'paused' WHERE execution_id = '{done.new_run}'")
    assert "paused" in follow(path, done).why_not
    meanwhile(f"UPDATE t_state SET lifecycle = 'active', ffqn = 'a:b/c.d' WHERE execution_id = '{done.new_run}'")
    assert "exports a:b/c.d" in follow(path, done).why_not
    meanwhile("UPDATE t_deployment SET status = 'inactive'")
    assert "No deployment is active" in follow(path, done).why_not
    meanwhile(f"DELETE FROM t_state WHERE execution_id = '{done.new_run}'")
    assert "took the retry back" in follow(path, done).why_not
