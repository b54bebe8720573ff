"""Numbers over whole databases: small files at once, large ones when they are counted, never an answer of another file as it is."""

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from runs import clock, counting
from runs.catalogue import Database
from runs.counting import Counted, counted
from runs.engines.base import Engine
from runs.errors import FileMissing
from runs.filters import Filter
from runs.sources.sqlite import SqliteSource
from tests.serving import eventually


@pytest.fixture
def database(unpacked: Callable[[str], Path], tmp_path: Path) -> Database:
    """One that may be written to."""
    return Database(SqliteSource(at_rest(unpacked("zoo-3.4.0"), tmp_path / "zoo.sqlite"), "zoo"))


def at_rest(original: Path, copy: Path) -> Path:
    """A copy written an hour ago: of one written just now, the next write might not show."""
    shutil.copyfile(original, copy)
    os.utime(copy, (time.time() - 3600,) * 2)
    return copy


@pytest.fixture
def large(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The same, as if it were too large to be counted while somebody waits."""
    monkeypatch.setattr(counting, "SMALL", 0)
    monkeypatch.setattr(counting, "PATIENCE", 0.0)
    return database


class Counter:
    """Counts the runs, notes how often, and goes on only when it may."""

    def __init__(self) -> None:
        self.times = 0
        self._lock = threading.Lock()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, slug: str, engine: Engine) -> int:
        self.may_go_on.wait(20)
        return self.count(slug, engine)

    def count(self, _slug: str, engine: Engine) -> int:
        with self._lock:
            self.times += 1
        return sum(engine.counts(Filter()).values())


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.may_go_on.set()


def ask(database: Database, counter: Counter, *, waits: bool = False) -> Counted[int] | None:
    (answer,) = counted([database], "runs", counter, waits=waits)
    return answer


def add_a_run(database: Database) -> None:
    with closing(sqlite3.connect(database.source.place)) as connection, connection:
        connection.execute(
            "INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at)"
            " VALUES (hex(randomblob(8)), 'SUCCESS', 'more', 1795352850000, 1795352850000)"
        )


def test_a_small_file_is_counted_at_once_and_once_until_it_changes(database: Database, counter: Counter) -> None:
    answers = [ask(database, counter) for _ in range(3)]
    assert [answer and (answer.answer, answer.fresh) for answer in answers] == [(52, True)] * 3
    assert counter.times == 1
    add_a_run(database)
    answer = ask(database, counter)
    assert answer is not None
    assert (answer.answer, answer.fresh, counter.times) == (53, True, 2)


def test_what_moves_with_the_clock_is_counted_again_after_a_while(
    database: Database, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(database, counter)
    later = clock.now() + timedelta(minutes=5)
    monkeypatch.setattr(clock, "now", lambda: later)
    ask(database, counter)
    assert counter.times == 2


def test_a_large_file_is_not_waited_for_and_counted_once_for_all_who_ask(large: Database, counter: Counter) -> None:
    counter.may_go_on.clear()
    assert [ask(large, counter) for _ in range(4)] == [None] * 4
    counter.may_go_on.set()
    assert eventually(lambda: ask(large, counter) is not None)
    answer = ask(large, counter)
    assert answer is not None
    assert (answer.answer, answer.fresh, counter.times) == (52, True, 1)


def test_a_large_file_that_changed_shows_its_last_answer_as_such_until_it_is_counted_again(
    large: Database, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "SELDOM", 0)
    monkeypatch.setattr(counting, "EVERY", 0.01)
    assert eventually(lambda: ask(large, counter) is not None)
    add_a_run(large)
    counter.may_go_on.clear()
    old = ask(large, counter)
    assert old is not None
    assert (old.answer, old.fresh) == (52, False)
    counter.may_go_on.set()

    def is_new() -> bool:
        answer = ask(large, counter)
        return answer is not None and (answer.answer, answer.fresh) == (53, True)

    assert eventually(is_new)


def test_what_was_begun_before_a_large_file_changed_is_not_of_the_file_as_it_is(
    large: Database, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_read = threading.Event()

    def read_and_wait(slug: str, engine: Engine) -> int:
        number = counter.count(slug, engine)
        has_read.set()
        counter.may_go_on.wait(20)
        return number

    counter.may_go_on.clear()
    with closing(sqlite3.connect(large.source.place)) as engine_s:
        engine_s.execute("PRAGMA journal_mode = WAL")
        engine_s.execute("CREATE TABLE filler (text)")  # what is in a -wal is read beside an engine that writes
        assert counted([large], "runs", read_and_wait) == (None,)
        assert has_read.wait(20)
        add_a_run(large)
        monkeypatch.setattr(counting, "PATIENCE", 20.0)
        monkeypatch.setattr(counting, "wait", lambda *given: (counter.may_go_on.set(), wait(*given)))
        (answer,) = counted([large], "runs", read_and_wait)
    assert answer is not None
    assert (answer.answer, answer.fresh) == (52, False)


def test_a_large_file_that_changes_all_the_time_is_not_counted_all_the_time(
    large: Database, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "SELDOM", 10**9)
    assert eventually(lambda: ask(large, counter) is not None)
    for _ in range(5):
        add_a_run(large)
        answer = ask(large, counter)
        assert answer is not None
        assert (answer.answer, answer.fresh) == (52, False)
        time.sleep(0.02)
    assert counter.times == 1
    answer = ask(large, counter, waits=True)
    assert answer is not None
    assert (answer.answer, answer.fresh) == (57, True)


def test_a_large_file_is_counted_more_often_where_an_engine_can_write_meanwhile(
    large: Database, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "EVERY", 0.01)
    monkeypatch.setattr(counting, "RARELY", 0)
    monkeypatch.setattr(counting, "SELDOM", 10**9)
    assert eventually(lambda: ask(large, counter) is not None)
    with closing(sqlite3.connect(large.source.place)) as engine_s:
        add_a_run(large)
        time.sleep(0.05)
        answer = ask(large, counter)
        assert answer is not None
        assert (answer.answer, answer.fresh, counter.times) == (52, False, 1)
        engine_s.execute("PRAGMA journal_mode = WAL")
        engine_s.execute("CREATE TABLE filler (text)")

        def is_new() -> bool:
            answer = ask(large, counter)
            return answer is not None and (answer.answer, answer.fresh) == (53, True)

        assert eventually(is_new)


def test_a_small_file_that_changes_all_the_time_is_not_counted_for_each_of_its_pages(
    database: Database, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "EVERY", 10**9)
    found = []
    for _ in range(counting.BURST + 3):
        answer = ask(database, counter)
        assert answer is not None
        found.append((answer.answer, answer.fresh))
        add_a_run(database)
    assert found == [*((52 + n, True) for n in range(counting.BURST)), *[(51 + counting.BURST, False)] * 3]
    assert counter.times == counting.BURST
    answer = ask(database, counter, waits=True)
    assert answer is not None
    assert (answer.answer, answer.fresh) == (55 + counting.BURST, True)
    add_a_run(database)
    monkeypatch.setattr(counting, "EVERY", 0.01)

    def is_new() -> bool:
        answer = ask(database, counter)
        return answer is not None and (answer.answer, answer.fresh) == (56 + counting.BURST, True)

    assert eventually(is_new)


def test_an_error_is_said_and_not_kept(tmp_path: Path, unpacked: Callable[[str], Path], counter: Counter) -> None:
    database = Database(SqliteSource(tmp_path / "later.sqlite", "later"))
    answer = ask(database, counter)
    assert answer is not None
    assert isinstance(answer.answer, FileMissing)
    at_rest(unpacked("zoo-3.4.0"), tmp_path / "later.sqlite")
    answer = ask(database, counter)
    assert answer is not None
    assert answer.answer == 52


def test_of_very_many_small_files_the_first_are_waited_for(
    unpacked: Callable[[str], Path], tmp_path: Path, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURASCOPE_NOW", "2026-11-22T15:30:00Z")  # counts stay true for a quarter of a minute
    monkeypatch.setattr(counting, "AT_ONCE", 3)
    monkeypatch.setattr(counting, "PATIENCE", 0.0)
    databases = []
    for number in range(8):
        path = at_rest(unpacked("mini-3.4.0"), tmp_path / f"{number}.sqlite")
        databases.append(Database(SqliteSource(path, str(number))))

    def count(slug: str, engine: Engine) -> int:
        if threading.current_thread().name.startswith("counting"):
            counter.may_go_on.wait(20)
        return counter.count(slug, engine)

    counter.may_go_on.clear()
    first, second = counted(databases, "runs", count), counted(databases, "runs", count)
    assert [answer and answer.answer for answer in first] == [6, 6, 6, *[None] * 5]
    assert second == first, "what is under way is counted once more by whoever asks"
    counter.may_go_on.set()
    assert eventually(lambda: all(answer and answer.answer == 6 for answer in counted(databases, "runs", count)))
    assert counter.times == 8


def test_no_more_answers_are_kept_than_there_is_room_for(
    database: Database, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "KEPT", 4)
    for question in range(10):
        counted([database], question, counter)
    counted([database], 9, counter)
    assert counter.times == 10
    counted([database], 0, counter)
    assert counter.times == 11


def test_databases_that_are_read_at_once_are_read_one_after_the_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "QUICK", 60.0)
    readers = counting.read_each([database] * 6, lambda _slug, _engine: threading.current_thread())
    assert set(readers) == {threading.current_thread()}


def test_after_one_that_takes_long_some_are_read_together(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "QUICK", 0.0)
    together = threading.Barrier(counting.READ_TOGETHER)
    reached = []

    def read(_slug: str, _engine: Engine) -> int:
        reached.append(threading.current_thread())
        return 0 if reached[-1] is threading.main_thread() else together.wait(20)

    first, *rest = counting.read_each([database] * (1 + counting.READ_TOGETHER), read)
    assert first == 0
    assert sorted(map(int, rest)) == list(range(counting.READ_TOGETHER))  # type: ignore[arg-type]
