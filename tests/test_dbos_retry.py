"""Retries of DBOS runs: what is planned, and that what is appended is what the engine's own fork would have written."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dbos import DBOSClient, run_dbos_database_migrations

from runs import appending, clock
from runs.engines.dbos import Dbos
from runs.errors import AlreadyRetried, AppendRefused, RunNotFound
from runs.retry import Clock, Copy, Now, Operation, Options, count
from runs.sources.files import look
from runs.sources.sqlite import SqliteSource
from runs.statements import taking_back
from tests.conftest import DBOS
from tests.dbos_files import GO, MINIS, ZOO, column, sql
from tests.retrying import clean, engine_forks, everything, forget_forks, plan, same_but_clocks
from tests.retrying import retry as retry_apart
from tests.retrying import retry_here as retry
from tests.writers import writing

Fresh = Callable[[str], Path]
Unpacked = Callable[[str], Path]
# Runs of the zoo, and the steps that they are forked from; those that did not fail are made to look so.
FORKED = {
    "wf-declined": 3,
    "wf-retry-exhausted": 2,
    "wf-badpickle": 1,
    "wf-body-error": 2,
    "wf-portable-fail": 1,
    "wf-portable": 2,
    "wf-cancel": 3,
    "wf-shop": 2,
    "wf-cls": 1,
    "wf-static": 1,
    "wf-attrs": 2,
    "wf-fanout": 3,
    "wf-parent": 4,
    "wf-unicode-ключ-🎉/?#&<b>": 2,
    "wf-payloads": 2,
    "wf-q2-0": 1,
}


def fail(path: Path, *runs: str) -> None:
    for run in runs:
        sql(path, "UPDATE workflow_status SET status = 'ERROR' WHERE workflow_uuid = ? AND status = 'SUCCESS'", run)


def steps_of(path: Path, run: str) -> list[int]:
    return column(path, "SELECT function_id FROM operation_outputs WHERE workflow_uuid = ? ORDER BY 1", run)


# The rows.


def test_every_row_is_that_of_the_engines_own_fork(fresh: Fresh, tmp_path: Path) -> None:
    ours = fresh(ZOO)
    forget_forks(ours)
    fail(ours, *FORKED)
    theirs = Path(shutil.copy(ours, tmp_path / "theirs.sqlite"))
    for run, start in FORKED.items():
        done = retry(ours, run, start=str(start))
        engine_forks(theirs, run, start, done.new_run)
    assert same_but_clocks(ours) == same_but_clocks(theirs)
    assert clean(ours)


def test_events_and_streams_before_each_step_are_those_of_the_engines_own_fork(fresh: Fresh, tmp_path: Path) -> None:
    source = fresh(ZOO)
    forget_forks(source)
    fail(source, "wf-events")
    for start in (*steps_of(source, "wf-events"), max(steps_of(source, "wf-events")) + 1):
        ours = Path(shutil.copy(source, tmp_path / f"ours-{start}.sqlite"))
        theirs = Path(shutil.copy(source, tmp_path / f"theirs-{start}.sqlite"))
        done = retry(ours, "wf-events", start=str(start))
        engine_forks(theirs, "wf-events", start, done.new_run)
        assert same_but_clocks(ours) == same_but_clocks(theirs)
    # The last one is forked from its end: what was compared holds values, their history and streams.
    for table in ("workflow_events", "workflow_events_history", "streams", "workflow_input", "operation_outputs"):
        of = f"SELECT count(*) FROM {table} WHERE workflow_uuid = ?"
        assert sql(ours, of, done.new_run) == sql(ours, of, "wf-events") != [(0,)]


def test_a_parent_and_its_failed_child_are_forked_as_the_engine_does_it_in_two_calls(
    fresh: Fresh, tmp_path: Path
) -> None:
    ours = fresh(ZOO)
    theirs = Path(shutil.copy(ours, tmp_path / "theirs.sqlite"))
    done = retry_apart(ours, "wf-parent-fail")
    engine_forks(theirs, "wf-parent-fail-2", 2, "wf-parent-fail-2.retry-1")
    engine_forks(theirs, "wf-parent-fail", 3, done.new_run, {"wf-parent-fail-2": "wf-parent-fail-2.retry-1"})
    assert same_but_clocks(ours) == same_but_clocks(theirs)


@pytest.mark.parametrize("name", [*(name for name in MINIS if not name.startswith("mini-3")), *GO])
def test_a_file_that_a_newer_engine_has_upgraded_gets_the_rows_of_that_engine(
    fresh: Fresh, tmp_path: Path, name: str
) -> None:
    ours = fresh(name)
    run_dbos_database_migrations(system_database_url=f"sqlite:///{ours}")
    forget_forks(ours)
    run, start = ("order-o3", 3) if name in GO else ("fails", 2)
    theirs = Path(shutil.copy(ours, tmp_path / "theirs.sqlite"))
    done = retry(ours, run)
    engine_forks(theirs, run, start, done.new_run)
    mine, engines = same_but_clocks(ours), same_but_clocks(theirs)
    for rows in (mine, engines):
        for row in rows["workflow_status"]:
            row["attributes"] = row["attributes"] or "null"  # the Python client turns a NULL into the JSON text
    assert mine == engines


@pytest.mark.parametrize("name", [name for name in DBOS if name.startswith(("mini-", "go-"))])
def test_a_retry_can_be_appended_to_every_schema_and_changes_nothing_else(fresh: Fresh, name: str) -> None:
    path = fresh(name)
    if name not in GO:
        forget_forks(path)
    before = everything(path)
    run = "order-o3" if name in GO else "fails"
    done = retry(path, run)
    after = everything(path)
    assert clean(path)
    for table, rows in before.items():
        assert [row for row in after[table] if row in rows] == rows
        assert all(done.new_run in row.values() for row in after[table] if row not in rows)
    (status,) = [row for row in after["workflow_status"] if row["workflow_uuid"] == done.new_run]
    assert status["status"] == "ENQUEUED"
    assert status["queue_name"] == "_dbos_internal_queue"
    assert status["application_version"] is None
    assert status["executor_id"] is None
    assert status["started_at_epoch_ms"] is None
    assert status.get("forked_from", run) == run
    kept = [step for step in steps_of(path, run) if step not in {part.ordinal for part in plan_again(path, run, name)}]
    assert steps_of(path, done.new_run) == kept


def plan_again(path: Path, run: str, name: str) -> tuple[Any, ...]:
    """What the plan said: it is asked on the same file without its retry."""
    sql(path, "UPDATE workflow_status SET status = 'CANCELLED' WHERE workflow_uuid LIKE '%.retry-%'")
    return plan(path, run).again


def test_every_column_is_given_so_that_no_default_decides(fresh: Fresh) -> None:
    path = fresh(ZOO)
    for change in plan(path, "wf-parent-fail").changes:
        assert isinstance(change, Copy)
        columns = {row[1] for row in sql(path, f"PRAGMA table_info({change.table})")}
        assert {*change.columns, *change.changed} == columns


def test_a_transaction_of_1_x_is_copied_like_a_step(fresh: Fresh) -> None:
    path = fresh("mini-1.13.0")
    forget_forks(path)
    sql(
        path,
        "INSERT INTO transaction_outputs (workflow_uuid, function_id, output, txn_snapshot, function_name, created_at)"
        " VALUES ('fails', 0, '1', 'now', 'pay', 1795000000000)",
    )
    found = plan(path, "fails")
    assert [(part.ordinal, part.name) for part in found.kept] == [(0, "pay"), (1, "add")]
    retry(path, "fails")
    (row,) = sql(
        path, "SELECT function_id, output, created_at FROM transaction_outputs WHERE workflow_uuid LIKE 'fails.%'"
    )
    assert row == (0, "1", 1795000000000)


def test_a_message_that_was_received_is_there_again_for_a_fork_from_before_it(fresh: Fresh) -> None:
    path = fresh(ZOO)
    fail(path, "wf-recv")
    done = retry(path, "wf-recv", start="1")
    asked = "SELECT topic, message, serialization, created_at_epoch_ms, consumed FROM notifications WHERE destination_uuid = ?"
    ((topic, message, serialization, at, _),) = sql(path, asked, "wf-recv")
    assert sql(path, asked, done.new_run) == [(topic, message, serialization, at, 0)]


def test_before_3_1_the_message_is_known_by_what_the_recv_returned(fresh: Fresh) -> None:
    path = fresh(ZOO)
    fail(path, "wf-recv")
    sql(path, "UPDATE notifications SET consumed_by_function_id = NULL")
    done = retry(path, "wf-recv", start="1")
    assert column(path, "SELECT topic FROM notifications WHERE destination_uuid = ?", done.new_run) == ["topic-a"]


def test_a_message_is_not_sent_again_to_a_fork_that_keeps_what_it_received(fresh: Fresh) -> None:
    path = fresh(ZOO)
    fail(path, "wf-recv")
    done = retry(path, "wf-recv", start=str(max(steps_of(path, "wf-recv")) + 1))
    assert column(path, "SELECT topic FROM notifications WHERE destination_uuid = ?", done.new_run) == []


def test_a_message_that_was_never_received_is_named_in_a_warning(fresh: Fresh) -> None:
    path = fresh(ZOO)
    fail(path, "wf-happy")
    forget_forks(path)
    assert any("1 message sent to wf-happy and never received" in words for words in plan(path, "wf-happy").warnings)


def test_values_without_their_step_are_copied_only_where_no_step_publishes_again(fresh: Fresh) -> None:
    path = fresh("mini-2.0.0")
    fail(path, "ok")
    after = retry(path, "ok", start="2")
    keys = column(path, "SELECT key FROM workflow_events WHERE workflow_uuid = 'ok'")
    assert column(path, "SELECT key FROM workflow_events WHERE workflow_uuid = ?", after.new_run) == keys != []
    sql(path, "DELETE FROM workflow_status WHERE workflow_uuid LIKE '%.retry-%'")
    again = plan(path, "ok", start="1")
    assert "workflow_events" not in {change.table for change in again.changes}
    assert any("published value" in words for words in again.warnings)


# Which steps go again.


@pytest.mark.parametrize(
    ("run", "again"),
    [
        ("wf-declined", [(3, "declined")]),
        ("wf-retry-exhausted", [(2, "always_fails")]),
        ("wf-badpickle", [(1, "bad_pickle")]),
        ("wf-portable-fail", [(1, "declined")]),
        ("wf-body-error", [(None, "fails_in_body")]),
        ("wf-cancel", [(None, "to_cancel")]),
        ("wf-timeout", [(None, "times_out")]),
    ],
)
def test_what_goes_again_is_the_step_that_failed_the_run_else_what_came_after(
    unpacked: Unpacked, run: str, again: list[tuple[int | None, str]]
) -> None:
    path = unpacked(ZOO)
    found = plan(path, run)
    assert found.eligible, found.reason
    assert [(part.ordinal, part.name) for part in found.again] == again
    numbers = {number for number, _ in again}
    assert [part.ordinal for part in found.kept] == [step for step in steps_of(path, run) if step not in numbers]


def test_a_step_whose_error_was_caught_is_kept(fresh: Fresh) -> None:
    path = fresh(ZOO)
    failed = column(
        path, "SELECT function_id FROM operation_outputs WHERE workflow_uuid = 'wf-catches' AND error IS NOT NULL"
    )
    sql(path, "UPDATE workflow_status SET status = 'ERROR' WHERE workflow_uuid = 'wf-catches'")
    sql(path, "UPDATE workflow_output SET output = NULL, error = (SELECT error FROM workflow_output WHERE workflow_uuid ="
        " 'wf-body-error') WHERE workflow_uuid = 'wf-catches'")  # fmt: skip
    found = plan(path, "wf-catches")
    assert {part.ordinal for part in found.kept} >= set(failed) != set()
    assert {part.ordinal for part in found.again} == {None}


def test_a_run_that_was_given_up_goes_on_after_its_last_step_with_a_warning(unpacked: Unpacked) -> None:
    found = plan(unpacked("zoo-dead-letter-3.4.0"), "wf-crashy")
    assert found.eligible
    assert [part.ordinal for part in found.kept] == [1]
    assert any("given up" in words for words in found.warnings)


def test_a_chosen_step_and_all_after_it_go_again(unpacked: Unpacked) -> None:
    found = plan(unpacked(ZOO), "wf-declined", start="2")
    assert [part.ordinal for part in found.again] == [2, 3]
    assert [part.ordinal for part in found.kept] == [1]


def test_keeping_the_step_that_failed_the_run_is_warned_of(unpacked: Unpacked) -> None:
    found = plan(unpacked(ZOO), "wf-declined", start="4")
    assert any("is kept: its error is raised again" in words for words in found.warnings)


@pytest.mark.parametrize("start", ["9", "0", "-1", "first", "", "²", "9" * 30])
def test_a_step_that_is_not_there_is_refused_with_those_that_are(unpacked: Unpacked, start: str) -> None:
    found = plan(unpacked(ZOO), "wf-declined", start=start)
    assert not found.eligible
    assert "choose one from 1 to 4" in found.reason or "give auto" in found.reason
    assert found.changes == ()


def break_step(path: Path, run: str, ordinal: int, completed_at: int | None = None) -> None:
    """Makes a step of a run look as if it had failed the run."""
    error = sql(path, "SELECT error FROM operation_outputs WHERE workflow_uuid = 'wf-declined' AND error IS NOT NULL")[
        0
    ][0]
    fail(path, run)
    sql(path, "UPDATE workflow_output SET error = ?, output = NULL WHERE workflow_uuid = ?", error, run)
    sql(
        path,
        "UPDATE operation_outputs SET error = ?, output = NULL, completed_at_epoch_ms ="
        " COALESCE(?, completed_at_epoch_ms) WHERE workflow_uuid = ? AND function_id = ?",
        *(error, completed_at, run, ordinal),
    )


def test_of_a_fan_out_only_what_failed_can_go_again(fresh: Fresh) -> None:
    path = fresh(ZOO)
    started = column(path, "SELECT started_at_epoch_ms FROM operation_outputs WHERE workflow_uuid = 'wf-fanout'")
    break_step(path, "wf-fanout", 3, max(started))
    all_steps = steps_of(path, "wf-fanout")
    found = plan(path, "wf-fanout", start="failed-only")
    assert [part.ordinal for part in found.again] == [3]
    done = retry(path, "wf-fanout", start="failed-only")
    assert steps_of(path, done.new_run) == [step for step in all_steps if step != 3]


def test_only_what_failed_is_not_offered_where_a_step_began_after_a_failed_one_ended(fresh: Fresh) -> None:
    path = fresh(ZOO)
    started = column(path, "SELECT started_at_epoch_ms FROM operation_outputs WHERE workflow_uuid = 'wf-fanout'")
    break_step(path, "wf-fanout", 3, max(started) - 1)
    found = plan(path, "wf-fanout", start="failed-only")
    assert not found.eligible
    assert "began after step 3" in found.reason


def test_only_what_failed_is_not_offered_without_times(fresh: Fresh) -> None:
    path = fresh(ZOO)
    break_step(path, "wf-fanout", 3)
    sql(path, "UPDATE operation_outputs SET started_at_epoch_ms = NULL WHERE workflow_uuid = 'wf-fanout'")
    assert "times recorded" in plan(path, "wf-fanout", start="failed-only").reason


def test_a_step_that_failed_beside_the_one_that_failed_the_run_goes_again_too(fresh: Fresh) -> None:
    path = fresh(ZOO)
    started = column(path, "SELECT started_at_epoch_ms FROM operation_outputs WHERE workflow_uuid = 'wf-fanout'")
    break_step(path, "wf-fanout", 4, max(started))
    sql(
        path,
        "UPDATE operation_outputs SET error = 'another', completed_at_epoch_ms = ? WHERE workflow_uuid = 'wf-fanout'"
        " AND function_id = 2",
        max(started) + 5,
    )
    assert plan(path, "wf-fanout").again[0].ordinal == 2


# Children.


def test_a_failed_child_goes_again_where_it_failed_and_its_parent_waits_for_that(unpacked: Unpacked) -> None:
    found = plan(unpacked(ZOO), "wf-parent-fail")
    assert [(part.run, part.ordinal, part.name) for part in found.again] == [
        ("wf-parent-fail", 3, "DBOS.getResult"),
        ("wf-parent-fail-2", 2, "declined"),
    ]
    assert [(part.run, part.ordinal) for part in found.kept] == [
        ("wf-parent-fail", 1),
        ("wf-parent-fail", 2),
        ("wf-parent-fail-2", 1),
    ]


def test_the_whole_child_goes_again_where_that_is_chosen(unpacked: Unpacked) -> None:
    found = plan(unpacked(ZOO), "wf-parent-fail", children="whole")
    assert [part.ordinal for part in found.again] == [2, 3]
    assert {part.run for part in found.again} == {"wf-parent-fail"}
    assert {change.changed["workflow_uuid"] for change in found.changes if isinstance(change, Copy)} == {
        "wf-parent-fail.retry-1"
    }


def test_a_chain_of_children_is_retried_down_to_the_one_that_failed(fresh: Fresh) -> None:
    path = fresh(ZOO)
    # The declined run becomes a child of the child: getResult of it failed the child.
    error = sql(path, "SELECT error FROM workflow_output WHERE workflow_uuid = 'wf-declined'")[0][0]
    sql(path, "UPDATE operation_outputs SET function_name = 'DBOS.getResult', child_workflow_id = 'wf-declined'"
        " WHERE workflow_uuid = 'wf-parent-fail-2' AND function_id = 2")  # fmt: skip
    sql(path, "UPDATE operation_outputs SET function_name = 'fails_declined', child_workflow_id = 'wf-declined'"
        " WHERE workflow_uuid = 'wf-parent-fail-2' AND function_id = 1")  # fmt: skip
    assert error is not None
    found = plan(path, "wf-parent-fail")
    assert [(part.run, part.ordinal) for part in found.again] == [
        ("wf-parent-fail", 3),
        ("wf-parent-fail-2", 2),
        ("wf-declined", 3),
    ]
    retry(path, "wf-parent-fail")
    assert column(path, "SELECT child_workflow_id FROM operation_outputs WHERE workflow_uuid = 'wf-parent-fail.retry-1'"
                  " AND function_id = 2") == ["wf-parent-fail-2.retry-1"]  # fmt: skip
    assert column(path, "SELECT child_workflow_id FROM operation_outputs WHERE workflow_uuid ="
                  " 'wf-parent-fail-2.retry-1'") == ["wf-declined.retry-1"]  # fmt: skip
    assert clean(path)


def test_runs_that_wait_for_each_other_are_refused(fresh: Fresh) -> None:
    path = fresh(ZOO)
    sql(path, "UPDATE operation_outputs SET function_name = 'DBOS.getResult', child_workflow_id = 'wf-parent-fail'"
        " WHERE workflow_uuid = 'wf-parent-fail-2' AND function_id = 2")  # fmt: skip
    sql(path, "UPDATE operation_outputs SET function_name = 'x', child_workflow_id = 'wf-parent-fail'"
        " WHERE workflow_uuid = 'wf-parent-fail-2' AND function_id = 1")  # fmt: skip
    assert "wait for each other" in plan(path, "wf-parent-fail").reason


def test_a_child_that_was_retried_by_itself_is_not_retried_twice(fresh: Fresh) -> None:
    path = fresh(ZOO)
    child = retry(path, "wf-parent-fail-2")
    sql(path, "UPDATE workflow_status SET status = 'SUCCESS' WHERE workflow_uuid = ?", child.new_run)
    found = plan(path, "wf-parent-fail")
    assert {part.run for part in found.again} == {"wf-parent-fail"}
    retry(path, "wf-parent-fail")
    started = "SELECT child_workflow_id FROM operation_outputs WHERE workflow_uuid = ? AND function_id = 2"
    assert column(path, started, "wf-parent-fail.retry-1") == [child.new_run]


def test_a_child_that_is_gone_can_only_go_again_as_a_whole(fresh: Fresh) -> None:
    path = fresh(ZOO)
    sql(path, "DELETE FROM workflow_status WHERE workflow_uuid = 'wf-parent-fail-2'")
    assert "choose children=whole" in plan(path, "wf-parent-fail").reason
    assert plan(path, "wf-parent-fail", children="whole").eligible


# What can't be retried.


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("wf-happy", "succeeded"),
        ("wf-pending", "running"),
        ("wf-enq-1", "queue q1"),
        ("wf-otherver", "waits for version zoo-v0"),
        ("wf-noqueue", "queue unregistered-queue"),
        ("wf-delayed", "delayed"),
    ],
)
def test_a_run_that_has_not_ended_badly_is_refused_with_what_to_do(unpacked: Unpacked, run: str, words: str) -> None:
    found = plan(unpacked(ZOO), run)
    assert not found.eligible
    assert words in found.reason
    assert (found.changes, found.again, found.new_run) == ((), (), "")


def test_an_unknown_status_is_refused(fresh: Fresh) -> None:
    path = fresh(ZOO)
    sql(path, "UPDATE workflow_status SET status = 'MELTED' WHERE workflow_uuid = 'wf-declined'")
    assert "MELTED" in plan(path, "wf-declined").reason


@pytest.mark.parametrize("operation", [operation for operation in Operation if operation is not Operation.FORK])
def test_what_only_another_engine_can_do_is_refused(unpacked: Unpacked, operation: Operation) -> None:
    found = plan(unpacked(ZOO), "wf-declined", operation=operation)
    assert not found.eligible
    assert "choose fork" in found.reason


def test_a_run_that_is_not_there_is_not_found(unpacked: Unpacked) -> None:
    with pytest.raises(RunNotFound):
        plan(unpacked(ZOO), "wf-nobody")


def test_a_column_that_must_be_filled_and_is_unknown_is_refused(fresh: Fresh) -> None:
    path = fresh(ZOO)
    sql(path, "DROP TABLE streams")
    sql(path, 'CREATE TABLE streams (workflow_uuid TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, "offset" INTEGER,'
        " function_id INTEGER, serialization TEXT, shard_key TEXT NOT NULL)")  # fmt: skip
    found = plan(path, "wf-declined")
    assert not found.eligible
    assert "streams.shard_key" in found.reason


def test_a_stream_before_the_start_is_refused_on_1_x_alone(fresh: Fresh) -> None:
    first, second = fresh("mini-1.13.0"), fresh("mini-2.0.0")
    for path in (first, second):
        forget_forks(path)
        sql(path, "UPDATE operation_outputs SET function_name = 'DBOS.writeStream' WHERE workflow_uuid = 'fails'"
            " AND function_id = 1")  # fmt: skip
    assert "hangs" in plan(first, "fails").reason
    assert plan(first, "fails", start="1").eligible
    assert plan(second, "fails").eligible


def test_an_input_that_is_gone_is_refused(fresh: Fresh) -> None:
    path = fresh(ZOO)
    sql(path, "DELETE FROM workflow_input WHERE workflow_uuid = 'wf-declined'")
    assert "no longer recorded" in plan(path, "wf-declined").reason


# Once, and not twice.


def test_while_a_retry_is_unfinished_or_has_succeeded_there_is_no_second(fresh: Fresh) -> None:
    path = fresh(ZOO)
    done = retry(path, "wf-declined")
    for status in ("ENQUEUED", "PENDING", "SUCCESS", "DELAYED"):
        sql(path, "UPDATE workflow_status SET status = ? WHERE workflow_uuid = ?", status, done.new_run)
        found = plan(path, "wf-declined")
        assert (found.eligible, found.earlier) == (False, done.new_run)
    with pytest.raises(AlreadyRetried):
        retry(path, "wf-declined")


def test_after_a_retry_failed_the_next_has_the_next_number(fresh: Fresh) -> None:
    path = fresh(ZOO)
    done = retry(path, "wf-declined")
    sql(path, "UPDATE workflow_status SET status = 'ERROR' WHERE workflow_uuid = ?", done.new_run)
    assert plan(path, "wf-declined").new_run == "wf-declined.retry-2"


def test_a_retry_of_a_failed_retry_stands_for_the_original_too(fresh: Fresh) -> None:
    path = fresh(ZOO)
    first = retry(path, "wf-declined")
    sql(path, "UPDATE workflow_status SET status = 'ERROR' WHERE workflow_uuid = ?", first.new_run)
    second = retry(path, first.new_run, start="1")
    assert second.new_run == "wf-declined.retry-1.retry-1"
    assert plan(path, "wf-declined").earlier == second.new_run


def test_before_2_4_an_earlier_retry_is_known_by_its_id(fresh: Fresh) -> None:
    path = fresh("mini-2.0.0")
    done = retry(path, "fails")
    assert plan(path, "fails").earlier == done.new_run


def test_a_fork_that_the_engine_made_counts_as_a_retry(fresh: Fresh) -> None:
    path = fresh(ZOO)
    engine_forks(path, "wf-declined", 3, "a-fork")
    assert plan(path, "wf-declined").earlier == "a-fork"


def test_whatever_is_recorded_of_the_run_meanwhile_changes_the_digest(fresh: Fresh) -> None:
    path = fresh(ZOO)
    digest = plan(path, "wf-declined").digest
    assert plan(path, "wf-declined").digest == digest
    for statement_ in (
        "UPDATE workflow_status SET updated_at = updated_at + 1000 WHERE workflow_uuid = 'wf-declined'",
        "UPDATE workflow_status SET status = 'CANCELLED' WHERE workflow_uuid = 'wf-declined'",
        "DELETE FROM operation_outputs WHERE workflow_uuid = 'wf-declined' AND function_id = 1",
        "INSERT INTO streams VALUES ('wf-declined', 'k', 'v', 0, 9, NULL)",
        "DELETE FROM workflow_output WHERE workflow_uuid = 'wf-declined'",
    ):
        sql(path, statement_)
        assert plan(path, "wf-declined").digest != digest
        digest = plan(path, "wf-declined").digest


# The check before COMMIT.


def test_what_was_planned_passes_the_check(fresh: Fresh) -> None:
    retry(fresh(ZOO), "wf-parent-fail")


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE workflow_status SET status = 'PENDING' WHERE workflow_uuid = 'wf-parent-fail.retry-1'",
        "UPDATE workflow_status SET created_at = '2026' WHERE workflow_uuid = 'wf-parent-fail-2.retry-1'",
        "UPDATE workflow_status SET created_at = 1 WHERE workflow_uuid = 'wf-parent-fail-2.retry-1'",
        "UPDATE workflow_status SET owner_xid = 'x' WHERE workflow_uuid = 'wf-parent-fail.retry-1'",
        "UPDATE workflow_input SET inputs = CAST(inputs AS BLOB) WHERE workflow_uuid = 'wf-parent-fail.retry-1'",
        "UPDATE operation_outputs SET child_workflow_id = 'wf-parent-fail-2' WHERE workflow_uuid = 'wf-parent-fail.retry-1'",
        "DELETE FROM operation_outputs WHERE workflow_uuid = 'wf-parent-fail.retry-1' AND function_id = 1",
        "INSERT INTO workflow_output VALUES ('wf-parent-fail.retry-1', NULL, NULL, 1)",
        "INSERT INTO operation_outputs (workflow_uuid, function_id) VALUES ('wf-parent-fail.retry-1', 3)",
        "UPDATE workflow_status SET status = 'ENQUEUED' WHERE workflow_uuid = 'wf-parent-fail'",
        "DELETE FROM operation_outputs WHERE workflow_uuid = 'wf-parent-fail-2' AND function_id = 2",
    ],
)
def test_anything_else_is_refused(fresh: Fresh, spoil: str) -> None:
    with pytest.raises(AppendRefused):
        retry(fresh(ZOO), "wf-parent-fail", spoil)


# Who would take it up.


def version(path: Path, name: str, ahead_ms: int) -> None:
    newest = sql(path, "SELECT max(version_timestamp) FROM application_versions")[0][0]
    sql(path, "INSERT INTO application_versions VALUES (?, ?, ?, ?, 'zoo')", name, name, newest + ahead_ms, newest)


def test_a_newer_version_that_took_nothing_up_is_warned_of_with_the_one_to_pin(fresh: Fresh) -> None:
    path = fresh(ZOO)
    assert plan(path, "wf-declined").warnings == ()
    version(path, "zoo-v2", 1000)
    assert any("zoo-v2" in words and "pin zoo-v1" in words for words in plan(path, "wf-declined").warnings)
    assert plan(path, "wf-declined", pin="zoo-v1").warnings == ()
    done = retry(path, "wf-declined", pin="zoo-v1")
    asked = "SELECT application_version FROM workflow_status WHERE workflow_uuid = ?"
    assert column(path, asked, done.new_run) == ["zoo-v1"]


def test_a_version_deployed_since_the_plan_makes_it_another_unless_one_is_pinned(fresh: Fresh) -> None:
    path = fresh(ZOO)
    before, pinned = plan(path, "wf-declined"), plan(path, "wf-declined", pin="zoo-v1")
    version(path, "zoo-v2", 1000)
    after = plan(path, "wf-declined")
    assert after.digest != before.digest
    assert any("zoo-v2 is the newest version" in words for words in after.guards)
    assert plan(path, "wf-declined", pin="zoo-v1").digest == pinned.digest


def test_more_rows_than_one_transaction_should_have_are_refused(
    unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = plan(unpacked(ZOO), "wf-parent-fail").changes
    for limit, most in (("MOST_ROWS", count(changes)), ("MOST_STATEMENTS", len(changes))):
        with monkeypatch.context() as narrowed:
            narrowed.setattr(f"runs.engines.dbos.retry.{limit}", most)
            assert plan(unpacked(ZOO), "wf-parent-fail").eligible
            narrowed.setattr(f"runs.engines.dbos.retry.{limit}", most - 1)
            found = plan(unpacked(ZOO), "wf-parent-fail")
            assert (found.eligible, found.changes) == (False, ())
            assert f"It would append {count(changes)} rows by {len(changes)} statements" in found.reason


def test_the_sql_takes_a_fork_back_only_while_none_of_its_runs_was_taken_up(fresh: Fresh) -> None:
    path = fresh(ZOO)
    before = everything(path)
    confirmed = appending.confirmation(plan(path, "wf-parent-fail"), look(path).identity)
    done = appending.append(path, "wf-parent-fail", Options(), confirmed, clock.now())
    state = "UPDATE workflow_status SET status = ? WHERE workflow_uuid = 'wf-parent-fail-2.retry-1'"
    sql(path, state, "PENDING")
    taken_up = everything(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(taking_back(done.rows))
    assert everything(path) == taken_up
    sql(path, state, "ENQUEUED")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(taking_back(done.rows))
    assert everything(path) == before


def test_a_version_that_nobody_knows_is_warned_of(unpacked: Unpacked) -> None:
    assert any(
        "Nothing ran with version v9" in words for words in plan(unpacked(ZOO), "wf-declined", pin="v9").warnings
    )


def test_an_input_that_an_upgraded_engine_cannot_read_is_warned_of(fresh: Fresh) -> None:
    path = fresh("mini-1.13.0")
    forget_forks(path)
    assert plan(path, "fails").warnings == ()
    run_dbos_database_migrations(system_database_url=f"sqlite:///{path}")
    assert any("written by dbos 1.x" in words for words in plan(path, "fails").warnings)


def test_another_application_than_the_one_at_work_is_warned_of(fresh: Fresh) -> None:
    path = fresh(ZOO)
    sql(path, "UPDATE workflow_status SET application_name = 'shop' WHERE workflow_uuid = 'wf-declined'")
    assert any("only a worker named shop" in words for words in plan(path, "wf-declined").warnings)


def test_a_retry_that_nobody_takes_up_says_why(fresh: Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fresh(ZOO)
    done = retry(path, "wf-declined")

    def said(after: float) -> str:
        monkeypatch.setenv("DURASCOPE_NOW", (done.at + timedelta(seconds=after)).isoformat())
        found = SqliteSource(path, "x").read(lambda r: Dbos(r).follow("wf-declined", done.new_run, done.at))
        assert found.taken_up_after is None
        return found.why_not

    assert said(1) == ""
    assert "No worker seems to be running" in said(6)
    version(path, "zoo-v2", 1000)
    assert "newest version, zoo-v2" in said(6)
    sql(path, "UPDATE workflow_status SET application_name = 'shop' WHERE workflow_uuid = ?", done.new_run)
    assert "the application shop" in said(6)
    sql(path, "UPDATE workflow_status SET queue_name = 'slow' WHERE workflow_uuid = ?", done.new_run)
    assert "queue slow" in said(6)
    sql(path, "DELETE FROM workflow_status WHERE workflow_uuid = ?", done.new_run)
    assert "no longer in the database" in said(6)


def test_a_retry_that_was_cancelled_before_it_was_taken_up_says_so(fresh: Fresh) -> None:
    path = fresh(ZOO)
    done = retry(path, "wf-declined")
    client = DBOSClient(system_database_url=f"sqlite:///{path}")
    client.cancel_workflow(done.new_run)
    client.destroy()
    found = SqliteSource(path, "x").read(lambda reader: Dbos(reader).follow("wf-declined", done.new_run, done.at))
    assert (found.taken_up_after, found.why_not) == (None, "It was cancelled before a worker took it up.")


def test_a_retry_that_was_taken_up_says_when(fresh: Fresh) -> None:
    path = fresh(ZOO)
    done = retry(path, "wf-declined")
    at = Now(Clock.EPOCH_MS).at(done.at + timedelta(milliseconds=800))
    sql(path, "UPDATE workflow_status SET status = 'PENDING', started_at_epoch_ms = ? WHERE workflow_uuid = ?",
        at, done.new_run)  # fmt: skip
    found = SqliteSource(path, "x").read(lambda reader: Dbos(reader).follow("wf-declined", done.new_run, done.at))
    assert found.taken_up_after is not None
    assert abs(found.taken_up_after - timedelta(milliseconds=800)) < timedelta(milliseconds=2)


# Words.


def test_the_effects_name_the_timeout_the_queue_and_the_parent(fresh: Fresh) -> None:
    path = fresh(ZOO)
    fail(path, "wf-q2-0", "wf-parent-1", "wf-shop")
    assert any("timeout of wf-timeout is not inherited" in words for words in plan(path, "wf-timeout").effects)
    assert any("leaves the queue q2" in words for words in plan(path, "wf-q2-0").effects)
    assert any("parent wf-parent does not learn" in words for words in plan(path, "wf-parent-1").effects)
    assert any("Shop.sell (Shop" in words for words in plan(path, "wf-shop").effects)


# What lies beside the ordinary.


def test_a_recovered_copy_is_not_retried(fresh: Fresh) -> None:
    path = fresh("go-1.8.0")
    with writing(path) as writer:
        writer.do("UPDATE workflow_status SET updated_at = updated_at + 1 WHERE workflow_uuid = 'order-o4'")
    path.with_name(f"{path.name}-shm").unlink()
    found = plan(path, "order-o3")
    assert not found.eligible
    assert "recovered copy" in found.reason


def test_only_what_failed_is_not_offered_where_it_wrote_to_a_stream(fresh: Fresh) -> None:
    path = fresh(ZOO)
    started = column(path, "SELECT started_at_epoch_ms FROM operation_outputs WHERE workflow_uuid = 'wf-fanout'")
    break_step(path, "wf-fanout", 3, max(started))
    sql(path, "INSERT INTO streams VALUES ('wf-fanout', 'log', '1', 0, 3, NULL)")
    assert "wrote to a stream" in plan(path, "wf-fanout", start="failed-only").reason


def test_a_child_with_an_id_of_its_own_is_not_started_anew(fresh: Fresh) -> None:
    path = fresh(ZOO)
    sql(path, "UPDATE workflow_status SET workflow_uuid = 'mine' WHERE workflow_uuid = 'wf-parent-fail-2'")
    sql(path, "UPDATE workflow_input SET workflow_uuid = 'mine' WHERE workflow_uuid = 'wf-parent-fail-2'")
    sql(path, "UPDATE operation_outputs SET child_workflow_id = 'mine' WHERE child_workflow_id = 'wf-parent-fail-2'")
    assert "choose children=deep" in plan(path, "wf-parent-fail", children="whole").reason
    found = plan(path, "wf-parent-fail", start="2")
    assert any("an id that is taken" in words for words in found.warnings)


def test_numbers_without_a_row_are_named(fresh: Fresh) -> None:
    path = fresh(ZOO)
    sql(path, "DELETE FROM operation_outputs WHERE workflow_uuid = 'wf-declined' AND function_id = 1")
    assert any("Step 1 of wf-declined is not recorded" in words for words in plan(path, "wf-declined").warnings)
