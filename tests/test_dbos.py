"""A DBOS file as a whole: its schema, its counts, its own tables."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runs.engines.dbos import Dbos
from runs.engines.dbos.schema import Schema
from runs.filters import Filter
from runs.records import Status
from tests.conftest import DBOS
from tests.dbos_files import MINIS, ZOO, Unpacked, all_runs, at, column, read, sql


def test_the_files_own_tables_are_shown_in_the_engines_words(unpacked: Unpacked) -> None:
    sections = {section.key: section for section in read(unpacked(ZOO), lambda engine: engine.sections())}
    assert set(sections) == {"workflows", "queues", "schedules", "versions", "migrations"}
    assert {row[0]: row[1:3] for row in sections["queues"].rows} == {
        **{"q1": (4, 1), "q2": (0, 0), "qpart": (0, 0)},
        "unregistered-queue": (1, 0),
    }
    assert {row[0]: row[1] for row in sections["versions"].rows} == {"zoo-v1": 51, "zoo-v0": 1}
    assert ("fails_declined", "", 2, 2) in [row[:4] for row in sections["workflows"].rows]
    assert [row[0] for row in sections["schedules"].rows] == ["every-sec", "nightly"]
    assert sections["migrations"].rows == ((125,),)


REVISIONS = {
    **{
        "mini-1.13.0": "migration 1, dbos 1.x",
        "mini-2.0.0": "migration 1, dbos 2.0 or 2.1",
        "mini-2.5.0": "migration 6, dbos 2.5",
    },
    **{"mini-2.14.0": "migration 12, dbos 2.14", "mini-2.20.0": "migration 32, dbos 2.20"},
    **{"mini-2.25.0": "migration 36, dbos 2.25", "mini-2.30.0": "migration 107, dbos 2.30"},
    **{"mini-3.0.0": "migration 114, dbos 3.0", "mini-3.1.0": "migration 122, dbos 3.1"},
    **{"mini-3.4.0": "migration 125, dbos 3.4", "mini-3.4.0-py312": "migration 125, dbos 3.4"},
}


@pytest.mark.parametrize("name", MINIS)
def test_the_revision_names_the_release_whose_columns_are_there(name: str, unpacked: Unpacked) -> None:
    revision = read(unpacked(name), lambda engine: engine.revision())
    assert (revision.label, revision.problem) == (REVISIONS[name], "")
    assert revision.text == revision.label.split()[1].rstrip(",")


def test_a_newer_file_is_shown_as_far_as_it_is_known(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    sql(path, "INSERT INTO dbos_migrations VALUES (131)")
    sql(path, "ALTER TABLE workflow_status ADD COLUMN mood TEXT")
    sql(path, "ALTER TABLE workflow_status DROP COLUMN config_name")
    sql(path, "DROP TABLE notifications")

    def work(engine: Dbos) -> None:
        revision = engine.revision()
        assert revision.text == "131"
        assert "131 is newer than 125" in revision.problem
        assert "workflow_status.config_name" in revision.problem
        assert "table notifications" in revision.problem
        assert engine.overview().problems == (revision.problem,)
        assert len(all_runs(engine)) == 52
        assert len(engine.steps("wf-recv")) == 4
        assert engine.extras("wf-recv") == ()

    read(path, work)


def test_only_files_with_its_three_tables_and_their_keys_are_recognised() -> None:
    tables = {
        "dbos_migrations": {"version": "INTEGER"},
        "workflow_status": {"workflow_uuid": "TEXT", "status": "TEXT", "created_at": "INTEGER"},
        "operation_outputs": {"workflow_uuid": "TEXT", "function_id": "INTEGER"},
    }
    assert Dbos.recognises(tables)
    assert not Dbos.recognises({})
    for table in tables:
        assert not Dbos.recognises({name: columns for name, columns in tables.items() if name != table})
    assert not Dbos.recognises(tables | {"workflow_status": {"workflow_uuid": "TEXT"}})


def test_the_smallest_file_that_is_recognised_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "least.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "CREATE TABLE dbos_migrations (version); CREATE TABLE workflow_status (workflow_uuid, status, created_at);"
            "CREATE TABLE operation_outputs (workflow_uuid, function_id);"
            "INSERT INTO workflow_status VALUES ('a', 'PENDING', 5), ('b', 'ERROR', 'soon'), (NULL, X'00', NULL), ('c', 7, 1.5);"
            "INSERT INTO operation_outputs VALUES ('a', 1), ('b', 'x')"
        )

    def work(engine: Dbos) -> None:
        assert {run.id for run in all_runs(engine)} == {"a", "b", "", "c"}
        assert engine.revision().text == ""
        assert "names no version" in engine.revision().problem
        overview = engine.overview()
        assert overview.runs[Status.RUNNING] == 1
        for run_id in ("a", "b", "c"):
            assert engine.run(run_id).id == run_id
            engine.steps(run_id)
            engine.events(run_id, None, 10)
            engine.relatives(run_id)
            engine.neighbours(run_id)
            assert [section.key for section in engine.raw(run_id, None)] == ["workflow_status"]
        assert engine.usual({"step"}) == {}
        assert sum(number for number, _ in engine.histogram(Filter(), 3).parts) == 4
        assert [section.key for section in engine.sections()] == ["workflows"]
        assert engine.names().workflows == ()

    read(path, work)


def test_missing_columns_read_as_null_and_missing_tables_are_not_joined() -> None:
    schema = Schema({"workflow_status": {"workflow_uuid": "TEXT"}, "operation_outputs": {}})
    fitted = schema.fit(
        "SELECT s.workflow_uuid, s.name, i.inputs, 'DBOS.sleep' FROM {schema}workflow_status s\n"
        'LEFT JOIN {schema}workflow_input i ON i.workflow_uuid = s.workflow_uuid\nWHERE t."offset" = 1'
    )
    assert fitted == ("SELECT s.workflow_uuid, NULL, NULL, 'DBOS.sleep' FROM {schema}workflow_status s\nWHERE NULL = 1")


def test_a_file_nobody_wrote_for_long_is_counted_as_of_its_last_event(
    fresh: Unpacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fresh(ZOO)
    (newest,) = sql(
        path,
        "SELECT max(t) FROM (SELECT max(updated_at, created_at, ifnull(completed_at, 0)) AS t FROM workflow_status "
        "UNION ALL SELECT started_at_epoch_ms FROM operation_outputs "
        "UNION ALL SELECT completed_at_epoch_ms FROM operation_outputs WHERE function_name <> 'DBOS.sleep' "
        "UNION ALL SELECT created_at_epoch_ms FROM notifications)",
    )[0]
    monkeypatch.setenv("DURASCOPE_NOW", "2026-12-01T00:00:00Z")
    stale = read(path, lambda engine: engine.overview())
    assert stale.last_event_at == stale.window_end == at(newest)
    assert stale.failures == (0,) * 23 + (8,)
    monkeypatch.setenv("DURASCOPE_NOW", "2026-11-22T18:30:00Z")
    live = read(path, lambda engine: engine.overview())
    assert live.window_end == datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
    assert live.window_end - live.window_start == timedelta(hours=24)
    assert (sum(live.failures), live.failures[18]) == (8, 8)
    assert live.newest_error is not None
    assert live.newest_error.id == "wf-declined-fork"
    assert sum(live.runs.values()) == 52


@pytest.mark.parametrize("name", DBOS)
def test_the_last_event_of_a_file_is_its_newest_recorded_instant(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    times = {
        "workflow_status": ["created_at", "updated_at", "completed_at", "started_at_epoch_ms"],
        "operation_outputs": ["started_at_epoch_ms"],
        "notifications": ["created_at_epoch_ms"],
    }
    known = {
        table: set(column(path, f"SELECT name FROM pragma_table_info('{table}')")) & set(names)
        for table, names in times.items()
    }
    instants = [
        sql(path, f"SELECT max({name}) FROM {table}")[0][0] for table, names in known.items() for name in sorted(names)
    ]
    if "started_at_epoch_ms" in known["operation_outputs"]:
        instants += sql(
            path, "SELECT max(completed_at_epoch_ms) FROM operation_outputs WHERE function_name <> 'DBOS.sleep'"
        )[0]
    overview = read(path, lambda engine: engine.overview())
    assert overview.last_event_at == at(max(instant for instant in instants if instant is not None))


def test_names_are_counted_most_frequent_first(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    names = read(path, lambda engine: engine.names())
    for found, name in (
        (names.workflows, "name"),
        (names.versions, "application_version"),
        (names.queues, "queue_name"),
    ):
        assert list(found) == sql(
            path, f"SELECT {name}, count(*) FROM workflow_status WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
        )


def test_a_dbos_file_keeps_no_logs(unpacked: Unpacked) -> None:
    assert read(unpacked(ZOO), lambda engine: engine.logs("wf-happy", None, 10)).rows == ()
