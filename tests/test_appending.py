"""Appending to a file that an engine may be writing: all of it or nothing, nothing else, and no lock of the engine's lost."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from dbos import run_dbos_database_migrations
from writers import writing

from runs import appending, clock
from runs.appending import Appended, Appender, append, confirmation, plan_by
from runs.errors import (
    AlreadyRetried,
    AppendRefused,
    AppendUnsure,
    DatabaseLocked,
    DiskFull,
    DurascopeError,
    NotAllowed,
    NotEligible,
)
from runs.retry import Insert, Operation, Options, RetryPlan
from runs.sources import writing as writer
from runs.sources.files import look
from runs.sources.sqlite import SqliteSource
from runs.sources.writing import Writing
from runs.statements import readable, taking_back
from tests.bulk import differences, is_sound

Make = Callable[..., Path]
JOURNALS = pytest.mark.parametrize("journal", ["DELETE", "WAL"])
TABLES = ("note", "line", "tick")

# One process that writes as fast as it can until it is told to stop, and says how many commits succeeded.
FULL_SPEED = """
import sqlite3, sys, threading
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
stopped = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
count = 0
print("writing", flush=True)
while not count or not stopped.is_set():
    connection.execute("INSERT INTO tick (text) VALUES ('engine')")
    count += 1
print(count, flush=True)
"""


def confirmed(path: Path, run_id: str = "n1", start: str = "auto") -> tuple[Options, str, datetime]:
    options = Options(start=start)
    plan = SqliteSource(path, "notes").read(lambda reader: plan_by(reader, run_id, options))
    return options, confirmation(plan, look(path).identity), clock.now()


def asked(path: Path) -> str:
    """What the process is told on its standard input."""
    _, plan, moment = confirmed(path)
    options: dict[str, Any] = {"operation": None}
    return json.dumps({"run": "n1", "options": options, "confirmed": plan, "moment": moment.isoformat()})


def retry(path: Path, run_id: str = "n1", start: str = "auto") -> Appended:
    return append(path, run_id, *confirmed(path, run_id, start))


def sql(path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def counts(path: Path, run_id: str = "n1") -> tuple[int, int]:
    """How many notes and lines there are of the run's retries."""
    ((notes,),) = sql(path, f"SELECT count(*) FROM note WHERE copied_from = '{run_id}'")
    ((lines,),) = sql(path, f"SELECT count(*) FROM line WHERE note LIKE '{run_id}.retry-%'")
    return notes, lines


@JOURNALS
def test_it_appends_the_plan_and_changes_nothing_else(notes: Make, tmp_path: Path, journal: str) -> None:
    path = notes(journal)
    shutil.copy(path, tmp_path / "before.sqlite")

    done = retry(path)

    assert (done.run, done.new_run, done.operation, done.readable) == ("n1", "n1.retry-1", "fork", True)
    assert differences(tmp_path / "before.sqlite", path) == {("note", "INSERT"): 1, ("line", "INSERT"): 40}
    assert sql(path, "SELECT status, body, copied_from FROM note WHERE id = 'n1.retry-1'") == [
        ("QUEUED", '{"secret": "4111"}', "n1")
    ]
    assert sql(path, "SELECT text FROM line WHERE note = 'n1.retry-1' AND number = 7") == [("n1.retry-1 line 7",)]
    assert [file.name for file in path.parent.iterdir()] == [path.name], "a closed database is left closed"
    assert is_sound(path)


def test_it_was_appended_before_an_engine_could_take_it_up(notes: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notes("WAL")
    committing: list[datetime] = []
    commit = Writing.commit

    def noted(self: Writing) -> None:
        committing.append(clock.now())
        commit(self)

    monkeypatch.setattr(Writing, "commit", noted)
    options, plan, moment = confirmed(path)
    done = appending._append(path, "n1", options, plan, moment)
    assert moment <= done.at <= committing[0]


def test_a_process_that_is_kept_has_nothing_open_between_two_appends_and_is_replaced_when_it_is_gone(
    notes: Make,
) -> None:
    path = notes("WAL")
    with closing(Appender(path)) as appender:
        appender.append("n1", *confirmed(path, "n1"))
        appender.append("n3", *confirmed(path, "n3"))
        assert appender._process is not None
        opened = Path(f"/proc/{appender._process.pid}/fd")
        if opened.is_dir():
            assert not any(file.readlink().is_relative_to(path.parent) for file in opened.iterdir())
        appender._process.kill()
        appender._process.wait()
        with pytest.raises(NotEligible):
            appender.append("n2", *confirmed(path, "n2"))
        appender.append("n4", *confirmed(path, "n4"))
    assert [counts(path, run_id) for run_id in ("n1", "n3", "n4")] == [(1, 40)] * 3
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_what_is_recorded_of_it_holds_no_body(notes: Make) -> None:
    done = retry(notes())
    assert "4111" not in repr(done)
    assert len(done.rows) == 41
    assert done.rows[0]["table"] == "note"
    assert done.rows[0]["key"] == {"id": "n1.retry-1"}
    assert (done.before["status"], done.after["status"]) == ("ERROR", "QUEUED")


@JOURNALS
def test_the_readable_sql_does_the_same_and_can_be_taken_back(notes: Make, tmp_path: Path, journal: str) -> None:
    path = notes(journal)
    by_hand = tmp_path / "by-hand.sqlite"
    shutil.copy(path, by_hand)
    shutil.copy(path, tmp_path / "before.sqlite")
    plan = SqliteSource(path, "notes").read(lambda reader: plan_by(reader, "n1", Options(start="update")))

    done = retry(path, start="update")
    with closing(sqlite3.connect(by_hand)) as connection:
        connection.executescript(readable(plan))

    assert set(differences(by_hand, path)) <= {("note", "UPDATE")}, "but for the clock"
    columns = "id, status, body, copied_from"
    assert sql(by_hand, f"SELECT {columns} FROM note") == sql(path, f"SELECT {columns} FROM note")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(taking_back(done.rows))
    assert differences(tmp_path / "before.sqlite", path) == {}


@pytest.mark.parametrize("start", ["auto", "update"])
def test_what_was_taken_up_is_not_taken_back(notes: Make, tmp_path: Path, start: str) -> None:
    path = notes()
    done = retry(path, start=start)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE note SET status = 'RUNNING' WHERE id = 'n1.retry-1'")
    shutil.copy(path, tmp_path / "taken-up.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(taking_back(done.rows))
    assert differences(tmp_path / "taken-up.sqlite", path) == {}


def test_sql_that_is_cut_says_so_at_its_beginning() -> None:
    def written(length: int) -> str:
        insert = Insert("tick", {"text": "x" * length})
        return readable(RetryPlan("n1", Operation.FORK, eligible=True, changes=(insert,)))

    assert written(2000).startswith("BEGIN IMMEDIATE;")
    assert written(2001).startswith("-- Only to be read: values longer than 2,000 characters")


@JOURNALS
@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("orphan", "FOREIGN KEY"),
        ("long", "too long"),
        ("missing", "0 rows of line"),
        ("everything", "of note would have been changed, not one"),
    ],
)
def test_a_plan_that_the_database_does_not_take_leaves_no_trace(
    notes: Make, journal: str, start: str, said: str
) -> None:
    path = notes(journal)
    before = path.read_bytes()
    with pytest.raises(AppendRefused, match=said):
        retry(path, start=start)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_trigger_that_writes_elsewhere_is_refused(notes: Make) -> None:
    path = notes()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER sly AFTER INSERT ON note BEGIN DELETE FROM tick; END")
    before = path.read_bytes()
    with pytest.raises(AppendRefused, match="trigger"):
        retry(path)
    assert path.read_bytes() == before


def test_a_trigger_that_writes_more_rows_of_the_same_table_is_refused(notes: Make) -> None:
    path = notes()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER sly AFTER INSERT ON note BEGIN INSERT INTO note VALUES ('sly', 'ERROR', '', 9, NULL); END"
        )
    before = path.read_bytes()
    with pytest.raises(AppendRefused, match="42 rows were changed where the plan has 41"):
        retry(path)
    assert path.read_bytes() == before


def test_what_changed_since_the_plan_is_not_appended(notes: Make) -> None:
    path = notes()
    plan = confirmed(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE note SET status = 'RUNNING' WHERE id = 'n1'")
    with pytest.raises(AppendRefused, match="changed meanwhile"):
        append(path, "n1", *plan)
    assert counts(path) == (0, 0)


def test_a_file_that_was_replaced_by_its_equal_is_not_appended_to(notes: Make, tmp_path: Path) -> None:
    path = notes()
    plan = confirmed(path)
    shutil.copy(path, tmp_path / "equal.sqlite")
    (tmp_path / "equal.sqlite").replace(path)
    with pytest.raises(AppendRefused, match="Another file"):
        append(path, "n1", *plan)
    assert counts(path) == (0, 0)


def test_a_plan_that_was_never_eligible_is_refused_with_its_reason(notes: Make) -> None:
    path = notes()
    with pytest.raises(NotEligible, match="nothing failed"):
        retry(path, "n2")


def test_of_two_at_once_one_wins_and_the_other_gets_that_retry(notes: Make) -> None:
    path = notes()
    plan = confirmed(path)
    answers: list[Appended | DurascopeError] = []

    def one() -> None:
        try:
            answers.append(append(path, "n1", *plan))
        except DurascopeError as problem:
            answers.append(problem)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lost = [answer for answer in answers if isinstance(answer, AlreadyRetried)]
    assert len(lost) == 3
    assert {problem.run for problem in lost} == {"n1.retry-1"}
    assert counts(path) == (1, 40)


@JOURNALS
def test_an_engine_that_writes_at_full_speed_loses_nothing(notes: Make, journal: str) -> None:
    path = notes(journal)
    plans = {run_id: confirmed(path, run_id) for run_id in ("n1", "n3", "n4", "n5")}
    with (
        closing(sqlite3.connect(path)) as held,
        subprocess.Popen(
            [sys.executable, "-c", FULL_SPEED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as engine,
    ):
        held.execute("SELECT 1 FROM tick").fetchall()
        assert engine.stdout is not None
        assert engine.stdout.readline() == "writing\n"
        for run_id, plan in plans.items():
            append(path, run_id, *plan)
        said, _ = engine.communicate("stop\n")
    assert [counts(path, run_id) for run_id in plans] == [(1, 40)] * 4
    assert sql(path, "SELECT count(*) FROM tick") == [(int(said),)]
    assert is_sound(path)


def test_a_lock_that_is_held_is_waited_for_and_then_said(notes: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notes()
    plan = confirmed(path)
    monkeypatch.setenv("NOTES_BUSY", "0.3")
    with writing(path) as engine:
        engine.do("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseLocked):
            append(path, "n1", *plan)
        engine.do("ROLLBACK")
    assert append(path, "n1", *plan).new_run == "n1.retry-1"


def test_a_full_disk_is_said_and_nothing_is_kept(notes: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notes()
    before = path.read_bytes()
    ((pages,),) = sql(path, "PRAGMA page_count")
    monkeypatch.setenv("NOTES_PAGES", str(pages))
    with pytest.raises(DiskFull):
        retry(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


class Paused:
    """An append that waits inside its transaction, just before its commit, until it is let go."""

    def __init__(self, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("NOTES_PAUSE", str(folder))
        self.answer: Appended | DurascopeError | None = None
        plan = confirmed(path)

        def work() -> None:
            try:
                self.answer = append(path, "n1", *plan)
            except DurascopeError as problem:
                self.answer = problem

        self.thread = threading.Thread(target=work)
        self.thread.start()
        while not (folder / "inside").exists():
            assert self.thread.is_alive(), self.answer
            time.sleep(0.005)

    def go(self) -> Appended | DurascopeError | None:
        (self.folder / "go").touch()
        self.thread.join()
        return self.answer


# The trap: a transaction and another look at the file in one process. What runs.appending exists for.
ONE_PROCESS = """
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE; INSERT INTO tick (text) VALUES ('ours')")
open(sys.argv[1], "rb").close()
print("inside", flush=True)
sys.stdin.readline()
try:
    connection.execute("COMMIT")
except apsw.Error as error:
    print(error)
"""


def engine_writes(path: Path, rows: int) -> int:
    """How many of the engine's commits, each of one row, succeed while it waits for a lock at most a moment."""
    count = 0
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0.01)) as engine:
        for _ in range(rows):
            try:
                engine.execute("INSERT INTO tick (text) VALUES (?)", ("x" * 200,))
                count += 1
            except sqlite3.OperationalError:
                continue
    return count


def test_in_one_process_the_engines_commits_would_be_lost(notes: Make) -> None:
    path = notes()
    program = [sys.executable, "-c", ONE_PROCESS, str(path)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        with subprocess.Popen(
            [sys.executable, "-c", FULL_SPEED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as engine:
            assert engine.stdout is not None
            engine.stdout.readline()
            time.sleep(0.3)
            committed = int(engine.communicate("stop\n")[0])
        process.communicate("go\n")
    assert committed > 0, "the engine got into our transaction"
    assert sql(path, "SELECT count(*) FROM tick WHERE text = 'engine'") != [(committed,)]


def test_with_a_process_of_its_own_they_are_not(notes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notes()
    source = SqliteSource(path, "notes")
    paused = Paused(path, tmp_path / "pause", monkeypatch)
    # The very interleaving: this process opens, reads and closes the file while the transaction is open.
    path.read_bytes()
    source.read(lambda reader: reader.rows("SELECT id FROM note"))
    inside = engine_writes(path, 20)
    assert inside == 0, "the lock holds"
    assert isinstance(paused.go(), Appended)
    after = engine_writes(path, 180)
    assert after == 180
    assert sql(path, "SELECT count(*) FROM tick") == [(180,)]
    assert counts(path) == (1, 40)
    assert is_sound(path)


@JOURNALS
def test_killed_at_any_moment_it_appended_all_or_nothing(notes: Make, journal: str) -> None:
    path = notes(journal)
    rounds, dice = 12, random.Random(7)
    for _ in range(rounds):
        request = asked(path)
        environment = {**os.environ, "PYTHONPATH": str(Path(appending.__file__).parent.parent)}
        with subprocess.Popen(
            [*appending.COMMAND, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdin is not None
            process.stdin.write(request)
            process.stdin.close()
            time.sleep(dice.uniform(0.1, 0.3))
            process.send_signal(signal.SIGKILL)
        found = counts(path)
        assert found in ((0, 0), (1, 40))
        assert is_sound(path)
        if found == (1, 40):
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("DELETE FROM line WHERE note = 'n1.retry-1'")
                connection.execute("DELETE FROM note WHERE id = 'n1.retry-1'")
    assert retry(path).new_run == "n1.retry-1"


def test_nothing_is_appended_for_somebody_who_is_gone(
    notes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notes()
    folder = tmp_path / "pause"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(appending.__file__).parent.parent), "NOTES_PAUSE": str(folder)}
    request = asked(path)
    process = subprocess.Popen(
        [*appending.COMMAND, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(request)
    process.stdin.close()
    while not (folder / "inside").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.stdout.close()
    (folder / "go").touch()
    process.wait()
    assert counts(path) == (0, 0)


def test_an_answer_that_does_not_come_is_not_taken_for_one(
    notes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notes()
    plan = confirmed(path)
    monkeypatch.setenv("NOTES_PAUSE", str(tmp_path))
    with pytest.raises(AppendUnsure):
        append(path, "n1", *plan, seconds=1.5)
    assert counts(path) == (0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
@JOURNALS
def test_what_is_made_beside_a_file_belongs_to_its_owner(
    notes: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    path = notes(journal)
    for file in (path.parent, path):
        os.chown(file, 12345, 12345)
    paused = Paused(path, tmp_path / "pause", monkeypatch)
    beside = [file for file in path.parent.iterdir() if file != path]
    assert beside
    assert {file.stat().st_uid for file in beside} == {12345}
    assert isinstance(paused.go(), Appended)
    assert path.stat().st_uid == 12345
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_another_accounts_file_is_refused_in_words(notes: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notes("WAL")
    monkeypatch.setattr(writer.os, "geteuid", lambda: path.stat().st_uid + 4321)
    assert "could not be written by its engine" in appending.unwritable(path)
    with pytest.raises(NotAllowed), writer.writing(path, look(path).identity):
        pass
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_marked_read_only_is_refused_even_to_root(notes: Make) -> None:
    path = notes()
    plan = confirmed(path)
    path.chmod(0o444)
    assert "may not be written" in appending.unwritable(path)
    with pytest.raises(NotAllowed):
        append(path, "n1", *plan)


def test_a_killed_engines_wal_stays_the_engines(notes: Make) -> None:
    path = notes("WAL")
    with writing(path) as engine:
        engine.do("INSERT INTO tick (text) VALUES ('engine')")
        engine.kill()
    before = path.read_bytes()
    assert retry(path).new_run == "n1.retry-1"
    assert path.read_bytes() == before, "nothing was folded in"
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}-shm", f"{path.name}-wal"]
    assert sql(path, "SELECT text FROM tick") == [("engine",)]
    assert counts(path) == (1, 40)


def test_no_file_is_created_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(DurascopeError):
        append(tmp_path / "none.sqlite", "n1", Options(), "0-0", clock.now())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mini-1.13.0", "mini-2.0.0", "mini-2.20.0", "mini-3.0.0", "mini-3.1.0"])
def test_an_engine_that_was_upgraded_since_the_plan_is_met_with_a_new_plan(
    fresh: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    path = fresh(name)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM workflow_status WHERE workflow_uuid LIKE '%-fork'")
    plan = confirmed(path, "fails")
    run_dbos_database_migrations(system_database_url=f"sqlite:///{path}")
    upgraded = Path(shutil.copy(path, tmp_path / "upgraded.sqlite"))
    with pytest.raises(AppendRefused, match=r"changed meanwhile.*Look at the plan again"):
        append(path, "fails", *plan)
    assert differences(upgraded, path) == {}
    assert retry(path, "fails").new_run == "fails.retry-1"
    assert {table for table, _ in differences(upgraded, path)} >= {"workflow_status", "workflow_input"}
    assert is_sound(path)
