"""Lists, counts, events and logs of the Obelisk engine, against the engine's own answers and plain SQL of our own."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runs.clock import parse_instant
from runs.engines.obelisk import Obelisk
from runs.errors import RunNotFound
from runs.filters import Filter
from runs.records import RunRef, Status
from tests.conftest import OBELISK
from tests.executions import INFINITE, Ask, Sql, ask, every_run, ids

SHOPS = tuple(name for name in OBELISK if name != "old-0.38.3")


def expected_status(execution: dict[str, Any], now: str, temporary: set[str]) -> Status:
    """Our word for the engine's own JSON answer, written out once more from the table of statuses."""
    state = execution["pending_state"]
    below = state
    if state["status"] == "paused":
        return Status.PAUSED
    if state["status"] == "cancelling":
        ((name, inner),) = ((key, value) for key, value in state.items() if key != "status")
        below = {
            "status": {"BlockedByJoinSet": "blocked_by_join_set", "PendingAt": "pending_at", "Locked": "locked"}[name]
        } | (inner or {})
    if below["status"] == "finished":
        kind = below["result_kind"]
        if kind == "ok":
            return Status.SUCCEEDED
        return Status.CANCELLED if kind["err"] == {"execution_failure": "cancelled"} else Status.FAILED
    if below["status"] == "locked":
        return Status.RUNNING
    if below["status"] == "blocked_by_join_set":
        return Status.WAITING
    if execution["component_type"] == "activity_stub":
        return Status.WAITING
    if execution["execution_id"] in temporary:
        return Status.RETRYING
    due, moment = parse_instant(below["scheduled_at"]), parse_instant(now)
    assert due is not None
    assert moment is not None
    return Status.SCHEDULED if due > moment else Status.QUEUED


LAST_IS_TEMPORARY = """SELECT l.execution_id FROM t_execution_log l JOIN
    (SELECT execution_id, max(version) AS last FROM t_execution_log
     WHERE variant NOT IN ('paused', 'unpaused', 'cancellation_requested') GROUP BY 1) m
    ON m.execution_id = l.execution_id AND m.last = l.version WHERE l.variant LIKE 'temporarily%'"""


@pytest.mark.parametrize("name", OBELISK)
def test_every_execution_is_a_run_with_the_engines_own_facts(
    name: str, read: Ask, sql: Sql, oracle: Callable[[str], Any]
) -> None:
    temporary = {row[0] for row in sql(name, LAST_IS_TEMPORARY)}
    answer = oracle(name)
    found = {run.id: run for run in read(name, lambda engine: list(every_run(engine)))}
    assert found.keys() == {execution["execution_id"] for execution in answer["executions"]}
    for execution in answer["executions"]:
        run = found[execution["execution_id"]]
        assert run.workflow == execution["ffqn"]
        assert run.created_at == parse_instant(execution["created_at"])
        assert run.version == execution["component_digest"].removeprefix("sha256:")[:12]
        assert run.status is expected_status(execution, answer["read_at"], temporary), run.id
        assert run.finished_at == parse_instant(execution["pending_state"].get("finished_at"))
        assert run.cancelling == (execution["pending_state"]["status"] == "cancelling")
        assert run.parent == (run.id.rsplit(".", 1)[0] if "." in run.id else None)


@pytest.mark.parametrize("name", OBELISK)
@pytest.mark.parametrize(("root", "buckets"), [(None, "buckets_all"), (True, "buckets_top_level")])
def test_the_counts_add_up_to_the_engines_own_buckets(
    name: str, root: bool | None, buckets: str, read: Ask, oracle: Callable[[str], Any]
) -> None:
    theirs = Counter(oracle(name)[buckets])
    ours = Counter(
        {str(status): number for status, number in read(name, lambda e: e.counts(Filter(root=root))).items()}
    )
    unfinished = theirs["blocked"] + theirs["pending"] + theirs["scheduled"] + theirs["cancelling"]
    assert ours["succeeded"] == theirs["finished_ok"]
    assert ours["failed"] + ours["cancelled"] == theirs["finished_error"] + theirs["finished_execution_failure"]
    assert ours["paused"] == theirs["paused"]
    assert ours["running"] == theirs["locked"]
    assert ours["waiting"] + ours["queued"] + ours["scheduled"] + ours["retrying"] == unfinished
    assert ours["unknown"] == 0


@pytest.mark.parametrize("name", OBELISK)
def test_the_list_has_the_engines_own_order(name: str, read: Ask, oracle: Callable[[str], Any]) -> None:
    found = read(name, lambda engine: [run.id for run in every_run(engine, Filter(root=True))])
    assert found == oracle(name)["top_level_ids"]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_paging_walks_all_runs_once(size: int, read: Ask, sql: Sql) -> None:
    found = read("shop", lambda engine: [run.id for run in every_run(engine, size=size)])
    expected = sql("shop", "SELECT execution_id FROM t_state ORDER BY created_at DESC, execution_id DESC")
    assert found == [row[0] for row in expected]
    assert len(found) == 962


@pytest.mark.parametrize("name", OBELISK)
def test_events_equal_the_engines_answers_value_for_value(name: str, read: Ask, oracle: Callable[[str], Any]) -> None:
    details = oracle(name)["details"]

    def work(engine: Obelisk) -> dict[str, Any]:
        return {run_id: engine.events(run_id, None, INFINITE) for run_id in details}

    found = read(name, work)
    for run_id, detail in details.items():
        rows = found[run_id].rows
        assert found[run_id].next is None
        assert [row.position for row in rows] == [event["version"] for event in detail["events"]]
        for row, event in zip(rows, detail["events"], strict=True):
            assert row.at == parse_instant(event["created_at"])
            assert row.type
            if row.payload is None:
                assert json.dumps(row.data) == json.dumps(event["event"])
            else:
                body = read(name, lambda engine, run_id=run_id, row=row: engine.payload(run_id, row.payload.name))
                assert json.loads(body.data) == event["event"]


def test_events_continue_after_a_position(read: Ask, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["long-history"]
    first = read("shop", lambda engine: engine.events(run_id, None, 100))
    second = read("shop", lambda engine: engine.events(run_id, int(first.next.at), 100))
    assert [event.position for event in first.rows + second.rows] == list(range(200))


@pytest.mark.parametrize("name", OBELISK)
def test_responses_are_the_engines_own(name: str, read: Ask, oracle: Callable[[str], Any]) -> None:
    details = oracle(name)["details"]
    found = read(name, lambda engine: {run_id: engine.extras(run_id) for run_id in details})
    seen = 0
    for run_id, detail in details.items():
        rows = next((section.rows for section in found[run_id] if section.key == "responses"), ())
        assert len(rows) == len(detail["responses"])
        for (_, at, join_set, source, outcome), response in zip(rows, detail["responses"], strict=True):
            event = response["event"]
            inner = event["event"]["event"]
            assert at == parse_instant(event["created_at"])
            assert join_set == event["event"]["join_set_id"]
            if inner["type"] == "child_execution_finished":
                assert source == RunRef(inner["child_execution_id"])
                assert ("ok" in inner["result"]) == (outcome == "finished: ok")
            else:
                assert source == inner["delay_id"]
            seen += 1
    assert seen > 100


@pytest.mark.parametrize("name", OBELISK)
def test_logs_are_the_engines_own(name: str, read: Ask, oracle: Callable[[str], Any]) -> None:
    details = oracle(name)["details"]
    found = read(name, lambda engine: {run_id: engine.logs(run_id, None, INFINITE).rows for run_id in details})
    seen = 0
    for run_id, detail in details.items():
        # The engine's answer for a run holds that run's lines alone, as ours.
        expected = [line for line in detail["logs"] if line["execution_id"] == run_id]
        assert len(found[run_id]) == len(expected)
        for line, theirs in zip(found[run_id], expected, strict=True):
            assert line.at == parse_instant(theirs["created_at"])
            assert line.attempt == theirs["run_id"]
            if theirs["type"] == "stream":
                assert line.stream == theirs["stream_type"]
                assert line.level == ""
                assert line.text == base64.b64decode(theirs["payload"]).decode().removesuffix("\n")
            else:
                assert line.level == theirs["level"]
                assert line.text == theirs["message"].removesuffix("\n")
            seen += 1
    assert seen > 50


@pytest.mark.parametrize("method", ["run", "steps", "relatives", "extras"])
def test_an_unknown_run_is_refused(method: str, read: Ask) -> None:
    with pytest.raises(RunNotFound):
        read("shop", lambda engine: getattr(engine, method)("E_nobody"))


def test_an_unknown_run_has_no_events_logs_or_payloads(read: Ask) -> None:
    for work in (
        lambda engine: engine.events("E_nobody", None, 1),
        lambda engine: engine.logs("E_nobody", None, 1),
        lambda engine: engine.payload("E_nobody", "run.input"),
    ):
        with pytest.raises(RunNotFound):
            read("shop", work)


@pytest.mark.parametrize("status", Status)
def test_a_status_filter_finds_what_the_counts_promise(status: Status, read: Ask) -> None:
    promised = read("shop-live", lambda engine: engine.counts(Filter()))
    found = read("shop-live", lambda engine: list(every_run(engine, Filter(statuses=frozenset({status})))))
    assert len(found) == promised.get(status, 0)
    assert {run.status for run in found} <= {status}


def test_filters_agree_with_plain_sql(read: Ask, sql: Sql) -> None:
    moment = parse_instant("2026-11-22T15:25:42.5Z")
    later = parse_instant("2026-11-22T15:26:00Z")
    column = "2026-11-22 15:25:42.500000+00:00"
    until = "2026-11-22 15:26:00.000000+00:00"
    digest = sql("shop", "SELECT lower(hex(component_id_input_digest)) FROM t_state WHERE ffqn LIKE '%refund' LIMIT 1")[
        0
    ][0]
    deployment = sql("shop", "SELECT min(deployment_id) FROM t_deployment")[0][0]
    for where, condition, params in (
        (Filter(workflow="shop:payments/activity.refund"), "ffqn = ?", ["shop:payments/activity.refund"]),
        (Filter(root=True), "is_top_level = 1", []),
        (Filter(root=False), "is_top_level = 0", []),
        (Filter(since=moment), "created_at >= ?", [column]),
        (Filter(since=moment, until=later), "created_at >= ? AND created_at < ?", [column, until]),
        (Filter(version=digest[:12]), "lower(hex(component_id_input_digest)) = ?", [digest]),
        (Filter(version=f"sha256:{digest}"), "lower(hex(component_id_input_digest)) = ?", [digest]),
        (Filter(version=deployment), "deployment_id = ?", [deployment]),
        (Filter(q="E_01M81XSRVK7RVJWR9VE8DFV750"), "execution_id LIKE ?", ["E_01M81XSRVK7RVJWR9VE8DFV750%"]),
        (
            Filter(active_at=moment),
            """created_at <= ? AND (state <> 'finished' OR pending_expires_finished > ?) AND (component_type = 'activity_stub'
               OR (SELECT min(l.created_at) FROM t_execution_log l
                   WHERE l.execution_id = t_state.execution_id AND l.variant = 'locked') <= ?)""",
            [column, column, column],
        ),
    ):
        expected = {row[0] for row in sql("shop", f"SELECT execution_id FROM t_state WHERE {condition}", *params)}
        assert read("shop", lambda engine, where=where: ids(engine, where)) == expected, where
        assert expected


def test_obelisk_has_no_queues(read: Ask) -> None:
    assert read("shop", lambda engine: engine.runs(Filter(queue="q"), None, 10)).rows == ()
    assert read("shop", lambda engine: engine.counts(Filter(queue="q"))) == {}
    assert read("shop", lambda engine: engine.names()).queues == ()


def test_error_text_is_found_in_results_and_in_failed_attempts_only(read: Ask, oracle: Callable[[str], Any]) -> None:
    scenarios = oracle("shop")["scenarios"]
    assert scenarios["backoff"] in read("shop", lambda engine: ids(engine, Filter(q="API IS DOWN (503)")))
    assert scenarios["trap"] in read("shop", lambda engine: ids(engine, Filter(q="`unreachable` instruction")))
    found = read("shop", lambda engine: list(every_run(engine, Filter(q="permanent_card_BLOCKED"))))
    assert [run.error.message for run in found] == ["permanent_card_blocked: card reported stolen"]
    # Names of JSON keys, wildcards of LIKE and attempts that a later one made good are no error text.
    for words in ("http_client_traces", "permanent%blocked", "permanent-card-blocked", "gateway_unavailable"):
        assert read("shop", lambda engine, words=words: ids(engine, Filter(q=words))) == set()


def test_errors_are_the_same_in_the_list_and_in_the_run(read: Ask) -> None:
    broken = read(
        "shop", lambda engine: list(every_run(engine, Filter(statuses=frozenset({Status.FAILED, Status.RETRYING}))))
    )
    assert len(broken) == 114
    for run in broken:
        assert run.error is not None
        assert run.error == read("shop", lambda engine, run=run: engine.run(run.id)).error


@pytest.mark.parametrize("name", OBELISK)
def test_the_overview_knows_the_last_event_and_the_failures(
    name: str, read: Ask, sql: Sql, oracle: Callable[[str], Any]
) -> None:
    overview = read(name, lambda engine: engine.overview())
    last = max(
        row[0]
        for row in sql(name, "SELECT max(created_at) FROM t_execution_log UNION ALL SELECT max(created_at) FROM t_log")
    )
    assert overview.last_event_at == parse_instant(last)
    assert overview.window_end == parse_instant(oracle(name)["read_at"])
    assert overview.window_end - overview.window_start == timedelta(hours=24)
    assert sum(overview.failures) == overview.runs[Status.FAILED]
    assert overview.problems == ()
    newest = sql(name, """SELECT execution_id FROM t_state WHERE result_kind LIKE '{"err"%' AND result_kind NOT LIKE '%cancelled%'
        ORDER BY pending_expires_finished DESC LIMIT 1""")  # fmt: skip
    assert overview.newest_error.id == newest[0][0]


def test_a_file_that_is_years_old_is_seen_as_of_its_last_event(
    unpacked: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURASCOPE_NOW", "2031-01-01T00:00:00Z")
    overview = ask(unpacked("shop"), lambda engine: engine.overview())
    assert overview.window_end == overview.last_event_at
    assert sum(overview.failures) == overview.runs[Status.FAILED] == 112
    assert Status.SCHEDULED not in overview.runs


def test_names_count_functions_and_component_versions(read: Ask, sql: Sql) -> None:
    names = read("shop", lambda engine: engine.names())
    assert dict(names.workflows) == dict(sql("shop", "SELECT ffqn, count(*) FROM t_state GROUP BY 1"))
    assert dict(names.versions) == dict(
        sql("shop", "SELECT substr(lower(hex(component_id_input_digest)), 1, 12), count(*) FROM t_state GROUP BY 1")
    )


@pytest.mark.parametrize(("name", "text"), [*((name, "V17") for name in SHOPS), ("old-0.38.3", "V3")])
def test_the_revision_is_the_last_migration(name: str, text: str, read: Ask) -> None:
    revision = read(name, lambda engine: engine.revision())
    assert (revision.text, revision.problem) == (text, "")


@pytest.mark.parametrize("name", OBELISK)
def test_sections_show_what_stands_beside_the_runs(name: str, read: Ask, sql: Sql) -> None:
    sections = {section.key: section for section in read(name, lambda engine: engine.sections())}
    for section in sections.values():
        for row in section.rows:
            assert len(row) == len(section.columns)
    assert {row[0]: row[2] for row in sections["workflows"].rows} == dict(
        sql(name, "SELECT ffqn, count(*) FROM t_state GROUP BY 1")
    )
    assert {row[0]: row[1] for row in sections["deployments"].rows} == dict(
        sql(name, "SELECT deployment_id, status FROM t_deployment")
    )
    assert len(sections["components"].rows) == sql(name, "SELECT count(*) FROM t_deployment_component")[0][0]
    assert len(sections["migrations"].rows) == sql(name, "SELECT count(*) FROM refinery_schema_history")[0][0]
    upgrades = sql(name, "SELECT count(*) FROM t_execution_log WHERE variant = 'component_upgrade_finished'")[0][0]
    assert len(sections["upgrades"].rows if upgrades else ()) == upgrades
    assert ("upgrades" in sections) == bool(upgrades)
    crons = sql(name, "SELECT count(*) FROM t_state WHERE component_type = 'cron'")[0][0]
    assert ("crons" in sections) == bool(crons)
    if not crons:
        return
    (cron,) = sections["crons"].rows
    fired = sql(name, """SELECT max(l.created_at), count(*) FROM t_execution_log l JOIN t_state s USING (execution_id)
        WHERE s.component_type = 'cron' AND l.history_event_type = 'schedule'""")[0]  # fmt: skip
    assert (cron[3], cron[4]) == (parse_instant(fired[0]), fired[1])


def test_long_ids_are_found_by_their_bytes(read: Ask, sql: Sql) -> None:
    expected = {
        row[0] for row in sql("shop", "SELECT execution_id FROM t_state WHERE length(CAST(execution_id AS BLOB)) > 60")
    }
    assert expected
    assert set(read("shop", lambda engine: engine.long_ids(60))) == expected
