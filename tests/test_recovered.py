"""Failures that a retry has recovered: told from the file alone, followed over retries of retries, and left out on demand."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asking import Asker

from runs import terminal
from runs.engines import engine_for
from runs.engines.base import Engine
from runs.engines.obelisk import recovery
from runs.engines.obelisk.executions import retry_id
from runs.filters import Filter
from runs.records import Retried, Run, Status
from runs.sources.sqlite import SqliteSource

Fresh = Callable[[str], Path]
FAILED = frozenset({Status.FAILED})
TOP = "is_top_level AND state = 'finished' AND component_type = 'workflow'"


def read(path: Path, work: Callable[[Engine], Any]) -> Any:
    return SqliteSource(path, "db").read(lambda reader: work(engine_for(reader)))


def listed(path: Path, where: Filter) -> list[Run]:
    return list(read(path, lambda engine: engine.runs(where, None, 5000)).rows)


def run_of(path: Path, run_id: str) -> Run:
    run: Run = read(path, lambda engine: engine.run(run_id))
    return run


def fork(path: Path, forks: Iterable[tuple[str, str, str]]) -> None:
    """Rows as a fork leaves them: (id, forked from, status)."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, (run_id, original, status) in enumerate(forks):
            connection.execute(
                """INSERT INTO workflow_status (workflow_uuid, forked_from, status, name, created_at, updated_at)
                   VALUES (?, ?, ?, 'again', ?, ?)""",
                (run_id, original, status, 1795353000000 + number, 1795353000000 + number),
            )


@pytest.fixture
def zoo(fresh: Fresh) -> Path:
    """Failures of every kind: recovered at once, by the retry of a retry, not yet, never, and a cancelled one."""
    path = fresh("zoo-3.4.0")
    fork(
        path,
        [
            ("first", "wf-declined", "ERROR"),
            ("second", "first", "CANCELLED"),
            ("third", "second", "SUCCESS"),
            ("begun", "wf-body-error", "PENDING"),
            ("again", "wf-cancel", "SUCCESS"),
            ("copied", "wf-happy", "ERROR"),
            ("here", "there", "ERROR"),
            ("there", "here", "ERROR"),
        ],
    )
    return path


RECOVERED = {"wf-declined", "first", "second", "wf-cancel"}


def test_a_failure_is_recovered_when_a_retry_or_the_retry_of_one_has_succeeded(zoo: Path) -> None:
    every = listed(zoo, Filter())
    assert {run.id for run in every if run.recovered} == RECOVERED
    assert {run.id for run in listed(zoo, Filter(recovered=True))} == RECOVERED
    assert [run.id for run in listed(zoo, Filter(recovered=False))] == [
        run.id for run in every if run.id not in RECOVERED
    ]


def test_retries_stand_newest_first_with_how_they_fare(zoo: Path) -> None:
    (declined,) = [run for run in listed(zoo, Filter(q="wf-declined")) if run.id == "wf-declined"]
    third, second, first = (
        Retried("third", Status.SUCCEEDED),
        Retried("second", Status.CANCELLED),
        Retried("first", Status.FAILED),
    )
    assert declined.retries == (third, second, first, Retried("wf-declined-fork", Status.FAILED))
    assert run_of(zoo, "wf-declined").retries == declined.retries
    assert run_of(zoo, "wf-body-error").retried == Retried("begun", Status.RUNNING)
    assert run_of(zoo, "here").retries == (Retried("there", Status.FAILED),)  # a circle ends where it began


def test_of_many_retries_the_one_that_succeeded_is_named(fresh: Fresh) -> None:
    path = fresh("mini-3.4.0")
    fork(path, [("lone", "nowhere", "ERROR")])
    fork(path, [(f"try-{n}", "lone", "SUCCESS" if n == 3 else "ERROR") for n in range(12)])
    run = run_of(path, "lone")
    assert run.recovered
    assert [retry.id for retry in run.retries] == ["try-11", "try-10", "try-9", "try-8", "try-3"]


def test_counts_and_columns_leave_out_what_the_list_leaves_out(zoo: Path) -> None:
    for where in (Filter(recovered=False), Filter(recovered=True), Filter(recovered=False, workflow="fails_declined")):
        rows = listed(zoo, where)
        counts, parts = read(zoo, lambda engine, where=where: (engine.counts(where), engine.histogram(where).parts))
        assert counts == Counter(run.status for run in rows)
        assert sum(every for every, _ in parts) == len(rows)


def test_a_release_without_forks_has_nothing_recovered(unpacked: Fresh) -> None:
    path = unpacked("mini-1.13.0")
    assert listed(path, Filter(recovered=True)) == []
    assert len(listed(path, Filter(recovered=False))) == len(listed(path, Filter()))


def begin_anew(path: Path, run_id: str, original: str, outcome: str) -> None:
    """An execution whose metadata names another: the rows of one that ended so, under a new id, as any tool may begin it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (like,) = connection.execute(
            f"SELECT execution_id FROM t_state WHERE {TOP} AND result_kind {outcome} LIMIT 1"
        ).fetchone()
        for table in ("t_execution_log", "t_state"):
            names = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
            values = names.replace("execution_id", ":new", 1)
            connection.execute(
                f"INSERT INTO {table} ({names}) SELECT {values} FROM {table} WHERE execution_id = :like",
                {"new": run_id, "like": like},
            )
        connection.execute(
            """UPDATE t_execution_log SET json_value = json_set(json_value, '$.created.metadata.retry-of', ?)
               WHERE execution_id = ? AND version = 0""",
            (original, run_id),
        )
        connection.execute("UPDATE t_state SET created_at = '2026-12-01 00:00:00' WHERE execution_id = ?", (run_id,))


OK, ERROR = "= '\"ok\"'", '= \'{"err":"error"}\''


@pytest.fixture
def shop(fresh: Fresh) -> tuple[Path, list[str]]:
    """Four failed executions: of another tool's retry, of the retry of our retry, of a failed one; and one that nobody retried."""
    path = fresh("shop")
    failed = [run.id for run in listed(path, Filter(statuses=FAILED, root=True))][:4]
    begin_anew(path, "E_01M90000000000000000000001", failed[0], OK)
    ours = retry_id(failed[1], 1)
    begin_anew(path, ours, failed[1], ERROR)
    begin_anew(path, retry_id(ours, 1), ours, OK)
    begin_anew(path, "E_01M90000000000000000000003", failed[2], ERROR)
    return path, failed


def test_executions_begun_anew_recover_what_their_metadata_names(shop: tuple[Path, list[str]]) -> None:
    path, failed = shop
    recovered = {failed[0], failed[1], retry_id(failed[1], 1)}
    every = listed(path, Filter())
    assert {run.id for run in every if run.recovered} == recovered
    assert {run.id for run in listed(path, Filter(recovered=True))} == recovered
    rows = listed(path, Filter(recovered=False))
    assert [run.id for run in rows] == [run.id for run in every if run.id not in recovered]
    counts, parts = read(
        path, lambda engine: (engine.counts(Filter(recovered=False)), engine.histogram(Filter(recovered=False)).parts)
    )
    assert counts == Counter(run.status for run in rows)
    assert sum(number for number, _ in parts) == len(rows)
    assert [retry.status for retry in run_of(path, failed[1]).retries] == [Status.SUCCEEDED, Status.FAILED]
    assert [retry.status for retry in run_of(path, failed[2]).retries] == [Status.FAILED]
    assert run_of(path, failed[3]).retries == ()


def test_our_own_retries_are_found_at_any_age(shop: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    path, failed = shop
    monkeypatch.setattr(recovery, "SEARCHED", 0)
    assert run_of(path, failed[0]).retries == ()
    assert run_of(path, failed[1]).recovered


def test_old_releases_have_no_such_metadata(unpacked: Fresh) -> None:
    path = unpacked("old-0.38.3")
    assert listed(path, Filter(recovered=True)) == []
    assert len(listed(path, Filter(recovered=False))) == len(listed(path, Filter()))


def test_the_interface_and_the_terminal_say_it_too(
    ask: Callable[..., Asker], zoo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get = ask(f"zoo={zoo}")
    hidden = get.pages("/api/v1/runs/", "runs", status=["failed", "cancelled"], recovered="false", limit=5)
    shown = get.pages("/api/v1/runs/", "runs", status=["failed", "cancelled"], limit=5)
    assert {run["id"] for run in shown} - {run["id"] for run in hidden} == RECOVERED
    run = get("/api/v1/databases/zoo/runs/wf-declined/")["run"]
    assert run["recovered"] is True
    assert run["retries"][0] == {
        "id": "third",
        "href": "/api/v1/databases/zoo/runs/third/",
        "page": "/db/zoo/runs/third/",
        "status": "succeeded",
    }
    get("/api/v1/runs/", recovered="hide", expect=400)
    text = get.client.get("/db/zoo/runs/wf-declined/markdown/").content.decode()
    assert "- retried as: `third`, succeeded\n" in text
    assert terminal.show(f"zoo={zoo}", "wf-declined") == 0
    assert "retried as third (succeeded), second (cancelled), first (failed)" in capsys.readouterr().out
    terminal.runs(f"zoo={zoo}", {"recovered": ["false"], "status": ["failed"]}, limit=500)
    printed = capsys.readouterr().out
    assert " wf-declined " not in printed
    assert "retried → running." in printed


def test_the_list_marks_what_was_retried_and_leaves_out_what_recovered(ask: Callable[..., Asker], zoo: Path) -> None:
    client = ask(f"zoo={zoo}").client
    everything = client.get("/db/zoo/runs/?status=failed").content.decode()
    assert 'href="/db/zoo/runs/third/" title="third">retried → ' in everything
    assert "recovered=false" in everything
    left = client.get("/db/zoo/runs/?status=failed&recovered=false").content.decode()
    assert 'title="third"' not in left
    assert "recovered failures left out" in left
    assert 'name="recovered" value="false"' in left  # another filter keeps it
