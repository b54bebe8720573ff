"""One Obelisk run: attempts, steps, payloads, family; against the engine's own answers and plain SQL of our own."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runs.clock import parse_instant
from runs.engines.obelisk import Obelisk
from runs.errors import PayloadNotFound
from runs.payloads import decode, to_json
from runs.records import Payload, RunRef, Status, StepKind
from tests.conftest import OBELISK
from tests.executions import Ask, Sql, ask, every_run, payloads_of

STEP_TYPES = ("join_set_request", "persist", "schedule", "stub")


@pytest.mark.parametrize("name", OBELISK)
def test_the_labelled_runs_ended_as_the_engine_says(name: str, read: Ask, oracle: Callable[[str], Any]) -> None:
    details = {key: detail for key, detail in oracle(name)["details"].items() if detail.get("label")}
    assert len(details) > 30
    for run_id, detail in details.items():
        run = read(name, lambda engine, run_id=run_id: engine.run(run_id))
        finished = [event["event"]["finished"] for event in detail["events"] if "finished" in event["event"]]
        if not finished:
            assert run.finished_at is None
            assert run.payloads.output is None
            assert run.payloads.error is None
            continue
        (retval,) = (each["retval"] for each in finished)
        slot = run.payloads.output if "ok" in retval else run.payloads.error
        assert slot is not None
        body = read(name, lambda engine, run_id=run_id, slot=slot: engine.payload(run_id, slot.name))
        assert json.loads(body.data) == retval
        if "execution_failure" in retval:
            kind = retval["execution_failure"]["kind"]
            assert run.native_status == f"execution failure: {kind}"
            assert run.status is (Status.CANCELLED if kind == "cancelled" else Status.FAILED)
            assert run.error is None or run.error.type == "execution failure"
        elif "err" in retval:
            assert run.native_status == "finished: error"
            assert run.error is not None
            assert run.error.type == "error"
            value = (retval["err"] or {}).get("value")
            if isinstance(value, str):
                assert run.error.message == value
        else:
            assert (run.status, run.native_status, run.error) == (Status.SUCCEEDED, "finished: ok", None)


LEASES = "SELECT DISTINCT json_value ->> '$.locked.run_id' FROM t_execution_log WHERE execution_id = ? AND variant = 'locked'"


@pytest.mark.parametrize("name", OBELISK)
def test_an_activity_was_tried_once_for_each_lease(
    name: str, read: Ask, sql: Sql, oracle: Callable[[str], Any]
) -> None:
    leases = dict(
        sql(name, """SELECT s.execution_id, count(DISTINCT l.json_value ->> '$.locked.run_id') FROM t_state s
        LEFT JOIN t_execution_log l ON l.execution_id = s.execution_id AND l.variant = 'locked'
        WHERE s.component_type = 'activity' GROUP BY 1""")
    )  # fmt: skip
    found = {run.id: run.attempts for run in read(name, lambda engine: list(every_run(engine)))}
    assert {run_id: found[run_id] for run_id in leases} == leases
    assert max(leases.values()) > 2


@pytest.mark.parametrize("label", ["retries-exhausted", "backoff", "timed-out", "cancelled-backoff"])
def test_attempts_begin_with_their_lock_and_end_with_the_next_row(
    label: str, read: Ask, sql: Sql, oracle: Callable[[str], Any]
) -> None:
    root = oracle("shop")["scenarios"][label]
    ids = sql(
        "shop", "SELECT execution_id FROM t_state WHERE execution_id LIKE ? AND component_type = 'activity'", root + "%"
    )
    seen = 0
    for (run_id,) in ids:
        log = sql(
            "shop",
            "SELECT variant, created_at, json_value FROM t_execution_log WHERE execution_id = ? ORDER BY version",
            run_id,
        )
        expected = [
            (parse_instant(log[at][1]), parse_instant(log[at + 1][1]), log[at + 1][0])
            for at, row in enumerate(log)
            if row[0] == "locked"
        ]
        tries = read("shop", lambda engine, run_id=run_id: engine.run(run_id)).tries
        assert [(each.started_at, each.finished_at) for each in tries] == [each[:2] for each in expected]
        for attempt, (_, _, variant) in zip(tries, expected, strict=True):
            assert (attempt.until is not None) == variant.startswith("temporarily")
            assert attempt.native_id.startswith("Run_")
            seen += 1
    assert seen


def test_a_step_shows_the_attempts_of_its_child(read: Ask, sql: Sql, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["flaky-then-ok"]
    steps = read("shop", lambda engine: engine.steps(run_id))
    for step in steps:
        if step.kind is StepKind.ACTIVITY:
            assert step.attempt_count == len(step.attempts) == len(sql("shop", LEASES, step.child))
    charge = steps[0]
    assert charge.name == "shop:payments/activity.charge-card"
    assert [attempt.status for attempt in charge.attempts] == [Status.FAILED, Status.FAILED, Status.SUCCEEDED]
    assert charge.attempts[0].error is not None
    assert charge.attempts[0].error.message == "gateway_unavailable"
    child = read("shop", lambda engine: engine.run(charge.child))
    assert child.reason == "after 3 attempts"
    assert child.tries == charge.attempts


def test_extensions_of_a_lock_belong_to_one_attempt(read: Ask, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["flaky-then-ok"]
    events = (event["event"] for event in oracle("shop")["details"][run_id]["events"])
    leases = [event["locked"]["run_id"] for event in events if "locked" in event]
    run = read("shop", lambda engine: engine.run(run_id))
    assert (len(leases), len(set(leases))) == (4, 3)
    assert [attempt.native_id for attempt in run.tries] == list(dict.fromkeys(leases))
    assert run.attempts == 1


def test_a_held_lock_is_an_attempt_with_an_open_end(read: Ask, sql: Sql) -> None:
    locked = [row[0] for row in sql("shop-live", "SELECT execution_id FROM t_state WHERE state = 'locked'")]
    assert len(locked) == 5
    for run_id in locked:
        run = read("shop-live", lambda engine, run_id=run_id: engine.run(run_id))
        assert run.status is Status.RUNNING
        assert run.tries[-1].status is Status.RUNNING
        assert run.tries[-1].finished_at is None


def test_http_requests_stand_with_the_attempt_that_made_them(read: Ask, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["http-503-then-ok"]
    run = read("shop", lambda engine: engine.run(run_id))
    assert [[call.outcome for call in attempt.http] for attempt in run.tries] == [["503"], ["200"]]
    assert run.tries[0].http[0].uri == "http://127.0.0.1:5999/rates/XTS"
    refused = read("shop", lambda engine: engine.run(oracle("shop")["scenarios"]["http-refused"]))
    assert "Connection refused" in refused.tries[0].http[0].outcome


@pytest.mark.parametrize("name", OBELISK)
def test_steps_are_the_requests_values_schedules_and_stubs(name: str, read: Ask, sql: Sql) -> None:
    expected: dict[str, list[int]] = {}
    marks = ", ".join("?" * len(STEP_TYPES))
    for run_id, version in sql(name, f"""SELECT execution_id, version FROM t_execution_log
            WHERE history_event_type IN ({marks}) ORDER BY execution_id, version""", *STEP_TYPES):  # fmt: skip
        expected.setdefault(run_id, []).append(version)
    ids = [row[0] for row in sql(name, "SELECT execution_id FROM t_state WHERE component_type IN ('workflow', 'cron')")]
    found = read(name, lambda engine: {run_id: engine.steps(run_id) for run_id in ids})
    assert {run_id: [step.ordinal for step in steps] for run_id, steps in found.items() if steps} == expected
    listed = {run.id: run.steps for run in read(name, lambda engine: list(every_run(engine)))}
    assert {run_id: number for run_id, number in listed.items() if number} == {
        run_id: len(versions) for run_id, versions in expected.items()
    }
    for steps in found.values():
        for step in steps:
            assert step.status is not Status.UNKNOWN
            assert step.name


@pytest.mark.parametrize("name", OBELISK)
def test_a_childs_step_has_the_childs_times_and_outcome(name: str, read: Ask, sql: Sql) -> None:
    children = {
        row[0]: row[1:]
        for row in sql(name, """SELECT s.execution_id, s.component_type, s.created_at, s.state, s.pending_expires_finished,
            s.result_kind, s.ffqn FROM t_state s WHERE s.execution_id LIKE '%.%'""")
    }  # fmt: skip
    parents = {child.rsplit(".", 1)[0] for child in children}
    found = read(name, lambda engine: {run_id: engine.steps(run_id) for run_id in parents})
    seen = set()
    for step in (step for steps in found.values() for step in steps if step.child in children):
        component, created_at, state, due, result, ffqn = children[step.child]
        seen.add(step.child)
        assert step.kind is (StepKind.CHILD_RUN if component == "workflow" else StepKind.ACTIVITY)
        assert step.name == ffqn
        assert step.started_at == parse_instant(created_at)
        assert step.finished_at == (parse_instant(due) if state == "finished" else None)
        assert (step.status is Status.SUCCEEDED) == (result == '"ok"')
        assert (step.error is not None) == (
            result not in ('"ok"', None, '{"err":{"execution_failure":"cancelled"}}') or step.status is Status.RETRYING
        )
        assert step.branch in step.child
    assert seen == children.keys()


def test_a_pending_sleep_is_projected_and_a_past_one_has_its_recorded_end(
    read: Ask, sql: Sql, oracle: Callable[[str], Any]
) -> None:
    pending = sql("shop", "SELECT execution_id, expires_at, is_paused FROM t_delay")
    assert len(pending) == 3
    for run_id, expires_at, is_paused in pending:
        steps = read("shop", lambda engine, run_id=run_id: engine.steps(run_id))
        (sleep,) = (step for step in steps if step.projected)
        assert sleep.finished_at == parse_instant(expires_at)
        assert sleep.status is (Status.PAUSED if is_paused else Status.WAITING)
        run = read("shop", lambda engine, run_id=run_id: engine.run(run_id))
        if run.status is Status.WAITING and not is_paused:
            assert run.due_at == parse_instant(expires_at)
            assert "a sleep" in run.reason
    scenarios = oracle("shop")["scenarios"]
    cancelled = read("shop", lambda engine: engine.steps(scenarios["cancelled-delay"]))[-1]
    ended = sql(
        "shop", "SELECT created_at FROM t_join_set_response WHERE delay_id = ?", scenarios["delays"]["cancelled-delay"]
    )
    assert cancelled.status is Status.CANCELLED
    assert cancelled.finished_at == parse_instant(ended[0][0])
    assert not cancelled.projected


def test_values_refusals_schedules_and_answers_are_steps_in_words(read: Ask, oracle: Callable[[str], Any]) -> None:
    scenarios = oracle("shop")["scenarios"]

    def steps(label: str) -> tuple[Any, ...]:
        return read("shop", lambda engine: engine.steps(scenarios[label]))

    number, word, _ = steps("persist")
    assert (number.kind, number.name, number.detail) == (StepKind.VALUE, "random_u64", "2354")
    assert (word.name, word.detail) == ("random_string", "jn2nmg")
    missing, wrong = steps("function-not-found")
    assert missing.status is wrong.status is Status.FAILED
    assert missing.child is None
    assert missing.error.message == "function_not_found"
    assert wrong.error.message.startswith("type_check_error: params type checking failed")
    new_id, scheduled, *_ = steps("schedules-others")
    assert scheduled.kind is StepKind.CHILD_RUN
    assert scheduled.child == new_id.detail
    assert scheduled.name == "shop:notify/activity.send-email"
    assert "scheduled" in scheduled.detail
    answers = [step for step in steps("self-answered-stub") if step.kind is StepKind.MESSAGE]
    assert answers
    assert answers[0].detail.startswith(scenarios["self-answered-stub"])


@pytest.mark.parametrize("name", OBELISK)
def test_every_payload_that_is_named_can_be_read_and_decoded(
    name: str, read: Ask, oracle: Callable[[str], Any]
) -> None:
    def work(engine: Obelisk) -> list[tuple[Payload, Any]]:
        ids = [run_id for run_id, detail in oracle(name)["details"].items() if detail.get("label")]
        named = {payload for run_id in ids for payload in payloads_of(engine, run_id)}
        return [(payload, engine.payload(payload.run_id, payload.name)) for payload in named]

    found = read(name, work)
    assert len(found) > 200
    for payload, body in found:
        assert body.payload == payload
        assert len(body.data) == payload.size_bytes
        assert not body.truncated
        decoded = decode(payload.encoding, body.data)
        assert decoded.problem == "", payload


def test_a_payload_is_what_the_log_holds(read: Ask, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["flaky-then-ok"]
    events = oracle("shop")["details"][run_id]["events"]
    step = read("shop", lambda engine: engine.steps(run_id))[0]
    child = oracle("shop")["details"][step.child]["events"]
    for name, expected in (
        ("run.input", events[0]["event"]["created"]["params"]),
        ("run.output", events[-1]["event"]["finished"]["retval"]),
        (f"step.{step.ordinal}.input", events[step.ordinal]["event"]["history_event"]["event"]["request"]["params"]),
        (f"step.{step.ordinal}.output", child[-1]["event"]["finished"]["retval"]),
        ("event.4.data", events[4]["event"]),
    ):
        body = read("shop", lambda engine, name=name: engine.payload(run_id, name))
        assert body.data.decode() == json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
    output = read("shop", lambda engine: engine.payload(run_id, "run.output"))
    value: Any = to_json(decode("wit", output.data).tree)
    assert "WEB-FLAKY" in json.dumps(value)


@pytest.mark.parametrize(
    "name", ["run.error", "step.4.input", "step.3.error", "step.999.input", "event.999.data", "x", "", "source.2.a"]
)
def test_a_payload_that_is_not_there_is_refused_by_name(name: str, read: Ask, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["flaky-then-ok"]
    with pytest.raises(PayloadNotFound):
        read("shop", lambda engine: engine.payload(run_id, name))


def test_a_backtrace_leads_to_the_text_of_its_source(read: Ask, sql: Sql, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["trap"]
    (section,) = (each for each in read("shop", lambda engine: engine.extras(run_id)) if each.key == "backtraces")
    named = {row[2]: row[4] for row in section.rows if row[4] is not None}
    body = read("shop", lambda engine: engine.payload(run_id, named["shopwf/src/lib.rs"].name))
    stored = sql(
        "shop",
        "SELECT f.content FROM t_component_source c JOIN t_file f ON f.digest = c.digest WHERE c.frame_key = ?",
        "shopwf/src/lib.rs",
    )
    assert body.data == stored[0][0]
    assert ("2–4", "corrupt_order", "shopwf/src/lib.rs", 135) in {row[:4] for row in section.rows}


def test_reasons_say_what_a_run_waits_for(read: Ask, oracle: Callable[[str], Any]) -> None:
    scenarios = oracle("shop")["scenarios"]

    def reason(label: str) -> str:
        return read("shop", lambda engine: engine.run(scenarios[label])).reason

    assert reason("stub-blocked-2") == "waits for join set o:1-approve-refund: shop:backoffice/approvals.approve-refund"
    assert reason("paused-new") == "paused before it was taken up"
    assert reason("paused-blocked") == "paused; waits for join set o:2-sleep: a sleep"
    assert reason("upgrade-failed-stays").startswith("waits for an upgrade")
    assert reason("backoff") == "waits to be tried again"


def test_a_cancelling_run_keeps_the_state_below(read: Ask, oracle: Callable[[str], Any]) -> None:
    run = read("shop", lambda engine: engine.run(oracle("shop")["scenarios"]["cancelling"]))
    assert run.cancelling
    assert run.status is Status.WAITING
    assert run.native_status == "cancelling, blocked_by_join_set"


def test_facts_name_the_code_and_the_circumstances(read: Ask, oracle: Callable[[str], Any]) -> None:
    scenarios = oracle("shop")["scenarios"]

    def facts(label: str) -> dict[str, Any]:
        return {fact.label: fact.value for fact in read("shop", lambda engine: engine.run(scenarios[label])).facts}

    upgraded = facts("nondeterminism")
    assert upgraded["upgrade"] == "success, manual, forced, to 068d230ef209"
    assert upgraded["component"] == "shop-workflows"
    assert facts("upgrade-failed-stays")["waits for an upgrade from"] == "fb6af12d81fc"
    assert facts("backoff")["max retries"] == 5
    scheduled = read("shop", lambda engine: engine.run("E_01M81XSSTK06TW9VGZFTFTQGSY"))
    values = {fact.label: fact.value for fact in scheduled.facts}
    assert values["scheduled by"] == RunRef(scenarios["schedules-others"])
    assert values["scheduled for"] == parse_instant("2026-12-22T15:25:39.072222365Z")
    assert scheduled.status is Status.SCHEDULED
    assert scheduled.due_at == values["scheduled for"]


def test_a_run_begun_anew_names_its_origin(fresh: Callable[[str], Path], oracle: Callable[[str], Any]) -> None:
    path, origin = fresh("shop-early"), oracle("shop-early")["scenarios"]["trap"]
    new = "E_01M81XZZZZ0000000000000000"
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("t_execution_log", "t_state"):
            names = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
            values = names.replace("execution_id", ":new", 1)
            statement = f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} WHERE execution_id = :origin"
            connection.execute(statement, {"new": new, "origin": origin})
        connection.execute(
            """UPDATE t_execution_log SET json_value = json_set(json_value, '$.created.metadata.retry-of', ?)
               WHERE execution_id = ? AND version = 0""",
            (origin, new),
        )
    assert ask(path, lambda engine: engine.run(new)).forked_from == origin
    assert [run.id for run in ask(path, lambda engine: engine.relatives(origin)).forks] == [new]


@pytest.mark.parametrize("name", OBELISK)
def test_relatives_are_one_generation(name: str, read: Ask, sql: Sql) -> None:
    family: dict[str, set[str]] = {}
    for (child,) in sql(name, "SELECT execution_id FROM t_state WHERE NOT is_top_level"):
        family.setdefault(child.rsplit(".", 1)[0], set()).add(child)
    for child, by in sql(name, """SELECT execution_id, json_value ->> '$.created.scheduled_by' FROM t_execution_log
            WHERE version = 0 AND json_value ->> '$.created.scheduled_by' IS NOT NULL"""):  # fmt: skip
        family.setdefault(by, set()).add(child)
    assert len(family) > 30
    found = read(name, lambda engine: {run_id: engine.relatives(run_id) for run_id in family})
    assert {run_id: {run.id for run in each.children} for run_id, each in found.items()} == family
    for each in found.values():
        assert [run.created_at for run in each.children] == sorted(run.created_at for run in each.children)
