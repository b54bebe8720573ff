"""Forks of Obelisk workflows with hundreds of children: rows that are copied alike are one statement, checked row by row like any
other."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runs import appending, clock, holding, planning, retrying
from runs.catalogue import Database
from runs.engines.obelisk import fork
from runs.errors import AppendRefused, ReplayDiverged
from runs.retry import Copies, Copy, Operation, Options, count
from runs.sources.files import look
from runs.sources.sqlite import SqliteSource
from runs.state.models import Progress, Retry
from runs.statements import readable, taking_back
from tests.benchmarks.obelisk_databases import MODEL, long_run
from tests.obelisk_rules import complaints, family, fork_complaints
from tests.replaying import diverges, replayer
from tests.retrying import clean, everything, plan, retry, retry_here

CHILDREN = 400
FAILURE = {"finished": {"retval": {"err": {"type": "string", "value": "out of stock"}}, "http_client_traces": None}}

Large = tuple[Path, str]


@pytest.fixture
def large(
    fresh: Callable[[str], Path], oracle: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Large:
    """A run that failed in the last one of hundreds of children that it awaited; and its id."""
    monkeypatch.setenv("DURASCOPE_NOW", oracle("shop-staging")["read_at"])
    path, run_id = long_run(fresh("shop-staging"), tmp_path / "large.sqlite", CHILDREN)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE t_state SET component_id_input_digest = (SELECT component_digest FROM t_deployment"
            " JOIN t_deployment_component USING (deployment_id) JOIN t_component_metadata USING (component_digest)"
            " WHERE status = 'active' AND instr(exports_json, ?) LIMIT 1) WHERE execution_id = ?",
            (MODEL.rpartition(".")[2], run_id),
        )
        fail(connection, run_id)
        fail(connection, answered(connection, run_id)[-1])
    return path, run_id


def answered(connection: sqlite3.Connection, run_id: str) -> list[str]:
    """The children of a run, in the order in which they ended."""
    asked = "SELECT child_execution_id FROM t_join_set_response WHERE execution_id = ? ORDER BY seq"
    return [child for (child,) in connection.execute(asked, (run_id,))]


def fail(connection: sqlite3.Connection, run_id: str) -> None:
    connection.execute(
        "UPDATE t_execution_log SET json_value = ? WHERE execution_id = ? AND variant = 'finished'",
        (json.dumps(FAILURE), run_id),
    )
    connection.execute('UPDATE t_state SET result_kind = \'{"err":"error"}\' WHERE execution_id = ?', (run_id,))


def append(path: Path, run_id: str) -> appending.Appended:
    confirmed = appending.confirmation(plan(path, run_id), look(path).identity)
    return appending.append(path, run_id, Options(), confirmed, clock.now())


def test_thousands_of_rows_in_a_few_statements_are_as_the_engine_wants_them(large: Large) -> None:
    path, run_id = large
    found = plan(path, run_id)
    assert found.operation is Operation.FORK
    assert count(found.changes) > 6 * CHILDREN
    assert len(found.changes) < 12
    done = retry(path, run_id)
    with closing(sqlite3.connect(path)) as connection:
        assert list(complaints(connection, family(connection, done.new_run))) == []
        assert list(fork_complaints(connection, run_id, done.new_run, done.at)) == []
        assert answered(connection, done.new_run) == [
            child.replace(run_id, done.new_run) for child in answered(connection, run_id)[:-1]
        ]
    assert clean(path)


def test_what_runs_again_in_their_midst_is_left_out_of_what_is_copied(large: Large) -> None:
    path, run_id = large
    with closing(sqlite3.connect(path)) as connection, connection:
        children = answered(connection, run_id)
        again = children[-300], children[-200], children[-1]
        for child in again[:2]:
            fail(connection, child)
    found = plan(path, run_id)
    copied = [change for change in found.changes if isinstance(change, Copies) and change.table == "t_state"]
    assert len(copied) > 1
    assert {child for change in copied for (child,) in change.each} == set(children) - set(again)
    # It goes on where it was told of the first of these: what came after that moves up.
    moved = [change for change in found.changes if isinstance(change, Copy) and change.table == "t_join_set_response"]
    assert len(moved) == 299 - 2
    done = retry(path, run_id)
    with closing(sqlite3.connect(path)) as connection:
        assert list(complaints(connection, family(connection, done.new_run))) == []
        assert list(fork_complaints(connection, run_id, done.new_run, done.at)) == []


@pytest.mark.parametrize(
    "spoil",
    [
        "DELETE FROM t_execution_log WHERE execution_id = '{new}.n:restock_150' AND version = 1",
        "DELETE FROM t_execution_log WHERE execution_id = '{new}' AND version = 300",
        "DELETE FROM t_state WHERE execution_id = '{new}.n:restock_150'",
        "DELETE FROM t_join_set_response WHERE child_execution_id = '{new}.n:restock_150'",
        "UPDATE t_execution_log SET json_value = replace(json_value, '{new}', '{old}')"
        " WHERE execution_id = '{new}' AND version = 300",
        "UPDATE t_state SET result_kind = NULL WHERE execution_id = '{new}.n:restock_150'",
    ],
)
def test_one_row_of_thousands_that_is_not_as_planned_refuses_them_all(large: Large, spoil: str) -> None:
    path, run_id = large
    before = everything(path)
    new = plan(path, run_id).new_run
    with pytest.raises(AppendRefused):
        retry_here(path, run_id, spoil.replace("{new}", new).replace("{old}", run_id))
    assert everything(path) == before


def test_what_is_recorded_of_thousands_is_little_and_takes_them_all_back(large: Large) -> None:
    path, run_id = large
    before = without_numbers(path)
    found = plan(path, run_id)
    done = append(path, run_id)
    assert done.count == count(found.changes)
    assert len(done.rows) == len(found.changes)
    assert len(json.dumps(done.rows)) < 10_000
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(taking_back(done.rows))
    assert without_numbers(path) == before


def without_numbers(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Everything but SQLite's own count of keys."""
    found = everything(path)
    del found["sqlite_sequence"]
    return found


def test_what_was_taken_up_is_not_taken_back(large: Large) -> None:
    path, run_id = large
    done = append(path, run_id)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE t_state SET pending_expires_finished = '2026-11-22 16:00:00+00:00' WHERE execution_id = ?",
            (done.new_run,),
        )
        before = without_numbers(path)
        connection.executescript(taking_back(done.rows))
    assert without_numbers(path) == before


def test_the_sql_to_copy_does_the_same(large: Large, tmp_path: Path) -> None:
    path, run_id = large
    by_hand = tmp_path / "by_hand.sqlite"
    by_hand.write_bytes(path.read_bytes())
    found = plan(path, run_id)
    with closing(sqlite3.connect(by_hand, isolation_level=None)) as connection:
        connection.executescript(readable(found))
    retry(path, run_id)
    theirs, ours = everything(by_hand), everything(path)
    for table in "t_execution_log", "t_state", "t_join_set_response":
        different = [row for row in theirs[table] if row not in ours[table]]
        # But for the clock: the new run and what runs again were made at another moment.
        assert {row["execution_id"].count(".") for row in different} <= {0, 1}
        assert len(theirs[table]) == len(ours[table])
        assert len(different) <= 2


def test_held_back_it_is_deleted_again_row_by_row(large: Large, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run_id = large
    before = without_numbers(path)
    monkeypatch.setenv("DURASCOPE_RETRY", "shop")
    monkeypatch.setenv("DURASCOPE_ENGINE_URL", "shop=http://127.0.0.1:1")
    database = Database(SqliteSource(path, "shop"))
    digest = planning.plan(database, run_id, Options()).digest
    held = retrying.append(database, run_id, Options(), digest, "mended", "ada", "/")
    assert held.progress == Progress.HELD
    assert held.count == len(holding.named(held.rows)) > 6 * CHILDREN
    with replayer() as server:
        server.answers = diverges
        monkeypatch.setenv("DURASCOPE_ENGINE_URL", f"shop={server.url}")
        left = retrying.release(database, held, "ada", "/")
    assert (left.progress, left.error) == (Progress.REFUSED, ReplayDiverged.__name__)
    assert Retry.objects.count() == 1
    assert without_numbers(path) == before


def test_a_fork_that_would_hold_the_engine_up_is_refused(large: Large, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run_id = large
    changes = plan(path, run_id).changes
    for limit, most in (("MOST_ROWS", count(changes)), ("MOST_STATEMENTS", len(changes))):
        with monkeypatch.context() as patched:
            patched.setattr(fork, limit, most)
            assert plan(path, run_id, operation=Operation.FORK).eligible
            patched.setattr(fork, limit, most - 1)
            refused = plan(path, run_id, operation=Operation.FORK)
            assert not refused.eligible
            assert f"It would append {count(changes):,} rows by {len(changes):,} statements" in refused.reason
