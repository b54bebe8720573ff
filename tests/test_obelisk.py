"""The Obelisk engine's reading, against the engine's own answers (the oracles) and against plain SQL of our own."""

import base64
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from runs.clock import parse_instant
from runs.engines.obelisk import Obelisk
from runs.errors import PayloadNotFound, RunNotFound
from runs.filters import Filter
from runs.payloads import decode, to_json
from runs.records import Cursor, Payload, Run, RunRef, Status, StepKind
from runs.sources.sqlite import SqliteSource
from tests.conftest import OBELISK

T = TypeVar("T")
Read = Callable[[str, Callable[[Obelisk], T]], T]

SHOPS = tuple(name for name in OBELISK if name != "old-0.38.3")
STEP_TYPES = ("join_set_request", "persist", "schedule", "stub")
INFINITE = 100_000


def ask(path: Path, work: Callable[[Obelisk], T]) -> T:
    return SqliteSource(path, "db").read(lambda reader: work(Obelisk(reader)))


@pytest.fixture
def read(unpacked: Callable[[str], Path], oracle: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Read[Any]:
    """``read("shop", work)``: what ``work`` says of that file as of the moment when its oracle was asked."""

    def get(name: str, work: Callable[[Obelisk], Any]) -> Any:
        monkeypatch.setenv("DURASCOPE_NOW", oracle(name)["read_at"])
        return ask(unpacked(name), work)

    return get


@pytest.fixture
def sql(fresh: Callable[[str], Path]) -> Callable[..., list[Any]]:
    """``sql("shop", "SELECT …", …)``: plain SQL on a copy, by Python's own SQLite."""

    def get(name: str, statement: str, *params: object) -> list[Any]:
        with closing(sqlite3.connect(fresh(name))) as connection:
            return connection.execute(statement, params).fetchall()

    return get


def every_run(engine: Obelisk, where: Filter | None = None, size: int = 100) -> Iterator[Run]:
    after: Cursor | None = None
    while True:
        page = engine.runs(where or Filter(), after, size)
        yield from page.rows
        after = page.next
        if after is None:
            return


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
    name: str, read: Read[Any], sql: Callable[..., list[Any]], oracle: Callable[[str], Any]
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
    name: str, root: bool | None, buckets: str, read: Read[Any], oracle: Callable[[str], Any]
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
def test_the_list_has_the_engines_own_order(name: str, read: Read[Any], oracle: Callable[[str], Any]) -> None:
    found = read(name, lambda engine: [run.id for run in every_run(engine, Filter(root=True))])
    assert found == oracle(name)["top_level_ids"]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_paging_walks_all_runs_once(size: int, read: Read[Any], sql: Callable[..., list[Any]]) -> None:
    found = read("shop", lambda engine: [run.id for run in every_run(engine, size=size)])
    expected = sql("shop", "SELECT execution_id FROM t_state ORDER BY created_at DESC, execution_id DESC")
    assert found == [row[0] for row in expected]
    assert len(found) == 962


@pytest.mark.parametrize("name", OBELISK)
def test_events_equal_the_engines_answers_value_for_value(
    name: str, read: Read[Any], oracle: Callable[[str], Any]
) -> None:
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


def test_events_continue_after_a_position(read: Read[Any], oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["long-history"]
    first = read("shop", lambda engine: engine.events(run_id, None, 100))
    second = read("shop", lambda engine: engine.events(run_id, int(first.next.at), 100))
    assert [event.position for event in first.rows + second.rows] == list(range(200))


@pytest.mark.parametrize("name", OBELISK)
def test_responses_are_the_engines_own(name: str, read: Read[Any], oracle: Callable[[str], Any]) -> None:
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
def test_logs_are_the_engines_own(name: str, read: Read[Any], oracle: Callable[[str], Any]) -> None:
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
