"""Runs of DBOS files, against SQL of their own on a copy of the same file."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta

import pytest

from runs.clock import to_epoch_ms
from runs.engines.dbos import Dbos
from runs.errors import RunNotFound
from runs.filters import Filter
from runs.records import RunRef, Status
from tests.conftest import DBOS
from tests.dbos_files import OURS, ZOO, Unpacked, all_runs, at, column, ids, read, sql


@pytest.mark.parametrize("name", DBOS)
def test_every_run_is_listed_once_with_its_own_status(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    runs = read(path, all_runs)
    rows = sql(path, "SELECT workflow_uuid, status, name, created_at FROM workflow_status")
    assert sorted((run.id, run.native_status, run.workflow, to_epoch_ms(run.created_at)) for run in runs) == sorted(
        rows
    )
    assert all(run.status.value == OURS[run.native_status] for run in runs)


@pytest.mark.parametrize("name", DBOS)
def test_runs_are_newest_first_and_ties_are_broken_by_id(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    expected = column(path, "SELECT workflow_uuid FROM workflow_status ORDER BY created_at DESC, workflow_uuid DESC")
    assert [run.id for run in read(path, all_runs)] == expected


def test_the_zoo_has_its_52_runs_and_91_steps(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    runs = read(path, all_runs)
    counts = Counter(run.native_status for run in runs)
    assert counts == {"SUCCESS": 34, "ERROR": 8, "ENQUEUED": 5, "CANCELLED": 2, "PENDING": 2, "DELAYED": 1}
    assert sum(len(read(path, lambda engine, run=run: engine.steps(run.id))) for run in runs) == 91
    assert sum(run.steps or 0 for run in runs) == 91


@pytest.mark.parametrize("name", DBOS)
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_paging_walks_all_runs_exactly_once_through_ties(name: str, limit: int, unpacked: Unpacked) -> None:
    def walk(engine: Dbos) -> tuple[list[str], list[str]]:
        found: list[str] = []
        page = engine.runs(Filter(), None, limit)
        while True:
            assert len(page.rows) <= limit
            found.extend(run.id for run in page.rows)
            if page.next is None:
                return found, [run.id for run in all_runs(engine)]
            page = engine.runs(Filter(), page.next, limit)

    paged, whole = read(unpacked(name), walk)
    assert paged == whole


@pytest.mark.parametrize("name", DBOS)
def test_finished_runs_end_at_completed_at_or_where_that_is_missing_at_their_last_change(
    name: str, fresh: Unpacked
) -> None:
    path = fresh(name)
    columns = column(path, "SELECT name FROM pragma_table_info('workflow_status')")
    end = "completed_at" if "completed_at" in columns else "updated_at"
    rows = dict(sql(path, f"SELECT workflow_uuid, {end} FROM workflow_status"))
    for run in read(path, all_runs):
        assert run.finished_at == (at(rows[run.id]) if run.status.finished else None)
        assert (run.duration is not None) == run.status.finished


def test_a_change_after_the_end_does_not_move_the_end(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    (ended,) = column(path, "SELECT completed_at FROM workflow_status WHERE workflow_uuid = 'wf-happy'")
    sql(path, "UPDATE workflow_status SET updated_at = updated_at + 60000 WHERE workflow_uuid = 'wf-happy'")
    run = read(path, lambda engine: engine.run("wf-happy"))
    assert run.finished_at == at(ended)
    assert run.last_event_at == at(ended + 60000)
    # A row that is older than the column in a file that was upgraded.
    sql(path, "UPDATE workflow_status SET completed_at = NULL WHERE workflow_uuid = 'wf-happy'")
    assert read(path, lambda engine: engine.run("wf-happy")).finished_at == at(ended + 60000)


def test_a_duration_reaches_from_the_first_to_the_last_recorded_instant(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    (last,) = column(path, "SELECT max(completed_at_epoch_ms) FROM operation_outputs WHERE workflow_uuid = 'wf-happy'")
    (made, ended) = sql(path, "SELECT created_at, completed_at FROM workflow_status WHERE workflow_uuid = 'wf-happy'")[
        0
    ]
    assert ended < last  # completed_at is cut to the second
    run = read(path, lambda engine: engine.run("wf-happy"))
    assert run.duration == timedelta(milliseconds=last - made)
    assert run.finished_at == at(ended)
    assert run.last_event_at == at(last)


def test_a_run_that_was_given_up_is_failed_and_says_why(unpacked: Unpacked) -> None:
    run = read(unpacked("zoo-dead-letter-3.4.0"), lambda engine: engine.run("wf-crashy"))
    assert (run.status, run.native_status, run.attempts) == (Status.FAILED, "MAX_RECOVERY_ATTEMPTS_EXCEEDED", 3)
    assert "taken up 3 times" in run.reason


def test_unfinished_runs_say_what_they_wait_for(unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        assert engine.run("wf-enq-2").reason == "queue q1, 3 before it"  # otherver, enq-0 and enq-1
        assert "waits for version zoo-v0; newest is zoo-v1" in engine.run("wf-otherver").reason
        assert engine.run("wf-noqueue").reason.startswith("queue unregistered-queue, which is not registered")
        assert engine.run("wf-blocker").reason == "no step recorded yet, taken from queue q1"
        assert engine.run("wf-timeout").reason == "its deadline had passed"
        assert engine.run("wf-cancel").reason == ""
        delayed = engine.run("wf-delayed")
        assert (delayed.status, delayed.due_at) == (Status.SCHEDULED, at(1795439261532))

    read(unpacked(ZOO), work)


def test_an_unmapped_status_is_unknown_with_its_own_word(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    sql(path, "UPDATE workflow_status SET status = 'HIBERNATING' WHERE workflow_uuid = 'wf-happy'")
    sql(path, "UPDATE workflow_status SET status = 'RETRIES_EXCEEDED' WHERE workflow_uuid = 'wf-sleep'")
    sql(path, "UPDATE workflow_status SET status = NULL WHERE workflow_uuid = 'wf-shop'")

    def work(engine: Dbos) -> None:
        run = engine.run("wf-happy")
        assert (run.status, run.native_status, run.finished_at) == (Status.UNKNOWN, "HIBERNATING", None)
        assert engine.run("wf-sleep").status is Status.FAILED
        assert ids(engine, Filter(statuses=frozenset({Status.UNKNOWN}))) == {"wf-happy", "wf-shop"}
        assert "wf-sleep" in ids(engine, Filter(statuses=frozenset({Status.FAILED})))
        assert engine.overview().runs[Status.UNKNOWN] == 2

    read(path, work)


HOSTILE = [
    "a/b%2F..?#&",
    "line\nbreak",
    "日本\u202e",
    "' OR 1=1 --",
    "x" * 3000,
    "{schema}",
    ":run",
    "a.b~c",
    " ",
    "\x00nul",
]


@pytest.mark.parametrize("run_id", HOSTILE)
def test_ids_are_opaque_text(run_id: str, fresh: Unpacked) -> None:
    path = fresh("mini-3.4.0")
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs"):
            connection.execute(f"UPDATE {table} SET workflow_uuid = ? WHERE workflow_uuid = 'fails'", (run_id,))

    def work(engine: Dbos) -> None:
        assert engine.run(run_id).status is Status.FAILED
        assert len(engine.steps(run_id)) == 2
        assert engine.payload(run_id, "step.2.error").data
        assert run_id in ids(engine, Filter(q=run_id[:500]))
        assert engine.long_ids(1000) == ([run_id] if len(run_id) > 1000 else [])
        assert engine.events(run_id, None, 100).rows

    read(path, work)


@pytest.mark.parametrize("run_id", ["", "nobody", "\ud800", "WF-HAPPY", "wf-happy\x00", "wf-happ%"])
def test_an_unknown_run_is_not_found_wherever_it_is_asked_for(run_id: str, unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        for ask in (
            *(engine.run, engine.steps, engine.relatives, engine.extras),
            lambda name: engine.payload(name, "run.input"),
            lambda name: engine.events(name, None, 1),
            lambda name: engine.logs(name, None, 1),
        ):
            with pytest.raises(RunNotFound):
                ask(run_id)

    read(unpacked(ZOO), work)


def test_a_runs_facts_are_in_the_engines_words(unpacked: Unpacked) -> None:
    def facts(run_id: str) -> dict[str, object]:
        run = read(unpacked(ZOO), lambda engine: engine.run(run_id))
        return {fact.label: fact.value for fact in run.facts}

    assert facts("wf-attrs")["attributes"] == '{"tenant": "acme", "n": 1}'
    assert "attributes" not in facts("wf-happy")
    assert facts("wf-happy")["was forked"] == "yes"
    assert facts("wf-happy-fork")["forked from"] == RunRef("wf-happy")
    assert facts("wf-part-eu")["partition"] == "eu"
    assert facts("wf-q2-2")["priority"] == 3
    assert facts("wf-shop")["config name"] == "berlin"
    assert facts("wf-timeout")["timeout"] == timedelta(milliseconds=500)
    assert facts("wf-timeout")["deadline"] == at(1795352852699)
