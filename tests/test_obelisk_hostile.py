"""Obelisk files that are damaged, strange, newer than known or very old: words, never a traceback."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runs.engines.obelisk import Obelisk
from runs.engines.obelisk.shapes import SHORT, remembered
from runs.filters import Filter
from runs.payloads import decode
from runs.records import Neighbours, Status
from runs.sources.base import Value
from tests.executions import INFINITE, ask, every_run, payloads_of

DAMAGE = (
    "no json",
    "",
    "null",
    "[]",
    '"finished"',
    '{"created":7}',
    '{"finished":{"retval":7}}',
    '{"finished":{"retval":{"err":{"type":7}},"http_client_traces":[7,{"req":7,"resp":{"status":[]}}]}}',
    '{"locked":{"run_id":[],"lock_expires_at":3,"retry_config":[]}}',
    '{"history_event":{"event":{"type":"join_set_request","request":[]}}}',
    '{"history_event":{"event":{"type":"persist","kind":{"type":"random_u64"},"value":[999,-1]}}}',
    '{"created":{"ffqn":"a","params":"\\ud800","parent":["\\ud800",7],"metadata":{"a":{"b":[1]}}}}',
    "[" * 20_000 + "]" * 20_000,
    '{"a":' * 900 + "1" + "}" * 900,
    '{"temporarily_failed":{"reason":"activity finished with error","detail":"[[["}}',
    '{"a":"' + "x" * 50_000 + '"}',
)


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
@pytest.mark.parametrize("variants", [("created", "finished", "temporarily_failed"), ("locked", "history_event")])
def test_damaged_rows_give_words_and_no_traceback(
    damage: str, variants: tuple[str, ...], fresh: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path = fresh("old-0.38.3")
    chosen = [oracle("old-0.38.3")["scenarios"][label] for label in ("flaky-then-ok", "trap", "backoff", "persist")]
    with closing(sqlite3.connect(path)) as connection, connection:
        # A foreign table of the same form without the generated column's check, as a damaged file amounts to.
        connection.executescript("""CREATE TABLE copy (execution_id TEXT, created_at TEXT, json_value TEXT, version INTEGER,
            variant TEXT, join_set_id TEXT, history_event_type TEXT);
            INSERT INTO copy SELECT execution_id, created_at, json_value, version, variant, join_set_id, history_event_type
            FROM t_execution_log; DROP TABLE t_execution_log; ALTER TABLE copy RENAME TO t_execution_log;
            CREATE INDEX by_id ON t_execution_log (execution_id, version);""")  # fmt: skip
        marks = ", ".join("?" * len(variants))
        connection.execute(f"UPDATE t_execution_log SET json_value = ? WHERE variant IN ({marks})", (damage, *variants))

    def work(engine: Obelisk) -> int:
        engine.overview()
        engine.sections()
        assert len(list(every_run(engine, Filter(q="x")))) >= 0
        assert len(list(every_run(engine, size=200))) == 465
        named = 0
        for run_id in chosen:
            engine.relatives(run_id)
            engine.logs(run_id, None, 10)
            assert engine.events(run_id, None, INFINITE).rows
            assert sum(number for _, number in engine.event_types(run_id)) > 1
            engine.neighbours(run_id)
            assert engine.raw(run_id, None)
            for step in engine.steps(run_id):
                if step.name != "unreadable":
                    assert engine.raw(run_id, step.ordinal)
            for payload in payloads_of(engine, run_id):
                body = engine.payload(run_id, payload.name)
                decode(payload.encoding, body.data)
                named += 1
        return named

    assert ask(path, work) > 0


def test_an_unknown_state_is_shown_raw_and_said(fresh: Callable[[str], Path], oracle: Callable[[str], Any]) -> None:
    path, run_id = fresh("shop-early"), oracle("shop-early")["scenarios"]["backoff"]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE t_state SET state = 'dreaming' WHERE execution_id = ?", (run_id,))
    run = ask(path, lambda engine: engine.run(run_id))
    assert (run.status, run.native_status) == (Status.UNKNOWN, "dreaming")
    assert ask(path, lambda engine: engine.overview()).problems == ("1 run is in a state that is not known.",)


def test_a_schema_newer_than_known_says_so_and_is_read(fresh: Callable[[str], Path]) -> None:
    path = fresh("shop-early")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO refinery_schema_history VALUES (18, 'dreams', '2027-01-01T00:00:00Z', '1')")
    revision = ask(path, lambda engine: engine.revision())
    assert revision.text == "V18"
    assert "newer" in revision.problem
    assert len(ask(path, lambda engine: list(every_run(engine)))) == 429


def test_a_file_of_037_or_earlier_is_read_as_far_as_it_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such file is at hand: this one has the tables of release 0.31 and the JSON spellings that its facts record."""
    monkeypatch.setenv("DURASCOPE_NOW", "2025-12-01T12:00:00Z")
    path = tmp_path / "old.sqlite"
    start = "2025-12-01 10:00:00"
    lock = {"executor_id": "Exr_1", "lock_expires_at": "2025-12-01T10:00:09Z"}
    request = {"type": "ChildExecutionRequest", "child_execution_id": "E_1.o:1-x_1"}
    requested = {"type": "JoinSetRequest", "join_set_id": "o:1-x", "request": request}
    broken = {"reason_full": "it broke", "backoff_expires_at": "2025-12-01T11:00:00Z"}
    parent = ["E_1", "o:1-x"]
    log: list[tuple[str, int, str, Any]] = [
        (
            "E_1",
            0,
            "created",
            {"Created": {"ffqn": "a:b/c.run", "params": [1, "two"], "parent": None, "metadata": None}},
        ),
        ("E_1", 1, "locked", {"Locked": lock | {"run_id": "Run_1"}}),
        ("E_1", 2, "history_event", {"HistoryEvent": {"event": requested}}),
        ("E_1", 3, "finished", {"Finished": {"result": {"Ok": None}}}),
        ("E_1.o:1-x_1", 0, "created", {"Created": {"ffqn": "a:b/d.x", "params": [], "parent": parent}}),
        ("E_1.o:1-x_1", 1, "locked", {"Locked": lock | {"run_id": "Run_2"}}),
        ("E_1.o:1-x_1", 2, "finished", {"Finished": {"result": {"Err": "boom"}}}),
        ("E_2", 0, "created", {"created": {"ffqn": "a:b/d.x", "params": []}}),
        ("E_2", 1, "locked", {"locked": {"run_id": "Run_3"}}),
        ("E_2", 2, "temporarily_failed", {"temporarily_failed": broken}),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE t_metadata (id INTEGER PRIMARY KEY, schema_version INTEGER NOT NULL, created_at TEXT NOT NULL);
            INSERT INTO t_metadata VALUES (1, 4, '2025-12-01');
            CREATE TABLE t_execution_log (execution_id TEXT NOT NULL, created_at TEXT NOT NULL, json_value TEXT NOT NULL,
                version INTEGER NOT NULL, variant TEXT NOT NULL, join_set_id TEXT,
                history_event_type TEXT GENERATED ALWAYS AS (json_value->>'$.HistoryEvent.event.type') STORED,
                PRIMARY KEY (execution_id, version)) STRICT;
            CREATE TABLE t_join_set_response (id INTEGER PRIMARY KEY, created_at TEXT NOT NULL, execution_id TEXT NOT NULL,
                join_set_id TEXT NOT NULL, delay_id TEXT, child_execution_id TEXT, finished_version INTEGER) STRICT;
            CREATE TABLE t_state (execution_id TEXT NOT NULL, next_version INTEGER NOT NULL,
                pending_expires_finished TEXT NOT NULL, ffqn TEXT NOT NULL, state TEXT NOT NULL, join_set_id TEXT,
                join_set_closing INTEGER, executor_id TEXT, run_id TEXT, result_kind TEXT, PRIMARY KEY (execution_id)) STRICT;
            CREATE TABLE t_delay (execution_id TEXT NOT NULL, join_set_id TEXT NOT NULL, delay_id TEXT NOT NULL,
                expires_at TEXT NOT NULL) STRICT;
        """)
        for run_id, version, variant, value in log:
            connection.execute(
                "INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant) VALUES (?, ?, ?, ?, ?)",
                (run_id, f"{start}.{version}00+00:00", json.dumps(value), version, variant),
            )
        connection.executemany(
            """INSERT INTO t_state (execution_id, next_version, pending_expires_finished, ffqn, state, result_kind)
               VALUES (?, ?, ?, ?, ?, ?)""",
            [
                ("E_1", 3, f"{start}.300+00:00", "a:b/c.run", "Finished", '{"Ok":null}'),
                ("E_1.o:1-x_1", 2, f"{start}.200+00:00", "a:b/d.x", "Finished", '{"Err":"fallible_error"}'),
                ("E_2", 3, "2025-12-01 11:00:00+00:00", "a:b/d.x", "PendingAt", None),
            ],
        )

    def work(engine: Obelisk) -> Any:
        assert Obelisk.recognises(engine.reader.tables)
        revision = engine.revision()
        assert (revision.text, revision.label) == ("metadata 4", "0.31")
        assert "0.37 or earlier" in revision.problem
        assert engine.overview().problems == (revision.problem,)
        assert {section.key for section in engine.sections()} == {"workflows"}
        engine.names()
        assert engine.logs("E_1", None, 5).rows == ()
        assert [run.id for run in engine.relatives("E_1").children] == ["E_1.o:1-x_1"]
        events = engine.events("E_1", None, 10).rows
        assert [(event.type, event.related) for event in events] == [
            ("created", ()),
            ("attempt started", (3,)),
            ("child requested", ()),
            ("finished", (1,)),
        ]
        assert engine.events("E_1", None, 10, frozenset({"finished"})).rows == events[3:]
        assert engine.neighbours("E_1.o:1-x_1") == Neighbours(next="E_2")
        assert engine.histogram(Filter(), 2).parts == ((3, 1), (0, 0))  # all at one instant
        assert engine.usual({"a:b/d.x"}) == {}
        assert [section.key for section in engine.raw("E_1", 2)] == ["t_execution_log", "t_state"]
        for digest in engine.digests("", 10).runs:
            contents = engine.contents(digest.id)
            slots = [engine.run(digest.id).payloads, *(step.payloads for step in engine.steps(digest.id))]
            assert contents.keys() == {
                each.name for slot in slots for each in (slot.input, slot.output, slot.error) if each
            }
            assert contents["run.input"] == digest.input
            assert [mark.position for mark in engine.marks([digest.id])[digest.id]] == [
                str(number) for number in range(digest.events)
            ]
        return (
            {run.id: run for run in every_run(engine, Filter(), 1)},
            engine.run("E_1"),
            engine.steps("E_1"),
            engine.run("E_2"),
            engine.payload("E_1", "run.input"),
            engine.payload("E_1", "run.output"),
        )

    listed, run, steps, retrying, given, returned = ask(path, work)
    assert {run_id: each.status for run_id, each in listed.items()} == {
        "E_1": Status.SUCCEEDED,
        "E_1.o:1-x_1": Status.FAILED,
        "E_2": Status.RETRYING,
    }
    assert listed["E_1"].steps == 1
    assert json.loads(given.data) == [1, "two"]
    assert json.loads(returned.data) == {"Ok": None}
    assert run.duration == timedelta(seconds=0.3)
    assert [attempt.native_id for attempt in run.tries] == ["Run_1"]
    assert [(step.ordinal, step.child, step.status) for step in steps] == [(2, "E_1.o:1-x_1", Status.FAILED)]
    assert steps[0].error.message == "boom"
    assert retrying.tries[0].error.message == "it broke"


def test_other_tables_are_not_obelisks() -> None:
    assert not Obelisk.recognises({})
    assert not Obelisk.recognises({"t_state": {"execution_id": "TEXT"}, "t_execution_log": {"execution_id": "TEXT"}})


def test_a_character_that_two_chunks_share_is_whole_whatever_the_page(
    fresh: Callable[[str], Path], oracle: Callable[[str], Any]
) -> None:
    path, run_id = fresh("shop-early"), oracle("shop-early")["scenarios"]["ok-activity"]
    euro = "€".encode()
    chunks = [
        (1, b"price " + euro[:1]),
        (2, b"other\n"),
        (1, euro[1:2]),
        (1, euro[2:] + b" ok \xff\n"),
        (1, b"end " + euro[:2]),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM t_log WHERE execution_id = ?", (run_id,))
        connection.executemany(
            """INSERT INTO t_log (execution_id, run_id, created_at, stream_type, payload)
               VALUES (?, 'Run_1', '2026-11-22 15:00:00+00:00', ?, ?)""",
            [(run_id, *chunk) for chunk in chunks],
        )
    for size in (1, 2, 100):
        lines: list[Any] = []
        after = None
        while True:
            page = ask(path, lambda engine, after=after, size=size: engine.logs(run_id, after, size))
            lines += page.rows
            if page.next is None:
                break
            after = page.next.at
        text = "".join(line.text for line in lines if line.stream == "stdout")
        assert text == "price € ok \ufffdend \ufffd", size
        assert len(lines) == 5


def test_words_that_are_very_long_are_not_remembered() -> None:
    read: list[object] = []

    @remembered
    def noted(word: Value) -> str:
        read.append(word)
        return "read"

    words: tuple[Value, ...] = ("finished", b"finished", None, "x" * (SHORT + 1))
    assert [noted(word) for word in (*words, *words)] == ["read"] * 8
    assert read == [*words, words[-1]]
