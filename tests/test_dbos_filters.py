"""Which runs of a DBOS file a filter finds, against SQL of its own."""

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from runs.engines.dbos import Dbos, search
from runs.filters import Filter
from runs.records import Status
from tests.dbos_files import OURS, ZOO, Unpacked, all_runs, at, ids, read, sql

CREATED = at(1795352852000)
FILTERS = [
    (Filter(workflow="happy"), "name = 'happy'"),
    (Filter(version="zoo-v0"), "application_version = 'zoo-v0'"),
    (Filter(queue="q1"), "queue_name = 'q1'"),
    (Filter(since=CREATED), "created_at >= 1795352852000"),
    (Filter(since=CREATED + timedelta(microseconds=1)), "created_at > 1795352852000"),
    (Filter(until=CREATED), "created_at < 1795352852000"),
    (Filter(until=CREATED + timedelta(microseconds=1)), "created_at <= 1795352852000"),
    (Filter(since=CREATED, until=CREATED + timedelta(seconds=2)), "created_at IN (1795352852000, 1795352853000)"),
    (Filter(statuses=frozenset({Status.FAILED})), "status IN ('ERROR', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')"),
    (Filter(statuses=frozenset({Status.QUEUED, Status.RUNNING})), "status IN ('ENQUEUED', 'PENDING')"),
    (Filter(statuses=frozenset({Status.CANCELLED})), "status = 'CANCELLED'"),
    (Filter(statuses=frozenset({Status.SCHEDULED})), "status = 'DELAYED'"),
    (Filter(statuses=frozenset({Status.RETRYING})), "0"),
    (Filter(statuses=frozenset(Status)), "1"),
    (Filter(root=True), "parent_workflow_id IS NULL"),
    (Filter(root=False), "parent_workflow_id IS NOT NULL"),
    (Filter(q="wf-q2"), "substr(workflow_uuid, 1, 5) = 'wf-q2'"),
    (Filter(q="wf-unicode-ключ"), "substr(workflow_uuid, 1, 15) = 'wf-unicode-ключ'"),
    (Filter(q="WF-Q2"), "0"),
    (
        Filter(active_at=at(1795352851500)),
        "status NOT IN ('ENQUEUED', 'DELAYED') AND coalesce(started_at_epoch_ms, created_at) <= 1795352851500 "
        "AND (completed_at IS NULL OR completed_at >= 1795352851500)",
    ),
    (
        Filter(active_at=at(1795352870000)),
        "status = 'PENDING'",
    ),
    (Filter(workflow="task", queue="q1", statuses=frozenset({Status.QUEUED})),
     "name = 'task' AND queue_name = 'q1' AND status = 'ENQUEUED'"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "condition"), FILTERS, ids=[condition[:60] for _, condition in FILTERS])
def test_each_filter_finds_what_sql_finds(where: Filter, condition: str, fresh: Unpacked) -> None:
    path = fresh(ZOO)
    rows = sql(path, f"SELECT workflow_uuid, status FROM workflow_status WHERE {condition}")
    found, counts = read(path, lambda engine: (ids(engine, where), engine.counts(where)))
    assert found == {row[0] for row in rows}
    if not where.statuses:
        assert counts == Counter(Status(OURS[row[1]]) for row in rows)


@pytest.mark.parametrize(
    ("last", "following"),
    [("a", "b"), ("~", "\x7f"), ("\ud7ff", "\ue000"), ("\uffff", "\U00010000"), ("\U0010ffff", "")],
)
def test_a_prefix_ends_where_the_next_character_begins(last: str, following: str, fresh: Unpacked) -> None:
    path = fresh("mini-3.4.0")
    inside = {f"Z{last}", f"Z{last}x", f"Z{last}\U0010ffff"}
    for run_id in (*inside, f"Z{following}", f"Z{following}x", "["):
        sql(path, "INSERT INTO workflow_status (workflow_uuid, status, created_at) VALUES (?, 'SUCCESS', 5)", run_id)
    assert read(path, lambda engine: ids(engine, Filter(q=f"Z{last}"))) == inside


@pytest.mark.parametrize("name", ["mini-1.13.0", "mini-2.5.0", "mini-3.4.0"])
def test_roots_are_told_with_and_without_a_parent_column(name: str, unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        assert ids(engine, Filter(root=False)) == {"parent-1"}
        assert ids(engine, Filter(root=True)) == {run.id for run in all_runs(engine)} - {"parent-1"}

    read(unpacked(name), work)


def test_an_id_that_only_looks_like_a_childs_has_no_parent(fresh: Unpacked) -> None:
    path = fresh("mini-1.13.0")
    for run_id in ("parent-2", "ok-1", "-1", "77", "nobody-3", "parent-99999999999999999999"):
        sql(
            path,
            "INSERT INTO workflow_status (workflow_uuid, status, created_at) VALUES (?, 'SUCCESS', 1795352930000)",
            run_id,
        )
    assert read(path, lambda engine: ids(engine, Filter(root=False))) == {"parent-1"}


@pytest.mark.parametrize(
    ("q", "found"),
    [
        (
            "insufficient FUNDS",
            {"wf-declined", "wf-declined-fork", "wf-parent-fail", "wf-parent-fail-2", "wf-portable-fail"},
        ),
        ("DBOSMaxStepRetriesExceeded: ", {"wf-retry-exhausted"}),
        ("no such error", set()),
    ],
)
def test_q_finds_any_part_of_an_errors_text(q: str, found: set[str], unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        assert ids(engine, Filter(q=q)) == found
        assert sum(engine.counts(Filter(q=q)).values()) == len(found)
        assert ids(engine, Filter(q=q, statuses=frozenset({Status.SUCCEEDED}))) == set()

    read(unpacked(ZOO), work)


def test_a_bounded_search_says_so_and_goes_on_where_it_stopped(
    unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "CANDIDATES", 2)
    monkeypatch.setattr(search, "BATCH", 2)

    def work(engine: Dbos) -> tuple[list[str], int]:
        found: list[str] = []
        partial, after = 0, None
        while True:
            page = engine.runs(
                Filter(q="w"), after, 3
            )  # w begins every zoo id but the schedule's, and is in many an error
            found.extend(run.id for run in page.rows)
            partial += bool(page.partial)
            if page.next is None:
                return found, partial
            after = page.next

    walked, partial = read(unpacked(ZOO), work)
    monkeypatch.undo()
    assert walked == [run.id for run in read(unpacked(ZOO), lambda engine: all_runs(engine, Filter(q="w")))]
    assert partial > 0
    counts = read(unpacked(ZOO), lambda engine: engine.counts(Filter(q="w")))
    assert sum(counts.values()) == len(walked)  # a run that matches by id and by error counts once


@pytest.mark.parametrize(
    ("status", "index"),
    [
        # One name of a failed run has no index: who looks for it from the newest on meets the others, and needs none for them.
        (Status.FAILED, "workflow_status_created_at_index"),
        (Status.CANCELLED, "idx_workflow_status_failed"),
    ],
)
def test_runs_of_one_status_are_listed_by_one_statement_through_an_index(
    fresh: Unpacked, status: Status, index: str
) -> None:
    path = fresh(ZOO)
    plans: list[str] = []

    def work(engine: Dbos) -> None:
        rows = engine.reader.rows

        def explained(statement: str, params: Any = None) -> Any:
            if "ORDER BY s.created_at DESC" in statement and "LIMIT :limit" in statement:
                plans.append(statement.replace("{schema}", ""))
            return rows(statement, params)

        engine.reader.rows = explained
        all_runs(engine, Filter(statuses=frozenset({status})))

    read(path, work)
    (statement,) = plans
    # Planned by Python's own SQLite, on the schema alone.
    with closing(sqlite3.connect(":memory:")) as memory, closing(sqlite3.connect(path)) as original:
        for (create,) in original.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        ):
            memory.execute(create)
        details = [row[3] for row in memory.execute(f"EXPLAIN QUERY PLAN {statement}", {"limit": 50})]
    assert any(index in detail for detail in details)
    assert "USE TEMP B-TREE FOR ORDER BY" not in details, "only runs of one instant are sorted"
