"""Retries of DBOS runs with thousands of steps: rows that are copied alike are one statement, checked row by row like any other."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.test import Client

from runs import appending, clock
from runs.catalogue import served
from runs.errors import AppendRefused
from runs.retry import Copies, Copy, Options, count
from runs.sources import writing as writer
from runs.sources.files import look
from runs.statements import readable, taking_back
from tests.dbos_files import ZOO, column, sql
from tests.notes import make
from tests.retrying import clean, engine_forks, everything, forget_forks, plan, retry, retry_here, same_but_clocks

Fresh = Callable[[str], Path]
RUN, STEPS = "wf-events", 12_000
TABLES = ("operation_outputs", "workflow_events_history", "workflow_events", "streams")


@pytest.fixture
def large(fresh: Fresh) -> Path:
    """A run that failed in its body after 12,000 steps; each tenth published one of three values, and wrote to a stream."""
    path = fresh(ZOO)
    forget_forks(path)
    for table in TABLES:
        sql(path, f"DELETE FROM {table} WHERE workflow_uuid = ?", RUN)
    sql(path, "UPDATE workflow_status SET status = 'ERROR' WHERE workflow_uuid = ?", RUN)
    published = range(10, STEPS + 1, 10)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output) VALUES (?, ?, 'reserve', ?)",
            [(RUN, number, f'"{number}"') for number in range(1, STEPS + 1)],
        )
        values = [(RUN, number, f"progress-{number % 3}", f'"{number}"') for number in published]
        connection.executemany(
            "INSERT INTO workflow_events_history (workflow_uuid, function_id, key, value) VALUES (?, ?, ?, ?)", values
        )
        connection.executemany(
            "INSERT INTO workflow_events (workflow_uuid, key, value) VALUES (?, ?, ?)",
            {key: (run, key, value) for run, _, key, value in values}.values(),
        )
        connection.executemany(
            'INSERT INTO streams (workflow_uuid, key, value, "offset", function_id) VALUES (?, ?, ?, ?, ?)',
            [(RUN, "log", f'"{number}"', offset, number) for offset, number in enumerate(published)],
        )
    return path


@pytest.mark.parametrize("start", [str(STEPS + 1), "7001"])
def test_thousands_of_rows_are_those_of_the_engines_own_fork(large: Path, tmp_path: Path, start: str) -> None:
    theirs = tmp_path / "theirs.sqlite"
    theirs.write_bytes(large.read_bytes())
    found = plan(large, RUN, start=start)
    assert len(found.changes) < 10
    assert count(found.changes) == 2 + (int(start) - 1) + 2 * ((int(start) - 1) // 10) + 3
    done = retry(large, RUN, start=start)
    engine_forks(theirs, RUN, int(start), done.new_run)
    assert same_but_clocks(large) == same_but_clocks(theirs)
    assert clean(large)


def test_only_what_failed_of_thousands_goes_again(large: Path) -> None:
    sql(
        large,
        "UPDATE operation_outputs SET started_at_epoch_ms = 1, completed_at_epoch_ms = 2 WHERE workflow_uuid = ?",
        RUN,
    )
    failed = (1, 500, 501, 503)
    sql(
        large,
        f"UPDATE operation_outputs SET error = 'E', output = NULL WHERE workflow_uuid = ? AND function_id IN {failed}",
        RUN,
    )
    sql(large, "DELETE FROM streams WHERE workflow_uuid = ?", RUN)
    done = retry(large, RUN, start="failed-only")
    kept = column(large, "SELECT function_id FROM operation_outputs WHERE workflow_uuid = ? ORDER BY 1", done.new_run)
    assert kept == [number for number in range(1, STEPS + 1) if number not in failed]


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE operation_outputs SET output = 'x' WHERE workflow_uuid = '{new}' AND function_id = 7000",
        "UPDATE operation_outputs SET output = CAST(output AS BLOB) WHERE workflow_uuid = '{new}' AND function_id = 1",
        "UPDATE operation_outputs SET retention_timestamp = 1 WHERE workflow_uuid = '{new}' AND function_id = 12000",
        "UPDATE operation_outputs SET function_id = 12001 WHERE workflow_uuid = '{new}' AND function_id = 12000",
        "DELETE FROM operation_outputs WHERE workflow_uuid = '{new}' AND function_id = 6",
        "UPDATE streams SET value = 'x' WHERE workflow_uuid = '{new}' AND \"offset\" = 3",
        "DELETE FROM workflow_events_history WHERE workflow_uuid = '{new}' AND function_id = 10",
    ],
)
def test_one_row_of_thousands_that_is_not_as_planned_refuses_them_all(large: Path, spoil: str) -> None:
    before = everything(large)
    with pytest.raises(AppendRefused):
        retry_here(large, RUN, spoil.replace("{new}", f"{RUN}.retry-1"))
    assert everything(large) == before


def test_what_is_recorded_of_thousands_is_little_and_takes_them_all_back(large: Path) -> None:
    before = everything(large)
    found = plan(large, RUN, start="7001")
    confirmed = appending.confirmation(found, look(large).identity)
    done = appending.append(large, RUN, Options(start="7001"), confirmed, clock.now())
    assert done.count == count(found.changes)
    assert len(done.rows) == len(found.changes) < 10
    with closing(sqlite3.connect(large, isolation_level=None)) as connection:
        connection.executescript(taking_back(done.rows))
    assert everything(large) == before


def test_the_sql_to_copy_does_the_same(large: Path, tmp_path: Path) -> None:
    by_hand = tmp_path / "by_hand.sqlite"
    by_hand.write_bytes(large.read_bytes())
    found = plan(large, RUN)
    with closing(sqlite3.connect(by_hand, isolation_level=None)) as connection:
        connection.executescript(readable(found))
    retry(large, RUN)
    assert same_but_clocks(by_hand) == same_but_clocks(large)


def test_a_statement_that_adds_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite")
    statement = "INSERT INTO line SELECT 'n2', number, text FROM line WHERE note = 'n1'"
    for planned in (39, 41):
        with writer.writing(path, look(path).identity) as transaction, pytest.raises(AppendRefused, match="40 rows"):
            transaction.fill(statement, {}, "line", planned)
    assert sql(path, "SELECT count(*) FROM line WHERE note = 'n2'") == [(0,)]


def test_a_kept_step_that_names_a_replaced_child_is_a_row_of_its_own(fresh: Fresh) -> None:
    changes = [change for change in plan(fresh(ZOO), "wf-parent-fail").changes if change.table == "operation_outputs"]
    (named,) = [change for change in changes if "child_workflow_id" in getattr(change, "changed", {})]
    assert isinstance(named, Copy)
    assert not any(isinstance(change, Copies) and (named.key["function_id"],) in change.each for change in changes)


@pytest.fixture
def client(large: Path, monkeypatch: pytest.MonkeyPatch, state: Path) -> Iterator[Client]:
    monkeypatch.setenv("DURASCOPE_PATHS", f"it={large}")
    monkeypatch.setenv("DURASCOPE_RETRY", "it")
    served.cache_clear()
    yield Client(headers={"host": "127.0.0.1"})
    served.cache_clear()


def test_the_page_names_the_first_rows_and_how_many_there_are(client: Client) -> None:
    text = client.get(f"/db/it/runs/{RUN}/retry/").content.decode()
    assert "12,000 new rows like these" in text
    assert "<dd>1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 11,988 more</dd>" in text
    assert "<dd>10 progress-1, 20 progress-2," in text
    assert "Append 14,405 rows to it" in text
    assert "BETWEEN 1 AND 12000" in text
    assert len(text) < 100_000


def test_the_interface_names_every_row(client: Client) -> None:
    plan = client.get(f"/api/v1/databases/it/runs/{RUN}/retry/").json()
    (steps,) = plan["rows"]["operation_outputs"]
    assert steps["key"] == {"workflow_uuid": RUN}
    assert steps["each"] == [{"function_id": number} for number in range(1, STEPS + 1)]
