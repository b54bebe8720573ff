"""Neighbours, usual durations, runs over time and workflows of DBOS files, against SQL on a copy of the same file."""

import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from runs.clock import EPOCH
from runs.engines.dbos import Dbos
from runs.errors import RunNotFound
from runs.filters import Filter
from runs.records import Neighbours, Status
from tests.conftest import DBOS
from tests.dbos_files import OURS, ZOO, Unpacked, all_runs, at, column, read, sql

STEP = """INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output, error, child_workflow_id,
    started_at_epoch_ms, completed_at_epoch_ms) VALUES (?, ?, ?, 'x', ?, ?, ?, ?)"""
RUN = """INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at, completed_at, forked_from)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
NOON = 1795352400000


def share(durations: list[int], hundredths: int) -> timedelta:
    """The least duration in milliseconds that this share of them does not pass."""
    return timedelta(milliseconds=sorted(durations)[math.ceil(len(durations) * hundredths / 100) - 1])


@pytest.mark.parametrize("name", DBOS)
def test_neighbours_are_the_next_of_the_same_workflow_in_the_order_of_the_list(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    parents = {run.id: run.parent for run in read(path, all_runs)}
    rows = sql(path, "SELECT workflow_uuid, name FROM workflow_status ORDER BY created_at, workflow_uuid")

    def work(engine: Dbos) -> None:
        for run_id, workflow in rows:
            only_roots = parents[run_id] is None
            line = [other for other, its in rows if its == workflow and (not only_roots or parents[other] is None)]
            place = line.index(run_id)
            previous = line[place - 1] if place else None
            assert engine.neighbours(run_id) == Neighbours(previous, (*line, None)[place + 1])
        with pytest.raises(RunNotFound):
            engine.neighbours("nobody")

    read(path, work)


def test_neighbours_are_found_behind_many_runs_of_other_workflows(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    sql(path, """WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
        INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at)
        SELECT 'other-' || i, 'SUCCESS', 'other', 1795360000000 + i, 1795360000000 FROM n""")  # fmt: skip
    for number, when in (1, 10**12), (2, 1795370000000):
        sql(path, RUN, f"rare-{number}", "SUCCESS", "rare", when, when, when, None)
    assert read(path, lambda engine: engine.neighbours("rare-2")) == Neighbours(previous="rare-1")
    assert read(path, lambda engine: engine.neighbours("rare-1")) == Neighbours(next="rare-2")


def test_usual_says_how_long_the_newest_500_succeeded_steps_took(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    for number in range(600):
        sql(path, STEP, f"u{number}", 1, "charge", None, None, NOON + number, NOON + 2 * number)
        sql(path, RUN, f"u{number}", "SUCCESS", "user", NOON, NOON, NOON, None)
    for number in range(600, 700):
        sql(path, STEP, f"u{number}", 1, "charge", "gAR=", None, NOON, NOON + 10**9)
        sql(path, RUN, f"u{number}", "ERROR", "user", NOON, NOON, NOON, None)
    found = read(path, lambda engine: engine.usual({"charge", "add", "nobody", "DBOS.sleep", "DBOS.recv"}))
    newest = list(range(100, 600))
    assert (found["charge"].count, found["charge"].p50) == (500, share(newest, 50))
    assert found["charge"].p95 == share(newest, 95)
    added = column(path, """SELECT o.completed_at_epoch_ms - o.started_at_epoch_ms FROM operation_outputs o
        JOIN workflow_status s USING (workflow_uuid)
        WHERE function_name = 'add' AND o.error IS NULL
            AND (s.forked_from IS NULL OR o.started_at_epoch_ms >= s.created_at)""")  # fmt: skip
    assert (found["add"].count, found["add"].p50, found["add"].p95) == (len(added), share(added, 50), share(added, 95))
    assert set(found) == {"charge", "add"}


def test_usual_leaves_out_what_a_fork_copied_and_what_too_few_tell(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    for number in range(19):
        sql(path, STEP, f"u{number}", 1, "charge", None, None, NOON, NOON + 5)
        sql(path, RUN, f"u{number}", "SUCCESS", "user", NOON, NOON, NOON, None)
        sql(path, STEP, f"fork-{number}", 1, "charge", None, None, NOON, NOON + 5)
        sql(path, RUN, f"fork-{number}", "SUCCESS", "user", NOON + 60_000, NOON, NOON, f"u{number}")
    assert read(path, lambda engine: engine.usual({"charge"})) == {}
    sql(path, STEP, "u18", 2, "charge", None, None, NOON, NOON + 7)
    found = read(path, lambda engine: engine.usual({"charge"}))["charge"]
    assert (found.count, found.p50, found.p95) == (20, timedelta(milliseconds=5), timedelta(milliseconds=5))


@pytest.mark.parametrize("name", [ZOO, "mini-2.14.0"])
def test_a_step_that_starts_a_child_usually_takes_as_long_as_the_child(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    made = "INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at) VALUES (?, ?, ?, ?, ?)"
    sql(path, made, "mother", "PENDING", "mother", NOON, NOON)
    for number in range(21):
        sql(path, STEP, "mother", number, "daughter", None, f"daughter-{number}", NOON + number, NOON + number + 1)
        status = "SUCCESS" if number else "ERROR"
        sql(path, made, f"daughter-{number}", status, "daughter", NOON + number, NOON + 5000 + 2 * number)
    found = read(path, lambda engine: engine.usual({"daughter"}))["daughter"]
    assert (found.count, found.p50) == (20, timedelta(milliseconds=5010))


def test_a_file_without_times_of_steps_says_nothing_of_what_is_usual(unpacked: Unpacked) -> None:
    assert read(unpacked("mini-1.13.0"), lambda engine: engine.usual({"step_ok"})) == {}


FILTERS = {
    "everything": Filter(),
    "failed": Filter(statuses=frozenset({Status.FAILED})),
    "several": Filter(statuses=frozenset({Status.FAILED, Status.QUEUED, Status.SUCCEEDED})),
    "from": Filter(since=datetime.fromisoformat("2026-11-22T13:07:31.0005+00:00")),
    "window": Filter(
        since=datetime.fromisoformat("2026-11-22T13:07:28+00:00"),
        until=datetime.fromisoformat("2026-11-22T13:07:41+00:00"),
    ),
    "queue": Filter(queue="q1"),
}


@pytest.mark.parametrize("parts", [1, 7, 48])
@pytest.mark.parametrize("which", FILTERS)
@pytest.mark.parametrize("name", DBOS)
def test_a_histogram_counts_each_run_in_the_part_of_its_creation(
    name: str, which: str, parts: int, fresh: Unpacked
) -> None:
    path, where = fresh(name), FILTERS[which]
    rows = [
        (at(created), OURS[status])
        for created, status, queue in sql(path, "SELECT created_at, status, queue_name FROM workflow_status")
        if (where.since is None or at(created) >= where.since)
        and (where.until is None or at(created) < where.until)
        and (not where.queue or queue == where.queue)
        and (not where.statuses or OURS[status] in where.statuses)
    ]
    found = read(path, lambda engine: engine.histogram(where, parts))
    assert sum(number for number, _ in found.parts) == len(rows)
    if not rows:
        assert (found.start, found.end, found.parts) == (None, None, ())
        return
    start, end = where.since or min(row[0] for row in rows), where.until or max(row[0] for row in rows)
    assert (found.start, found.end) == (start, end)
    expected = [[0, 0] for _ in range(parts)]
    for created, status in rows:
        part = min((created - start) * parts // (end - start), parts - 1) if end > start else 0
        expected[part][0] += 1
        expected[part][1] += status == "failed"
    assert [list(part) for part in found.parts] == expected


@pytest.mark.parametrize("q", ["wf-", "declined", "nothing like it"])
def test_a_histogram_of_a_search_has_as_many_runs_as_its_counts(q: str, unpacked: Unpacked) -> None:
    def work(engine: Dbos) -> None:
        for statuses in (frozenset[Status](), frozenset({Status.FAILED}), frozenset({Status.SUCCEEDED})):
            counts = engine.counts(Filter(q=q))
            found = engine.histogram(Filter(q=q, statuses=statuses))
            assert sum(number for number, _ in found.parts) == sum(
                number for status, number in counts.items() if not statuses or status in statuses
            )

    read(unpacked(ZOO), work)


def test_runs_without_a_time_are_counted_as_of_1970(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    sql(path, "UPDATE workflow_status SET created_at = 'soon' WHERE workflow_uuid = 'wf-happy'")
    found = read(path, lambda engine: engine.histogram(Filter(), 10))
    assert (found.start, found.parts[0], sum(number for number, _ in found.parts)) == (EPOCH, (1, 0), 52)


@pytest.mark.parametrize("name", DBOS)
def test_workflows_show_durations_of_their_succeeded_runs_and_their_newest_error(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    runs = {run.id: run for run in read(path, all_runs)}
    section = next(each for each in read(path, lambda engine: engine.sections()) if each.key == "workflows")
    assert section.columns == ("workflow", "class", "runs", "failed", "p50", "p95", "newest error", "newest run")
    seen = 0
    for workflow, kind, count, failed, p50, p95, error, newest in section.rows:
        rows = sql(path, """SELECT workflow_uuid, status, created_at FROM workflow_status
            WHERE name = ? AND ifnull(class_name, '') = ?
            ORDER BY created_at DESC, workflow_uuid DESC""", workflow, kind)  # fmt: skip
        seen += len(rows)
        broken = [row for row in rows if OURS[row[1]] == "failed"]
        took = sorted(runs[row[0]].duration for row in rows if row[1] == "SUCCESS")
        assert (count, failed, newest) == (len(rows), len(broken), at(rows[0][2]))
        assert p50 == (took[math.ceil(len(took) * 0.5) - 1] if took else None)
        assert p95 == (took[math.ceil(len(took) * 0.95) - 1] if took else None)
        assert error == (runs[broken[0][0]].error if broken else None)
    assert seen == len(runs)


def test_of_too_many_workflows_only_the_numbers_are_shown(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    for number in range(201):
        sql(path, RUN, f"one-{number}", "SUCCESS", f"workflow-{number}", NOON, NOON, NOON, None)
    section = next(each for each in read(path, lambda engine: engine.sections()) if each.key == "workflows")
    assert section.note == "Without durations and errors: there are more than 200 of them."
    assert {row[4:7] for row in section.rows} == {(None, None, None)}


def test_a_schedule_shows_when_it_fired_last_and_its_newest_run(unpacked: Unpacked) -> None:
    section = next(each for each in read(unpacked(ZOO), lambda engine: engine.sections()) if each.key == "schedules")
    shown = {row[0]: dict(zip(section.columns, row, strict=True)) for row in section.rows}
    assert shown["every-sec"]["last fired"] == datetime.fromisoformat("2026-11-22T13:07:40+00:00")
    assert shown["every-sec"]["newest run"].id == "sched-every-sec-2026-11-22T13:07:40+00:00"
    assert (shown["nightly"]["last fired"], shown["nightly"]["newest run"]) == (None, None)


def test_versions_show_what_still_runs_on_them(fresh: Unpacked) -> None:
    path = fresh(ZOO)
    section = next(each for each in read(path, lambda engine: engine.sections()) if each.key == "versions")
    assert {row[0]: row[1:3] for row in section.rows} == {
        version: (runs, unfinished)
        for version, runs, unfinished in sql(path, """SELECT application_version, count(*),
            sum(status NOT IN ('SUCCESS', 'ERROR', 'CANCELLED')) FROM workflow_status GROUP BY 1""")
    }  # fmt: skip


def test_queues_show_the_limits_of_a_partition(fresh: Unpacked) -> None:
    path: Path = fresh(ZOO)
    sql(path, "UPDATE queues SET partition_worker_concurrency = 3 WHERE name = 'qpart'")
    section = next(each for each in read(path, lambda engine: engine.sections()) if each.key == "queues")
    (limits,) = [row[4] for row in section.rows if row[0] == "qpart"]
    assert limits == "by priority, partitioned, each partition 1 at once, 3 a worker"
