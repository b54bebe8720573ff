"""Neighbours, usual durations, runs over time and functions of Obelisk files, against SQL of our own."""

import math
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runs.clock import parse_instant
from runs.engines.obelisk import Obelisk
from runs.errors import RunNotFound
from runs.filters import Filter
from runs.records import Neighbours, RunRef, Status
from tests.conftest import OBELISK
from tests.executions import Ask, Sql, ask, every_run, ids

OK = "('\"ok\"', '{\"ok\":null}')"


def share(durations: list[timedelta], hundredths: int) -> timedelta | None:
    ordered = sorted(durations)
    return ordered[math.ceil(len(ordered) * hundredths / 100) - 1] if ordered else None


@pytest.mark.parametrize("name", OBELISK)
def test_neighbours_are_the_next_of_the_same_function_in_the_order_of_the_list(name: str, read: Ask, sql: Sql) -> None:
    rows = sql(name, "SELECT execution_id, ffqn, is_top_level FROM t_state ORDER BY created_at, execution_id")

    def work(engine: Obelisk) -> None:
        for run_id, ffqn, top in rows:
            line = [other for other, its, its_top in rows if its == ffqn and (its_top or not top)]
            place = line.index(run_id)
            previous = line[place - 1] if place else None
            assert engine.neighbours(run_id) == Neighbours(previous, (*line, None)[place + 1])
        with pytest.raises(RunNotFound):
            engine.neighbours("E_nobody")

    read(name, work)


@pytest.mark.parametrize("name", OBELISK)
def test_usual_is_the_time_from_the_first_lock_of_a_child_to_its_value(name: str, read: Ask, sql: Sql) -> None:
    took: dict[str, list[timedelta]] = defaultdict(list)
    for ffqn, first, end in sql(name, f"""SELECT s.ffqn, min(l.created_at), s.pending_expires_finished
            FROM t_state s JOIN t_execution_log l ON l.execution_id = s.execution_id AND l.variant = 'locked'
            WHERE s.state = 'finished' AND s.result_kind IN {OK} AND s.is_top_level = 0 GROUP BY s.execution_id"""):  # fmt: skip
        started, finished = parse_instant(first), parse_instant(end)
        assert started is not None
        assert finished is not None
        took[ffqn].append(finished - started)
    found = read(name, lambda engine: engine.usual({*took, "sleep", "random_u64", "shop:no/such.function"}))
    expected = {ffqn: durations for ffqn, durations in took.items() if len(durations) >= 20}
    assert expected
    assert {ffqn: (usual.count, usual.p50, usual.p95) for ffqn, usual in found.items()} == {
        ffqn: (len(durations), share(durations, 50), share(durations, 95)) for ffqn, durations in expected.items()
    }


def test_at_most_fifty_names_are_looked_up(read: Ask) -> None:
    charge = "shop:payments/activity.charge-card"
    assert set(read("shop", lambda engine: engine.usual({charge, *(f"a{number}" for number in range(49))}))) == {charge}
    assert read("shop", lambda engine: engine.usual({charge, *(f"a{number}" for number in range(50))})) == {}


SINCE, UNTIL = "2026-11-22 15:26:00.123456+00:00", "2026-11-22 15:26:30.000001+00:00"
FILTERS = {
    "everything": (Filter(), "1"),
    "failed": (Filter(statuses=frozenset({Status.FAILED})), "failed"),
    "roots": (Filter(root=True), "is_top_level"),
    "from": (Filter(since=datetime.fromisoformat(SINCE)), f"created_at >= '{SINCE}'"),
    "until": (Filter(until=datetime.fromisoformat(UNTIL)), f"created_at < '{UNTIL}'"),
    "window": (
        Filter(
            since=datetime.fromisoformat(SINCE),
            until=datetime.fromisoformat(UNTIL),
            statuses=frozenset({Status.FAILED, Status.SUCCEEDED}),
        ),
        f"created_at >= '{SINCE}' AND created_at < '{UNTIL}' AND (failed OR result_kind IN {OK})",
    ),
}


@pytest.mark.parametrize("parts", [1, 7, 48])
@pytest.mark.parametrize("which", FILTERS)
@pytest.mark.parametrize("name", OBELISK)
def test_a_histogram_counts_each_run_in_the_part_of_its_creation(
    name: str, which: str, parts: int, read: Ask, sql: Sql
) -> None:
    where, condition = FILTERS[which]
    rows = [
        (parse_instant(created), failed)
        for created, failed in sql(name, f"""SELECT created_at, failed FROM (SELECT *, ifnull(state = 'finished'
            AND result_kind NOT IN {OK} AND result_kind NOT LIKE '%cancelled%', 0) AS failed FROM t_state)
            WHERE {condition}""")
    ]  # fmt: skip
    found = read(name, lambda engine: engine.histogram(where, parts))
    assert sum(number for number, _ in found.parts) == len(rows)
    if not rows:
        assert (found.start, found.end, found.parts) == (None, None, ())
        return
    start, end = where.since or min(row[0] for row in rows), where.until or max(row[0] for row in rows)
    assert (found.start, found.end) == (start, end)
    expected = [[0, 0] for _ in range(parts)]
    for created, failed in rows:
        part = min((created - start) * parts // (end - start), parts - 1) if end > start else 0
        expected[part][0] += 1
        expected[part][1] += failed
    assert [list(part) for part in found.parts] == expected


@pytest.mark.parametrize("q", ["E_01M81XS", "503", "nothing like it"])
def test_a_histogram_of_a_search_has_as_many_runs_as_the_list(q: str, read: Ask) -> None:
    for statuses in (frozenset[Status](), frozenset({Status.FAILED})):
        where = Filter(q=q, statuses=statuses)
        found = read("shop", lambda engine, where=where: engine.histogram(where))
        assert sum(number for number, _ in found.parts) == len(
            read("shop", lambda engine, where=where: ids(engine, where))
        )


def test_whole_seconds_and_nanoseconds_fall_into_their_part(fresh: Callable[[str], Path]) -> None:
    times = [
        *("2026-11-22 15:00:00+00:00", "2026-11-22 15:00:09.5+00:00", "2026-11-22 15:00:10.000000001+00:00"),
        *("2026-11-22 15:00:29.999999999+00:00", "2026-11-22 15:00:40+00:00"),
    ]
    path = fresh("shop")
    with closing(sqlite3.connect(path)) as connection, connection:
        kept = [row[0] for row in connection.execute("SELECT execution_id FROM t_state LIMIT 5")]
        connection.execute("DELETE FROM t_state WHERE execution_id NOT IN (?, ?, ?, ?, ?)", kept)
        connection.executemany(
            "UPDATE t_state SET created_at = ? WHERE execution_id = ?", zip(times, kept, strict=True)
        )
    found = ask(path, lambda engine: engine.histogram(Filter(), 4))
    assert [number for number, _ in found.parts] == [2, 1, 1, 1]


def test_there_are_no_queues_to_count(read: Ask) -> None:
    assert read("shop", lambda engine: engine.histogram(Filter(queue="q"))).parts == ()


@pytest.mark.parametrize("name", OBELISK)
def test_functions_show_durations_of_their_succeeded_runs_and_their_newest_error(
    name: str, read: Ask, sql: Sql
) -> None:
    runs = {run.id: run for run in read(name, lambda engine: list(every_run(engine)))}
    section = next(each for each in read(name, lambda engine: engine.sections()) if each.key == "workflows")
    assert section.columns[4:7] == ("p50", "p95", "newest error")
    for ffqn, kind, _, failed, p50, p95, error, newest in section.rows:
        rows: list[Any] = sql(name, """SELECT execution_id, created_at, pending_expires_finished, state, result_kind FROM t_state
            WHERE ffqn = ? AND component_type = ? ORDER BY created_at DESC, execution_id DESC""", ffqn, kind)  # fmt: skip
        took = [
            finished - created
            for _, first, end, state, result in rows
            if state == "finished" and str(result).startswith(('"ok"', '{"ok"'))
            if (created := parse_instant(first)) and (finished := parse_instant(end))
        ]
        broken = [row[0] for row in rows if runs[row[0]].status is Status.FAILED]
        assert (p50, p95) == (share(took, 50), share(took, 95))
        assert (failed, newest) == (len(broken), parse_instant(rows[0][1]))
        assert error == (runs[broken[0]].error if broken else None)


@pytest.mark.parametrize("name", OBELISK)
def test_deployments_show_what_runs_on_them(name: str, read: Ask, sql: Sql) -> None:
    section = next(each for each in read(name, lambda engine: engine.sections()) if each.key == "deployments")
    assert section.columns[6:] == ("runs", "unfinished", "failed")
    counted = {
        row[0]: tuple(row[1:])
        for row in sql(name, f"""SELECT deployment_id, count(*), sum(state <> 'finished'),
            sum(state = 'finished' AND result_kind NOT IN {OK} AND result_kind NOT LIKE '%cancelled%')
            FROM t_state GROUP BY 1""")
    }  # fmt: skip
    assert {row[0]: row[6:] for row in section.rows} == {row[0]: counted.get(row[0], (0, 0, 0)) for row in section.rows}


@pytest.mark.parametrize("name", OBELISK)
def test_a_cron_shows_when_it_is_due_next(name: str, read: Ask, sql: Sql) -> None:
    sections = {section.key: section for section in read(name, lambda engine: engine.sections())}
    due = sql(name, """SELECT execution_id, pending_expires_finished FROM t_state
        WHERE component_type = 'cron' AND state = 'pending_at'""")  # fmt: skip
    shown = {row[1]: row[5] for row in sections["crons"].rows if row[5] is not None} if "crons" in sections else {}
    assert shown == {RunRef(run_id): parse_instant(at) for run_id, at in due}
