"""Steps of DBOS runs: times, sleeps, forks, children, attempts."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from runs.clock import from_epoch_ms
from runs.engines.dbos import Dbos
from runs.records import Status, StepKind
from tests.conftest import DBOS
from tests.dbos_files import GO, MINIS, ZOO, Unpacked, all_runs, at, column, read, sql


@pytest.mark.parametrize("name", DBOS)
def test_each_row_of_operation_outputs_is_a_step_in_order(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    for run in read(path, all_runs):
        rows = sql(
            path,
            "SELECT function_id, function_name, child_workflow_id, error IS NOT NULL AND error <> '' "
            "FROM operation_outputs WHERE workflow_uuid = ? ORDER BY function_id",
            run.id,
        )
        steps = read(path, lambda engine, run=run: engine.steps(run.id))
        assert [(step.ordinal, step.name, step.child, int(step.error is not None)) for step in steps] == rows
        assert run.steps == len(rows)


@pytest.mark.parametrize("name", [name for name in DBOS if name not in ("mini-1.13.0", "mini-2.0.0")])
def test_steps_have_the_times_that_are_recorded(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    checked = 0
    for run_id, number, started, completed in sql(
        path,
        "SELECT workflow_uuid, function_id, started_at_epoch_ms, completed_at_epoch_ms FROM operation_outputs "
        "WHERE function_name <> 'DBOS.sleep' AND (child_workflow_id IS NULL OR function_name = 'DBOS.getResult')",
    ):
        steps = read(path, lambda engine, run_id=run_id: engine.steps(run_id))
        step = next(step for step in steps if step.ordinal == number)
        assert (step.started_at, step.finished_at) == (from_epoch_ms(started), from_epoch_ms(completed))
        if started is not None and completed is not None:
            assert step.duration == timedelta(milliseconds=completed - started)
            checked += 1
    assert checked or not sql(path, "SELECT 1 FROM operation_outputs")


@pytest.mark.parametrize("name", ["mini-1.13.0", "mini-2.0.0"])
def test_the_first_schema_has_steps_without_times(name: str, unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        steps = engine.steps("fails")
        assert [(step.name, step.status, step.started_at, step.finished_at) for step in steps] == [
            ("add", Status.SUCCEEDED, None, None),
            ("boom", Status.FAILED, None, None),
        ]
        assert [event.type for event in engine.events("fails", None, 10).rows] == [
            *("created", "step succeeded", "step failed", "failed"),
        ]

    read(unpacked(name), work)


@pytest.mark.parametrize(
    ("name", "run_id"), [(ZOO, "wf-cancel"), (ZOO, "wf-timeout"), ("go-1.8.0", "sleeper-cancelled")]
)
def test_a_projected_sleep_is_cut_at_the_end_of_its_cancelled_run(name: str, run_id: str, fresh: Unpacked) -> None:
    path = fresh(name)
    (started, projected, ended) = sql(
        path,
        "SELECT o.started_at_epoch_ms, o.completed_at_epoch_ms, s.completed_at FROM operation_outputs o "
        "JOIN workflow_status s USING (workflow_uuid) WHERE workflow_uuid = ? AND function_name = 'DBOS.sleep'",
        run_id,
    )[0]
    assert projected > ended + 1000
    run, steps = read(path, lambda engine: (engine.run(run_id), engine.steps(run_id)))
    sleep = steps[-1]
    assert sleep.kind is StepKind.SLEEP
    assert sleep.status is Status.CANCELLED
    assert sleep.projected
    assert sleep.started_at == at(started)
    assert sleep.finished_at == at(max(started, ended))
    assert run.duration is not None
    assert run.duration < timedelta(seconds=2)


def test_a_sleep_that_was_slept_to_its_end_is_not_cut(unpacked: Unpacked) -> None:
    (sleep,) = read(unpacked(ZOO), lambda engine: engine.steps("wf-sleep"))
    assert sleep.status is Status.SUCCEEDED
    assert not sleep.projected
    assert sleep.duration == timedelta(milliseconds=301)


@pytest.mark.parametrize(
    ("now", "status"), [("2026-11-22T13:30:00Z", "waiting"), ("2026-11-22T15:00:00Z", "succeeded")]
)
def test_a_sleep_of_an_unfinished_run_waits_while_its_end_lies_ahead(
    now: str, status: str, unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURASCOPE_NOW", now)
    run, steps = read(unpacked(ZOO), lambda engine: (engine.run("wf-pending"), engine.steps("wf-pending")))
    assert steps[1].status.value == status
    assert steps[1].projected  # nothing recorded later shows that the run woke up
    assert steps[1].duration == timedelta(hours=1)
    assert run.status is Status.RUNNING
    assert run.duration is None
    assert (run.due_at is not None) == (status == "waiting")
    assert run.reason.startswith("sleeps" if status == "waiting" else "nothing recorded since DBOS.sleep")


def test_an_old_schemas_sleep_ends_when_its_output_says(fresh: Unpacked, monkeypatch: pytest.MonkeyPatch) -> None:
    # Until about 2.29 a sleep's row had the time of recording as its end.
    path = fresh("mini-2.14.0")
    monkeypatch.setenv("DURASCOPE_NOW", "2026-11-22T13:30:00Z")
    wake = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE workflow_status SET status = 'PENDING' WHERE workflow_uuid = 'ok'")
        connection.execute("DELETE FROM operation_outputs WHERE workflow_uuid = 'ok' AND function_id = 3")
        connection.execute(
            "UPDATE operation_outputs SET output = ? WHERE workflow_uuid = 'ok' AND function_id = 2",
            (str(wake.timestamp()),),
        )
    run, steps = read(path, lambda engine: (engine.run("ok"), engine.steps("ok")))
    assert steps[1].finished_at == wake
    assert steps[1].status is Status.WAITING
    assert run.due_at == wake


def test_a_recv_that_still_waits_says_until_when(fresh: Unpacked, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fresh(ZOO)
    monkeypatch.setenv("DURASCOPE_NOW", "2026-11-22T13:07:31Z")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE workflow_status SET status = 'PENDING', completed_at = NULL WHERE name = 'receiver'")
        connection.execute("DELETE FROM operation_outputs WHERE workflow_uuid = 'wf-recv' AND function_id = 3")
        connection.execute(
            "UPDATE operation_outputs SET output = '1795352880.5' WHERE workflow_uuid = 'wf-recv' AND function_id = 4"
        )
    run, steps = read(path, lambda engine: (engine.run("wf-recv"), engine.steps("wf-recv")))
    assert run.due_at == at(1795352880500)
    assert "message" in run.reason
    assert (steps[-1].status, steps[-1].folded_into) == (Status.WAITING, None)


def test_copied_steps_of_a_fork_are_inherited_and_do_not_count_in_its_duration(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    forks = column(path, "SELECT workflow_uuid FROM workflow_status WHERE forked_from IS NOT NULL")
    assert len(forks) == 3
    for run_id in forks:
        copied = column(
            path,
            "SELECT function_id FROM operation_outputs o JOIN workflow_status s USING (workflow_uuid) "
            "WHERE workflow_uuid = ? AND o.started_at_epoch_ms < s.created_at ORDER BY 1",
            run_id,
        )
        run, steps = read(path, lambda engine, run_id=run_id: (engine.run(run_id), engine.steps(run_id)))
        assert copied
        assert [step.ordinal for step in steps if step.inherited] == copied
        assert run.duration is not None
        assert run.duration < timedelta(seconds=3)


@pytest.mark.parametrize("name", [name for name in MINIS if name not in ("mini-1.13.0", "mini-2.0.0")])
def test_every_schema_that_knows_forks_ghosts_the_copied_step(name: str, unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        assert [step.inherited for step in engine.steps("fails-fork")] == [True, False]
        assert engine.run("fails-fork").forked_from == "fails"
        assert [fork.id for fork in engine.relatives("fails").forks] == ["fails-fork"]
        assert not any(step.inherited for run in ("ok", "fails", "parent") for step in engine.steps(run))

    read(unpacked(name), work)


def test_a_step_copied_within_the_second_of_the_fork_is_inherited_by_its_equal_times(fresh: Unpacked) -> None:
    path = fresh("mini-3.4.0")
    second = 1795353017000  # in which the copied step began
    sql(path, f"UPDATE workflow_status SET created_at = {second}, started_at_epoch_ms = {second} WHERE name = 'fails'")
    steps, events = read(path, lambda engine: (engine.steps("fails-fork"), engine.events("fails-fork", None, 9).rows))
    assert [step.inherited for step in steps] == [True, False]
    assert [event.type for event in events] == ["created", "step succeeded", "started", "step succeeded", "succeeded"]


def test_forks_of_2_4_without_step_times_are_told_by_equal_rows(fresh: Unpacked) -> None:
    path = fresh("mini-2.5.0")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE operation_outputs SET started_at_epoch_ms = NULL, completed_at_epoch_ms = NULL "
            "WHERE workflow_uuid = 'fails-fork' AND function_id = 1"
        )
    assert [step.inherited for step in read(path, lambda engine: engine.steps("fails-fork"))] == [True, False]


@pytest.mark.parametrize("name", [*MINIS, ZOO])
def test_a_childs_row_says_what_the_child_did_and_its_result_folds_into_it(name: str, unpacked: Unpacked) -> None:
    run_id, child_id = ("wf-parent", "wf-parent-1") if name == ZOO else ("parent", "parent-1")

    def work(engine: Dbos) -> None:
        start, result = engine.steps(run_id)[:2]
        child = engine.run(child_id)
        assert (start.kind, start.child, start.folded_into) == (StepKind.CHILD_RUN, child_id, None)
        assert (start.status, start.native_status) == (child.status, "SUCCESS")
        assert (result.name, result.child, result.folded_into) == ("DBOS.getResult", child_id, start.ordinal)
        assert start.started_at is not None
        assert start.finished_at is not None
        assert start.finished_at >= start.started_at
        assert child_id in [run.id for run in engine.relatives(run_id).children]
        assert child.parent == run_id

    read(unpacked(name), work)


def test_the_row_of_a_failed_child_is_failed_and_that_of_a_lost_child_unknown(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    steps = read(path, lambda engine: engine.steps("wf-parent-fail"))
    assert [(step.status, step.folded_into) for step in steps] == [
        (Status.SUCCEEDED, None),
        (Status.FAILED, None),
        (Status.FAILED, 2),
    ]
    sql(path, "DELETE FROM workflow_status WHERE workflow_uuid = 'wf-parent-fail-2'")
    lost = read(path, lambda engine: engine.steps("wf-parent-fail"))[1]
    assert (lost.status, lost.finished_at) == (Status.UNKNOWN, None)


def test_timeouts_of_recv_and_get_event_fold_into_them(unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        assert [(step.name, step.folded_into, step.detail) for step in engine.steps("wf-recv")] == [
            ("DBOS.recv", None, "topic-a"),
            ("DBOS.sleep", 1, ""),
            ("DBOS.recv", None, ""),
            ("DBOS.sleep", 3, ""),
        ]
        assert [(step.kind, step.folded_into) for step in engine.steps("wf-send")] == [
            (StepKind.MESSAGE, None),
            (StepKind.VALUE, None),
            (StepKind.SLEEP, 2),
        ]

    read(unpacked(ZOO), work)


def test_a_values_step_leads_to_the_value_it_wrote(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    steps = read(path, lambda engine: engine.steps("wf-events"))
    assert [(step.kind.value, step.detail) for step in steps] == [
        *(("value", "progress"), ("value", "progress"), ("value", "final")),
        *(("value", "log"), ("value", "log"), ("value", "log"), ("activity", ""), ("value", "log")),
    ]
    stored = column(
        path, "SELECT value FROM workflow_events_history WHERE workflow_uuid = 'wf-events' ORDER BY function_id"
    )
    stored += column(
        path, 'SELECT value FROM streams WHERE workflow_uuid = \'wf-events\' AND "offset" < 3 ORDER BY "offset"'
    )
    refs = [step.payloads.output for step in steps[:6]]
    bodies = [read(path, lambda engine, ref=ref: engine.payload("wf-events", ref.name)).data for ref in refs if ref]
    assert bodies == [value.encode() for value in stored]


@pytest.mark.parametrize("name", GO)
def test_go_counts_steps_from_zero_and_its_empty_errors_are_none(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    assert column(path, "SELECT count(*) FROM workflow_output WHERE error = ''")[0] > 0

    def work(engine: Dbos) -> None:
        assert engine.revision().label == "migration 125, dbos for Go"
        assert [step.ordinal for step in engine.steps("order-o0")] == list(range(8))
        assert all((run.error is not None) == (run.status is Status.FAILED) for run in all_runs(engine))
        assert engine.run("order-o0").payloads.error is None
        failed = engine.steps("order-o3")[-1]
        assert failed.status is Status.FAILED
        assert failed.error is not None
        assert "card processor is down" in failed.error.message
        assert failed.attempt_count == 3
        error = engine.run("body-1").error
        assert error is not None
        assert error.message == 'body refused "x": permission denied'

    read(path, work)


def test_an_empty_error_of_a_step_is_none(fresh: Unpacked) -> None:
    path = fresh("go-1.8.0")
    sql(path, "UPDATE operation_outputs SET error = '' WHERE workflow_uuid = 'order-o0'")
    steps = read(path, lambda engine: engine.steps("order-o0"))
    assert {step.status for step in steps} == {Status.SUCCEEDED}
    assert {(step.error, step.payloads.error) for step in steps} == {(None, None)}


def test_exhausted_retries_show_each_attempts_error(unpacked: Unpacked) -> None:
    step = read(unpacked(ZOO), lambda engine: engine.steps("wf-retry-exhausted"))[1]
    assert step.attempt_count == 3
    assert [(attempt.status, attempt.started_at) for attempt in step.attempts] == [(Status.FAILED, None)] * 3
    assert {(attempt.error.type, attempt.error.message) for attempt in step.attempts if attempt.error} == {
        ("TimeoutError", "upstream 504")
    }
    recovered = read(unpacked(ZOO), lambda engine: engine.steps("wf-retry-ok"))[0]
    assert (recovered.attempts, recovered.attempt_count) == ((), None)
