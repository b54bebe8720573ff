"""Rows of Obelisk files as they are stored, histories by type with what belongs together, logs by level and attempt."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runs.clock import parse_instant
from runs.engines.obelisk import Obelisk
from runs.errors import RunNotFound, StepNotFound
from runs.records import Cell, Event, LogLine, Payload, RunRef, Section
from tests.conftest import OBELISK
from tests.executions import INFINITE, Ask, Sql, ask

ENDS = ("unlocked", "temporarily_failed", "temporarily_timed_out", "finished")
LEVELS = {
    **{"debug": ("level", 2), "info": ("level", 3), "warn": ("level", 4), "error": ("level", 5)},
    **{"stdout": ("stream_type", 1), "stderr": ("stream_type", 2)},
}


def stored(section: Section) -> Mapping[str, Cell]:
    assert section.columns == ("column", "stored value", "meaning")
    return {str(row[0]): row[1] for row in section.rows}


@pytest.mark.parametrize("name", OBELISK)
def test_each_column_of_a_run_is_shown_as_stored(name: str, read: Ask, sql: Sql) -> None:
    columns = [row[0] for row in sql(name, "SELECT name FROM pragma_table_info('t_state')")]
    rows = sql(name, "SELECT * FROM t_state")

    def work(engine: Obelisk) -> None:
        for row in rows:
            (section,) = engine.raw(row[columns.index("execution_id")], None)
            shown = stored(section)
            assert (section.key, list(shown)) == ("t_state", columns)
            for label, value in zip(columns, row, strict=True):
                expected = f"x'{value.hex()}'" if isinstance(value, bytes) else None if value is None else str(value)
                assert shown[label] == expected

    read(name, work)


def test_instants_digests_and_flags_have_their_meaning_beside_them(read: Ask, sql: Sql) -> None:
    run_id, created, digest = sql("shop", """SELECT execution_id, created_at, component_id_input_digest FROM t_state
        WHERE is_top_level LIMIT 1""")[0]  # fmt: skip
    (section,) = read("shop", lambda engine: engine.raw(run_id, None))
    meanings = {row[0]: row[2] for row in section.rows}
    assert meanings["created_at"] == parse_instant(created)
    assert meanings["component_id_input_digest"] == f"sha256:{digest.hex()}"
    assert meanings["is_top_level"] == "yes"
    assert meanings["ffqn"] is None


@pytest.mark.parametrize("name", OBELISK)
def test_a_step_shows_its_row_its_response_and_its_child_or_delay(name: str, read: Ask, sql: Sql) -> None:
    steps = sql(name, """SELECT execution_id, version, length(CAST(json_value AS BLOB)),
            json_value ->> '$.history_event.event.request.child_execution_id',
            json_value ->> '$.history_event.event.execution_id',
            json_value ->> '$.history_event.event.request.delay_id'
        FROM t_execution_log WHERE history_event_type IN ('join_set_request', 'persist', 'schedule', 'stub')""")  # fmt: skip
    answered = dict(sql(name, "SELECT ifnull(child_execution_id, delay_id), id FROM t_join_set_response"))
    runs = {row[0] for row in sql(name, "SELECT execution_id FROM t_state")}
    delays = {row[0] for row in sql(name, "SELECT delay_id FROM t_delay")}

    def work(engine: Obelisk) -> None:
        for run_id, version, size, child, scheduled, delay in steps:
            sections = {section.key: stored(section) for section in engine.raw(run_id, version)}
            asked = child or delay
            expected = {"t_execution_log"}
            expected |= {"t_join_set_response"} if asked in answered else set()
            expected |= {"t_state"} if (child or scheduled) in runs else set()
            expected |= {"t_delay"} if delay in delays else set()
            assert set(sections) == expected
            assert sections["t_execution_log"]["version"] == str(version)
            assert sections["t_execution_log"]["json_value"] == Payload(run_id, f"event.{version}.data", "json", size)
            if asked in answered:
                assert sections["t_join_set_response"]["id"] == str(answered[asked])
            if "t_state" in sections:
                assert sections["t_state"]["execution_id"] == (child or scheduled)

    read(name, work)


def test_what_is_no_step_has_no_rows(read: Ask, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["flaky-then-ok"]
    for ordinal in (0, 99_999):
        with pytest.raises(StepNotFound):
            read("shop", lambda engine, ordinal=ordinal: engine.raw(run_id, ordinal))
    with pytest.raises(RunNotFound):
        read("shop", lambda engine: engine.raw("E_nobody", None))


def walked(engine: Obelisk, run_id: str, size: int, wanted: frozenset[str]) -> list[Event]:
    found: list[Event] = []
    after: int | None = None
    while True:
        page = engine.events(run_id, after, size, wanted)
        found.extend(page.rows)
        if page.next is None:
            return found
        assert isinstance(page.next.at, int)
        after = page.next.at


@pytest.mark.parametrize("name", OBELISK)
def test_events_of_some_types_are_those_of_all_that_have_them(name: str, read: Ask, sql: Sql) -> None:
    longest = sql(name, "SELECT execution_id FROM t_execution_log GROUP BY 1 ORDER BY count(*) DESC LIMIT 4")

    def work(engine: Obelisk, run_id: str) -> None:
        every = engine.events(run_id, None, INFINITE).rows
        counted = Counter(event.type for event in every)
        types = engine.event_types(run_id)
        assert dict(types) == counted
        assert [number for _, number in types] == sorted(counted.values(), reverse=True)
        for wanted in (*(frozenset({kind}) for kind in counted), frozenset(counted), frozenset({"no such type"})):
            expected = [event for event in every if event.type in wanted]
            assert walked(engine, run_id, 25, wanted) == expected

    for (run_id,) in longest:
        read(name, lambda engine, run_id=run_id: work(engine, run_id))


def test_types_are_ours_for_the_variants_and_events_of_the_engine(read: Ask, sql: Sql) -> None:
    run_id = sql("shop", "SELECT execution_id FROM t_execution_log GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")[0][0]
    counted = dict(
        sql("shop", """SELECT ifnull(history_event_type, variant), count(*) FROM t_execution_log
            WHERE execution_id = ? GROUP BY 1""", run_id)
    )  # fmt: skip
    types = dict(read("shop", lambda engine: engine.event_types(run_id)))
    assert types["awaited"] == counted["join_next"]
    assert types["join set created"] == counted["join_set_create"]
    assert types.get("child requested", 0) + types.get("sleep requested", 0) == counted["join_set_request"]
    assert sum(types.values()) == sum(counted.values())


@pytest.mark.parametrize("name", OBELISK)
def test_requests_belong_with_their_join_set_and_with_the_await_of_their_answer(
    name: str, read: Ask, sql: Sql, oracle: Callable[[str], Any]
) -> None:
    order = "seq" if name != "old-0.38.3" else "id"
    responses: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run_id, join_set, source in sql(name, f"""SELECT execution_id, join_set_id, ifnull(child_execution_id, delay_id)
            FROM t_join_set_response ORDER BY execution_id, {order}"""):  # fmt: skip
        responses[run_id, join_set].append(source)
    expected: dict[str, set[frozenset[int]]] = defaultdict(set)
    log = sql(name, """SELECT execution_id, version, json_value FROM t_execution_log
        WHERE history_event_type LIKE 'join%' ORDER BY execution_id, version""")  # fmt: skip
    asked: dict[str, int] = {}
    made: dict[tuple[str, str], int] = {}
    taken: Counter[tuple[str, str]] = Counter()
    for run_id, version, value in log:
        event = json.loads(value)["history_event"]["event"]
        key = (run_id, event["join_set_id"])
        if event["type"] == "join_set_create":
            made[key] = version
        elif event["type"] == "join_set_request":
            request = event["request"]
            asked[request.get("child_execution_id") or request["delay_id"]] = version
            expected[run_id].add(frozenset({made[key], version}))
        elif event["type"] == "join_next" or event.get("outcome") == "found":
            if taken[key] < len(responses[key]):
                expected[run_id].add(frozenset({asked[responses[key][taken[key]]], version}))
            taken[key] += 1
    assert sum(len(pairs) for pairs in expected.values()) > 500

    def work(engine: Obelisk) -> None:
        for run_id in {row[0] for row in log}:
            events = engine.events(run_id, None, INFINITE).rows
            joins = {event.position for event in events if "/join" in event.native}
            found = {
                frozenset({event.position, other})
                for event in events
                for other in event.related
                if event.position in joins and other in joins
            }
            assert found == expected[run_id]

    read(name, work)


@pytest.mark.parametrize("name", OBELISK)
def test_a_lock_belongs_with_the_row_that_ended_its_lease(name: str, read: Ask, sql: Sql) -> None:
    lives: dict[str, list[tuple[int, str, str | None]]] = defaultdict(list)
    for run_id, version, variant, lease in sql(name, """SELECT execution_id, version, variant,
            CASE WHEN variant = 'locked' THEN json_value ->> '$.locked.run_id' END
            FROM t_execution_log ORDER BY execution_id, version"""):  # fmt: skip
        lives[run_id].append((version, variant, lease))

    def work(engine: Obelisk) -> None:
        seen = 0
        for run_id, rows in lives.items():
            tries = engine.run(run_id).tries
            ended = {attempt.native_id: attempt.finished_at for attempt in tries}
            events = {event.position: event for event in engine.events(run_id, None, INFINITE).rows}
            for version, variant, lease in rows:
                if variant != "locked":
                    continue
                ends = [events[other] for other in events[version].related]
                if not ends:
                    # Nothing ended it: it is held, or ran out while the run waited, which may have been ended then.
                    later = [row[1] for row in rows if row[0] > version]
                    first = next((variant for variant in later if variant in ENDS or variant == "locked"), "locked")
                    assert first in ("locked", "finished")
                    continue
                (end,) = ends
                assert end.native in ENDS
                assert end.at == ended[str(lease)]
                assert version in end.related
                between = [row for row in rows if version < row[0] < end.position]
                assert all(row[1] != "locked" or row[2] == lease for row in between)
                seen += 1
        assert seen > 200

    read(name, work)


@pytest.mark.parametrize("name", OBELISK)
def test_logs_are_chosen_by_level_stream_and_attempt(name: str, read: Ask, sql: Sql) -> None:
    (run_id,) = sql(name, """SELECT execution_id FROM t_log GROUP BY 1
        ORDER BY count(DISTINCT run_id) > 1 DESC, count(DISTINCT ifnull(level, -stream_type)) DESC, 1 LIMIT 1""")[0]  # fmt: skip
    leases = [row[0] for row in sql(name, "SELECT DISTINCT run_id FROM t_log WHERE execution_id = ?", run_id)]
    choices = [{word} for word in LEVELS] + [{"error", "stderr"}, {"nothing"}, set()]

    def work(engine: Obelisk) -> None:
        every = {line.position: line for line in engine.logs(run_id, None, INFINITE).rows}
        seen = 0
        for levels in choices:
            for attempt in ("", "Run_none", *leases):
                terms = [f"{column} = {number}" for word, (column, number) in LEVELS.items() if word in levels]
                condition = f"({' OR '.join(terms) or '0'})" if levels else "1"
                rows = sql(name, f"""SELECT id FROM t_log WHERE execution_id = ? AND {condition}
                    AND (? = '' OR run_id = ?) ORDER BY id""", run_id, attempt, attempt)  # fmt: skip
                found: list[LogLine] = []
                after: int | None = None
                while True:
                    page = engine.logs(run_id, after, 10, frozenset(levels), attempt)
                    found.extend(page.rows)
                    if page.next is None:
                        break
                    assert isinstance(page.next.at, int)
                    after = page.next.at
                assert found == [every[row[0]] for row in rows]
                seen += len(found)
        assert seen

    read(name, work)


def test_a_level_without_a_name_is_chosen_by_its_number(fresh: Callable[[str], Path]) -> None:
    path = fresh("shop")
    with closing(sqlite3.connect(path)) as connection, connection:
        ((run_id, position),) = connection.execute("SELECT execution_id, id FROM t_log WHERE level = 3 LIMIT 1")
        connection.execute("UPDATE t_log SET level = 9 WHERE id = ?", (position,))
    (line,) = ask(path, lambda engine: engine.logs(run_id, None, 10, frozenset({"9"}))).rows
    assert (line.position, line.level) == (position, "9")


def test_a_child_is_linked_from_the_row_that_started_it(read: Ask, oracle: Callable[[str], Any]) -> None:
    run_id = oracle("shop")["scenarios"]["flaky-then-ok"]
    step = read("shop", lambda engine: engine.steps(run_id))[0]
    sections = {section.key: section for section in read("shop", lambda engine: engine.raw(run_id, step.ordinal))}
    links = {row[0]: row[2] for row in sections["t_join_set_response"].rows}
    assert links["child_execution_id"] == RunRef(step.child)
    assert links["execution_id"] is None
