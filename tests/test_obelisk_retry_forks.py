"""Forks of Obelisk workflows of every shape: nested, racing against a delay, found by looking, from the end."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runs.clock import parse_instant
from runs.retry import Operation
from tests.obelisk_rules import (
    complaints,
    expected_cut,
    family,
    fork_complaints,
    log_of,
    responses_of,
    rows,
    state_of,
)
from tests.retrying import plan, retry_here


def test_a_fork_keeps_what_ended_well_and_redoes_the_leaf_that_failed(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    """A workflow that failed three levels down: deep, only the leaf is begun anew; whole, its parent."""
    path = shop("shop-staging")
    with closing(sqlite3.connect(path)) as connection:
        inner = rows(
            connection,
            "SELECT execution_id FROM t_state WHERE component_type = 'workflow' AND NOT is_top_level"
            " AND result_kind LIKE '%error%'",
        )
        child = next(row["execution_id"] for row in inner if expected_cut(connection, row["execution_id"]))
        run_id = child.partition(".")[0]
    deep, whole = plan(path, run_id, children="deep"), plan(path, run_id, children="whole")
    assert deep.new_run == whole.new_run
    assert deep.digest != whole.digest
    assert {part.run for part in whole.again} == {run_id}
    assert all(part.run.startswith(child) for part in deep.again)
    assert len(deep.changes) > len(whole.changes)
    done = retry_here(path, run_id, children="whole")
    with closing(sqlite3.connect(path)) as connection:
        assert list(complaints(connection, family(connection, done.new_run))) == []
        assert list(fork_complaints(connection, run_id, done.new_run, done.at, deep=False)) == []


def redo_race(path: Path, run_id: str, expired: int) -> None:
    """quote-race, as if its child had failed first; the delay then was cancelled, or ran out meanwhile."""
    child, delay = f"{run_id}.n:race_1", f"Delay_{run_id[2:]}.n:race_1"
    with closing(sqlite3.connect(path)) as connection, connection:
        version = state_of(connection, child)["corresponding_version"]
        failed = '{"finished":{"retval":{"err":{"type":"string","value":"no"}},"http_client_traces":null}}'
        connection.execute(
            "UPDATE t_execution_log SET json_value = ? WHERE execution_id = ? AND version = ?", (failed, child, version)
        )
        connection.execute('UPDATE t_state SET result_kind = \'{"err":"error"}\' WHERE execution_id = ?', (child,))
        connection.execute("UPDATE t_join_set_response SET seq = 90 WHERE child_execution_id = ?", (child,))
        connection.execute(
            "UPDATE t_join_set_response SET seq = 2, delay_success = ? WHERE delay_id = ?", (expired, delay)
        )
        connection.execute("UPDATE t_join_set_response SET seq = 1 WHERE child_execution_id = ?", (child,))


@pytest.mark.parametrize("expired", [0, 1])
def test_a_delay_that_races_against_what_failed_is_armed_again_in_full(
    expired: int, shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = shop("shop-staging")
    run_id = oracle("shop-staging")["scenarios"]["race-timeout"]
    assert plan(path, run_id).operation is Operation.RUN_AGAIN  # it lost the race: nothing failed
    redo_race(path, run_id, expired)
    found = plan(path, run_id)
    assert found.operation is Operation.FORK, found.warnings
    assert [(part.name, part.ordinal) for part in found.again] == [
        ("shop:carriers/activity.get-quote", 3),
        ("sleep", 4),
    ]
    done = retry_here(path, run_id)
    with closing(sqlite3.connect(path)) as connection:
        assert list(complaints(connection, family(connection, done.new_run))) == []
        assert list(fork_complaints(connection, run_id, done.new_run, done.at)) == []
        (delay,) = rows(connection, "SELECT * FROM t_delay WHERE execution_id = ?", done.new_run)
        due = parse_instant(delay["expires_at"])
        assert due is not None
        (asked,) = (row for row in log_of(connection, run_id) if "delay_request" in row["json_value"])
        nanos = json.loads(asked["json_value"])["history_event"]["event"]["request"]["schedule_at"]["in"]["nanos"]
        assert abs((due - done.at).total_seconds() - nanos / 1e9) < 0.5
        assert (delay["is_paused"], delay["delay_id"]) == (0, f"Delay_{done.new_run[2:]}.n:race_1")
        assert responses_of(connection, done.new_run) == []


def test_a_failure_that_was_found_by_looking_is_looked_for_again(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = shop("shop-staging")
    run_id = oracle("shop-staging")["scenarios"]["join-next-try"]
    with closing(sqlite3.connect(path)) as connection, connection:
        (response,) = [each for each in responses_of(connection, run_id) if each["child_execution_id"]]
        failed = '{"finished":{"retval":{"err":null},"http_client_traces":null}}'
        key = (response["child_execution_id"], response["finished_version"])
        connection.execute(
            "UPDATE t_execution_log SET json_value = ? WHERE execution_id = ? AND version = ?", (failed, *key)
        )
        for ended in (run_id, response["child_execution_id"]):
            connection.execute('UPDATE t_state SET result_kind = \'{"err":"error"}\' WHERE execution_id = ?', (ended,))
        expected = expected_cut(connection, run_id)
    assert expected is not None
    assert expected[2]
    found = plan(path, run_id)
    assert found.operation is Operation.FORK, found.warnings
    done = retry_here(path, run_id)
    with closing(sqlite3.connect(path)) as connection:
        assert list(complaints(connection, family(connection, done.new_run))) == []
        assert list(fork_complaints(connection, run_id, done.new_run, done.at)) == []
        assert state_of(connection, done.new_run)["state"] == "pending_at"


def test_siblings_that_ended_well_after_the_failure_answer_the_wait_at_once(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    """restock awaits three; the failed one is told of first, so the other two are already there."""
    path = shop("shop-staging")
    run_id = oracle("shop-staging")["scenarios"]["restock-failed"]
    with closing(sqlite3.connect(path)) as connection, connection:
        failed = next(each for each in responses_of(connection, run_id) if each["child_execution_id"].endswith("_2"))
        first = next(each for each in responses_of(connection, run_id) if each["seq"] == 1)
        for seq, key in ((90, failed["id"]), (failed["seq"], first["id"]), (1, failed["id"])):
            connection.execute("UPDATE t_join_set_response SET seq = ? WHERE id = ?", (seq, key))
    found = plan(path, run_id)
    assert found.operation is Operation.FORK, found.warnings
    assert (len(found.again), len(found.kept)) == (1, 2)
    done = retry_here(path, run_id)
    with closing(sqlite3.connect(path)) as connection:
        assert list(complaints(connection, family(connection, done.new_run))) == []
        assert list(fork_complaints(connection, run_id, done.new_run, done.at)) == []
        assert state_of(connection, done.new_run)["state"] == "pending_at"
        assert len(responses_of(connection, done.new_run)) == 2


def test_a_trap_goes_on_from_its_end_only_where_that_is_asked_for(
    shop: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = shop("shop-staging")
    run_id = oracle("shop-staging")["scenarios"]["trap"]
    assert plan(path, run_id).operation is Operation.RUN_AGAIN
    found = plan(path, run_id, operation=Operation.FORK)
    assert found.eligible, found.reason
    assert any("same code" in words for words in found.warnings)
    done = retry_here(path, run_id, operation=Operation.FORK)
    with closing(sqlite3.connect(path)) as connection:
        assert list(complaints(connection, family(connection, done.new_run))) == []
        events = [row["version"] for row in log_of(connection, run_id) if row["variant"] == "history_event"]
        assert log_of(connection, done.new_run)[-1]["version"] == max(events)
        assert state_of(connection, done.new_run)["state"] == "pending_at"
        assert len(responses_of(connection, done.new_run)) == len(responses_of(connection, run_id))
