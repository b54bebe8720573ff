"""What must not be retried is refused in the plan, with the reason and what to do instead."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runs.errors import RunNotFound
from runs.retry import Operation, RetryPlan
from tests.retrying import plan, retry_here

Shop = Callable[[str], tuple[Path, dict[str, str]]]


@pytest.fixture
def shop(fresh: Callable[[str], Path], oracle: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A copy of a file at the moment when the engine was asked about it, and its labelled executions."""

    def get(name: str) -> tuple[Path, dict[str, str]]:
        monkeypatch.setenv("DURASCOPE_NOW", oracle(name)["read_at"])
        return fresh(name), oracle(name)["scenarios"]

    return get


def change(path: Path, statement: str, *params: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement, params).rowcount != 0


def refused(found: RetryPlan, *words: str) -> None:
    assert not found.eligible
    assert not found.changes
    for word in words:
        assert word in found.reason


KINDS = {
    "ok-activity": ("succeeded", "nothing to redo"),
    "ok-fulfil": ("succeeded", "nothing to redo"),
    "cancelled-workflow": ("was cancelled", "Submit it anew"),
    "cancelled-activity": ("was cancelled", "Submit it anew"),
    "cancelled-backoff": ("was cancelled", "Submit it anew"),
    "cancelling": ("is being cancelled", "Wait"),
    "stub-blocked-2": ("waiting, not failed", "answer from outside"),
    "paused-delay": ("delay is paused", "Unpause the delay"),
}


@pytest.mark.parametrize("label", KINDS)
def test_what_has_not_failed_is_not_retried(label: str, shop: Shop) -> None:
    path, scenarios = shop("shop")
    refused(plan(path, scenarios[label]), *KINDS[label])


def test_a_child_that_is_a_stub_can_only_be_redone_by_its_parents_fork(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    parent = scenarios["stub-refused"]
    refused(plan(path, f"{parent}.o:1-approve-refund_1"), "is a stub", f"Fork the workflow that asked for it: {parent}")
    assert plan(path, parent).operation is Operation.FORK


def test_what_waits_for_somebody_else_says_for_whom(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    refused(plan(path, scenarios["backoff-child"]), f"waits for {scenarios['backoff-child']}.o:2-sync-tracking_1")


def test_a_running_activity_and_what_it_runs_for_are_left_alone(shop: Shop) -> None:
    path, _ = shop("shop-live")
    with closing(sqlite3.connect(path)) as connection:
        running = [
            run_id for (run_id,) in connection.execute("SELECT execution_id FROM t_state WHERE state = 'locked'")
        ]
    assert len(running) == 5
    for run_id in running:
        refused(plan(path, run_id), "is running at this moment")
        refused(plan(path, run_id, operation=Operation.RETRY_NOW), "is running at this moment")
        refused(plan(path, run_id, operation=Operation.RUN_AGAIN), "has not ended: it is running")
        refused(plan(path, run_id.partition(".")[0], operation=Operation.FORK), "has not ended: it is waiting")


def test_what_is_already_due_needs_only_an_engine(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    path, scenarios = shop("shop")
    assert plan(path, scenarios["backoff"]).eligible
    assert plan(path, scenarios["blocked-on-delay"]).eligible
    monkeypatch.setenv("DURASCOPE_NOW", "2026-11-24T00:00:00Z")
    refused(plan(path, scenarios["backoff"]), "already due", "needs only an engine")
    refused(plan(path, scenarios["blocked-on-delay"]), "already over", "needs only an engine")


def test_what_never_ran_waits_for_no_back_off(shop: Shop) -> None:
    path, _ = shop("shop")
    with closing(sqlite3.connect(path)) as connection:
        asked = (
            "SELECT execution_id FROM t_state WHERE component_type = ? AND state = 'pending_at' AND executor_id IS NULL"
        )
        ((scheduled,), *_) = connection.execute(asked + " AND lifecycle = 'active'", ("activity",))
        ((cron,),) = connection.execute("SELECT execution_id FROM t_state WHERE component_type = 'cron'")
    refused(plan(path, scheduled), "No attempt of it has failed")
    refused(plan(path, cron), "has yet to run")
    refused(plan(path, cron, operation=Operation.RETRY_NOW), "is a cron")


WRONG = (
    ("backoff", Operation.RUN_AGAIN, "has not ended"),
    ("backoff", Operation.FORK, "has not ended"),
    ("backoff", Operation.UNPAUSE, "not paused"),
    ("backoff", Operation.SKIP_DELAY, "not waiting for a delay"),
    ("paused-blocked", Operation.SKIP_DELAY, "Unpause it first"),
    ("paused-new", Operation.RETRY_NOW, "a workflow"),
    ("retries-exhausted", Operation.RETRY_NOW, "Run it again"),
    ("retries-exhausted", Operation.FORK, "Only a workflow"),
    ("retries-exhausted", Operation.UNPAUSE, "not paused"),
    ("retries-exhausted", Operation.SKIP_DELAY, "not waiting for a delay"),
    ("stub-blocked", Operation.SKIP_DELAY, "not waiting for a delay. It waits for an answer from outside"),
)


@pytest.mark.parametrize(("label", "operation", "words"), WRONG)
def test_an_operation_that_does_not_fit_says_what_does(
    label: str, operation: Operation, words: str, shop: Shop
) -> None:
    path, scenarios = shop("shop-staging")
    refused(plan(path, scenarios[label], operation=operation), words)


def test_a_child_workflow_is_forked_with_the_run_it_belongs_to(shop: Shop) -> None:
    path, _ = shop("shop-staging")
    with closing(sqlite3.connect(path)) as connection:
        failed = "NOT is_top_level AND component_type = 'workflow' AND result_kind LIKE '%error%'"
        ((child,), *_) = connection.execute(f"SELECT execution_id FROM t_state WHERE {failed}")
    refused(plan(path, child, operation=Operation.FORK), "It is a child", child.partition(".")[0])
    assert plan(path, child).operation is Operation.RUN_AGAIN


def test_a_paused_activity_is_unpaused_before_its_back_off_is_cut_short(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    change(path, "UPDATE t_state SET lifecycle = 'paused' WHERE execution_id = ?", scenarios["backoff"])
    refused(plan(path, scenarios["backoff"], operation=Operation.RETRY_NOW), "It is paused. Unpause it first")
    assert plan(path, scenarios["backoff"]).operation is Operation.UNPAUSE


def test_without_anything_that_failed_before_the_end_there_is_nothing_to_redo(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    for label in "race-timeout", "join-next-try-gave-up", "persist-failed", "trap":
        found = plan(path, scenarios[label])
        assert (found.operation, found.eligible) == (Operation.RUN_AGAIN, True)
        assert "nothing to redo" in found.warnings[0]
    refused(plan(path, scenarios["race-timeout"], operation=Operation.FORK), "nothing to redo", "Run it again")
    refused(plan(path, scenarios["persist-failed"], operation=Operation.FORK), "before it recorded anything")


def test_other_code_than_what_is_deployed_needs_the_engines_replay(shop: Shop) -> None:
    path, scenarios = shop("shop")
    run_id = scenarios["restock-failed"]
    refused(
        plan(path, run_id, operation=Operation.FORK),
        "ran with the component 9e1fe0357c4f",
        "has fb6af12d81fc",
        "replay",
    )
    found = plan(path, run_id)
    assert (found.operation, found.eligible) == (Operation.RUN_AGAIN, True)
    assert "replay" in found.warnings[0]
    refused(plan(path, scenarios["nondeterminism"], operation=Operation.FORK), "nothing to redo")


SEEDED = {
    "persist": '{"type":"persist","value":[0,0,0,0,0,0,0,7],"kind":{"type":"random_u64","min":1,"max_inclusive":9}}',
    "schedule": '{"type":"schedule","execution_id":"E_01M81XWFPPZH5AFRNPNDB2JH3V","schedule_at":"now","result":{"Ok":null}}',
}


@pytest.mark.parametrize("kind", SEEDED)
def test_values_drawn_from_the_runs_own_id_before_the_cut_forbid_a_fork(kind: str, shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    run_id = scenarios["restock-failed"]
    event = f'{{"history_event":{{"event":{SEEDED[kind]}}}}}'
    put = "UPDATE t_execution_log SET variant = 'history_event', json_value = ? WHERE execution_id = ? AND version = 1"
    change(path, put, event, run_id)
    refused(plan(path, run_id, operation=Operation.FORK), "At version 1, before the failure", "diverge")
    assert plan(path, run_id).operation is Operation.RUN_AGAIN


def test_a_nested_workflow_that_cannot_go_on_runs_from_its_beginning(shop: Shop) -> None:
    path, _ = shop("shop-staging")
    with closing(sqlite3.connect(path)) as connection:
        asked = """SELECT execution_id FROM t_state WHERE component_type = 'workflow' AND result_kind LIKE '%error%'
            AND execution_id LIKE '%_.%' AND execution_id NOT LIKE '%_.%.%'"""
        ((child,), *_) = connection.execute(asked)
    put = "UPDATE t_execution_log SET variant = 'history_event', json_value = ? WHERE execution_id = ? AND version = 1"
    change(path, put, f'{{"history_event":{{"event":{SEEDED["persist"]}}}}}', child)
    found = plan(path, child.partition(".")[0])
    assert (found.operation, found.eligible) == (Operation.FORK, True)
    assert any(f"{child} runs from its beginning" in words and "recorded a value" in words for words in found.warnings)
    assert {part.run for part in found.again} == {child.partition(".")[0]}
    retry_here(path, found.run)


def test_an_answer_that_the_run_gave_itself_would_be_missing(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    run_id = scenarios["stub-refused"]
    stub = f'{{"type":"stub","target_execution_id":"{run_id}.o:1-approve-refund_1","retval_hash":"01","result":{{"Ok":null}}}}'
    put = "UPDATE t_execution_log SET variant = 'history_event', json_value = ? WHERE execution_id = ? AND version = 1"
    change(path, put, f'{{"history_event":{{"event":{stub}}}}}', run_id)
    refused(plan(path, run_id, operation=Operation.FORK), "answered", "itself")


def test_a_lost_response_or_row_forbids_a_fork(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    run_id = scenarios["restock-failed"]
    kept = "child_execution_id LIKE ? AND child_execution_id NOT LIKE '%_2'"
    change(path, f"DELETE FROM t_execution_log WHERE variant = 'finished' AND execution_id IN "
        f"(SELECT child_execution_id FROM t_join_set_response WHERE {kept})", f"{run_id}.%")  # fmt: skip
    refused(plan(path, run_id, operation=Operation.FORK), "not recorded any more", "Run it again")


def test_a_gap_in_the_log_forbids_a_fork(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    run_id = scenarios["restock-failed"]
    change(path, "DELETE FROM t_execution_log WHERE execution_id = ? AND version = 1", run_id)
    refused(plan(path, run_id, operation=Operation.FORK), "Rows of its log are missing")


def test_a_requested_cancellation_forbids_a_fork(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    run_id = scenarios["restock-failed"]
    put = "UPDATE t_execution_log SET variant = ?, json_value = ? WHERE execution_id = ? AND version = 1"
    change(path, put, "cancellation_requested", '"cancellation_requested"', run_id)
    refused(plan(path, run_id, operation=Operation.FORK), "cancellation was requested")


def test_a_chosen_step_must_be_a_child_that_failed(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    run_id = scenarios["restock-failed"]
    refused(plan(path, run_id, start="3"), "Step 3 is no child whose failure it awaited")
    found = plan(path, run_id, start="4")
    assert (found.operation, [part.ordinal for part in found.again]) == (Operation.FORK, [4])
    refused(plan(path, scenarios["blocked-on-delay"], start="3000"), "Step 3000 is no delay")


def test_the_active_deployment_must_take_it(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    run_id = scenarios["retries-exhausted"]
    put = """UPDATE t_component_metadata SET exports_json = replace(exports_json, ?, ?)"""
    with closing(sqlite3.connect(path)) as connection:
        ((function,),) = connection.execute("SELECT ffqn FROM t_state WHERE execution_id = ?", (run_id,))
    change(path, put, f'"ffqn":"{function}"', '"ffqn":"shop:other/activity.gone"')
    refused(plan(path, run_id), f"exports {function}", "Deploy one")
    change(path, put, '"ffqn":"shop:other/activity.gone"', f'"ffqn":"{function}"')
    change(path, put, '"parameter_types":[{', '"parameter_types":[{"name":"more","wit_type":"u8"},{')
    refused(plan(path, run_id), "parameters; the active deployment's takes", "Submit it anew")
    change(path, "UPDATE t_deployment SET status = 'inactive'")
    refused(plan(path, run_id), "No deployment is active", "Start the server")


def test_earlier_schemas_are_only_read(shop: Shop) -> None:
    path, scenarios = shop("old-0.38.3")
    for label in "retries-exhausted", "backoff", "ok-activity":
        refused(plan(path, scenarios[label]), "V3", "Obelisk 0.39.5 or later")


def test_a_later_schema_or_another_column_is_only_read(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    run_id = scenarios["retries-exhausted"]
    change(path, "INSERT INTO refinery_schema_history VALUES (18, 'new', '', '')")
    refused(plan(path, run_id), "schema V18", "later Durascope")
    change(path, "DELETE FROM refinery_schema_history WHERE version = 18")
    change(path, "ALTER TABLE t_state ADD COLUMN more TEXT NOT NULL DEFAULT ''")
    refused(plan(path, run_id), "columns of t_state", "more", "Nothing is written")


@pytest.mark.parametrize("number", [13, 14, 15, 16])
def test_a_schema_on_which_nothing_was_tried_is_said_so(number: int, shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    assert plan(path, scenarios["backoff"]).warnings == ()
    change(path, "DELETE FROM refinery_schema_history WHERE version > ?", number)
    (early,) = plan(path, scenarios["backoff"]).warnings
    assert "ever tried on this release" in early
    assert "`unlocked`" in early
    (other,) = plan(path, scenarios["retries-exhausted"]).warnings
    assert "ever tried on this release" in other
    assert f"V{number}" in other


def test_a_private_copy_is_not_retried(shop: Shop) -> None:
    path, scenarios = shop("shop-live")
    Path(f"{path}-shm").unlink()
    refused(plan(path, scenarios["retries-exhausted"]), "private copy", "Start the engine")


def test_a_damaged_execution_is_not_retried(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    change(path, "UPDATE t_state SET corresponding_version = 99 WHERE execution_id = ?", scenarios["backoff"])
    refused(plan(path, scenarios["backoff"]), "state says 99")
    change(path, "UPDATE t_state SET execution_id = 'E_odd' WHERE execution_id = ?", scenarios["backoff"])
    refused(plan(path, "E_odd"), "no id that this engine makes")
    change(
        path, "UPDATE t_execution_log SET variant = 'paused' WHERE execution_id = ? AND version = 0", scenarios["trap"]
    )
    refused(plan(path, scenarios["trap"]), "does not say how it was created")


def test_options_of_other_engines_are_refused(shop: Shop) -> None:
    path, scenarios = shop("shop-staging")
    refused(plan(path, scenarios["retries-exhausted"], pin="v2"), "pins no version")
    refused(plan(path, scenarios["restock-failed"], children="some"), "deep or whole")
    with pytest.raises(RunNotFound):
        plan(path, "E_01M81XWFPPZH5AFRNPNDB2JH3Z")
