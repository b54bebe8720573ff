"""Comparisons as pages and the command get them: at once, or by a process that may be killed, cancelled and asked for twice."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from comparisons import database, quietly

from runs import comparing
from runs.catalogue import Database
from runs.compare import making, store, tasks
from runs.compare.records import Options, Presence, Progress, Relation, Tolerance
from runs.compare.store import Kept, PairFilter
from runs.errors import BadFilter, FileMissing, UnknownSchema
from tests.benchmarks.databases import go_on, multiply

Unpacked = Callable[[str], Path]
PLAIN = Options()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of comparisons, in a state of this test."""
    monkeypatch.setenv("DURASCOPE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(comparing, "_woken", {})
    yield store.folder()
    for process in tasks._started:
        process.wait(30)


@pytest.fixture
def large(unpacked: Unpacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Database, Database]:
    """Two files that are compared in the background: B went on in 20 of 2,000 runs."""
    monkeypatch.setattr(making, "SMALL", 1)
    a = multiply(unpacked("mini-3.4.0"), tmp_path / "a.sqlite", 2000)
    b = tmp_path / "b.sqlite"
    b.write_bytes(a.read_bytes())
    assert go_on(b, 0.01) == 20
    return database(a), database(b)


def until(ask: Callable[[], Kept | Progress], seconds: float = 60) -> Kept | Progress:
    """What is found at its end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = ask()
        if isinstance(found, Kept) or found.cancelled or found.problem:
            return found
        time.sleep(0.05)
    raise AssertionError("it never ended")


def pair(fresh: Unpacked) -> tuple[Database, Database]:
    return database(fresh("shop")), database(fresh("shop-fork"))


def test_small_ones_are_compared_at_once_and_kept(fresh: Unpacked) -> None:
    a, b = pair(fresh)
    first, second = comparing.find(a, b, PLAIN), comparing.find(a, b, PLAIN)
    assert isinstance(first, Kept)
    assert isinstance(second, Kept)
    assert first.path == second.path
    assert first.comparison == second.comparison
    assert first.comparison.relation is Relation.FORKED
    assert not first.path.stat().st_mode & 0o077


def test_pairs_and_lone_runs_are_paged_by_number_and_count_as_the_summary_says(fresh: Unpacked) -> None:
    kept = comparing.compare_now(*pair(fresh), PLAIN, quietly)
    counts = kept.comparison.counts
    seen, after = [], 0
    while page := kept.pairs(PairFilter(), after, 100):
        seen += page
        after = page[-1].number
    assert len({each.number for each in seen}) == len(seen) == counts.matched == kept.count_pairs(PairFilter())
    assert [each.created_at for each in seen] == sorted((each.created_at for each in seen), reverse=True)
    for verdict, count in counts.verdicts.items():
        where = PairFilter(verdict=verdict)
        assert kept.count_pairs(where) == count == len(kept.pairs(where, 0, 10_000)), verdict
        assert kept.facets()["verdict"].get(verdict, 0) == count
    one = next(each for each in seen if each.a_run != each.b_run)
    where = PairFilter(workflow=one.workflow, rung=one.rung, a_status=one.a_status, b_status=one.b_status, q=one.b_run)
    assert one in kept.pairs(where, 0, 10)
    assert len(kept.lone("a", Presence.ONLY, 0, 10_000)) == counts.only_a
    assert len(kept.lone("b", Presence.OUTSIDE, 0, 10_000)) == counts.outside_b


def test_other_options_are_another_comparison(fresh: Unpacked) -> None:
    a, b = pair(fresh)
    other = Options("id", tolerance=Tolerance(ratio=1.0))
    found = comparing.compare_now(a, b, other, quietly)
    assert found.path != comparing.compare_now(a, b, PLAIN, quietly).path
    assert found.comparison.options == other


def test_what_changed_since_is_shown_for_a_while_and_said(fresh: Unpacked, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fresh("zoo-3.4.0")
    a, b = database(path), database(fresh("mini-3.4.0"))
    first = comparing.find(a, b, PLAIN)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE workflow_status SET priority = 7 WHERE workflow_uuid = 'wf-parent'")
    again = comparing.find(a, b, PLAIN)
    assert isinstance(first, Kept)
    assert isinstance(again, Kept)
    assert (again.path, again.changed) == (first.path, True)
    comparing.forget(a, b, PLAIN)
    anew = comparing.find(a, b, PLAIN)
    assert isinstance(anew, Kept)
    assert (anew.path == first.path, anew.changed) == (False, False)


def test_what_can_not_be_compared_says_why(fresh: Unpacked, tmp_path: Path) -> None:
    shop = database(fresh("shop"))
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as connection, connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(UnknownSchema):
        comparing.find(shop, database(tmp_path / "other.sqlite"), PLAIN)
    with pytest.raises(FileMissing):
        comparing.compare_now(database(tmp_path / "gone.sqlite"), shop, PLAIN, quietly)
    with pytest.raises(BadFilter):
        comparing.compare_now(shop, database(fresh("shop-staging")), Options("path", "no path"), quietly)


def test_large_ones_are_compared_by_a_process_of_their_own(large: tuple[Database, Database], folder: Path) -> None:
    first = comparing.find(*large, PLAIN)
    assert isinstance(first, Progress)
    kept = until(lambda: comparing.find(*large, PLAIN))
    assert isinstance(kept, Kept)
    found = kept.comparison
    assert (found.relation, found.b_lead.went_on, found.b_lead.events) == (Relation.B_EXTENDS_A, 20, 20)
    here = comparing.compare_now(*large, Options("id"), quietly).comparison
    assert here.counts == found.counts
    assert sum(path.suffix == ".reading" for path in folder.iterdir()) == 2  # by two processes, and kept
    assert tasks.requests(folder) == []


def test_two_who_ask_start_one(large: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(tasks, "start", lambda _folder, key: started.append(key))
    comparing.find(*large, PLAIN)
    comparing.find(*large, PLAIN)
    assert len(started) == 1


def test_one_that_was_killed_goes_on_when_it_is_asked_for_again(
    large: tuple[Database, Database], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing.find(*large, PLAIN)
    key = making.key(*large, PLAIN)
    deadline = time.monotonic() + 30
    while not tasks.worked_on(folder, key) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(tasks._started[-1].pid, signal.SIGKILL)
    tasks._started[-1].wait()
    assert tasks.asked(folder, key)
    monkeypatch.setattr(comparing, "WAKE_AGAIN", 0.2)
    assert isinstance(until(lambda: comparing.find(*large, PLAIN)), Kept)


def test_one_that_always_ends_its_process_is_given_up(large: tuple[Database, Database], folder: Path) -> None:
    key = making.key(*large, PLAIN)
    tasks.ask(folder, key, *large, PLAIN)
    (folder / f"{key}{tasks.STARTS}").write_bytes(b"." * tasks.MOST_STARTS)
    assert tasks.make(folder, key) == "failed"
    said = comparing.find(*large, PLAIN)
    assert isinstance(said, Progress)
    assert "ended 3 times" in said.problem
    comparing.forget(*large, PLAIN)
    assert isinstance(until(lambda: comparing.find(*large, PLAIN)), Kept)


def test_one_that_is_cancelled_stops_for_everybody(
    large: tuple[Database, Database], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = making.key(*large, PLAIN)
    tasks.ask(folder, key, *large, PLAIN)
    (folder / f"{key}{tasks.CANCEL}").touch()
    assert tasks.make(folder, key) == "cancelled"
    found = comparing.find(*large, PLAIN)
    assert isinstance(found, Progress)
    assert found.cancelled
    monkeypatch.setattr(tasks, "start", lambda _folder, _key: None)
    comparing.forget(*large, PLAIN)
    comparing.find(*large, PLAIN)
    comparing.cancel(*large, PLAIN)
    again = comparing.find(*large, PLAIN)
    assert isinstance(again, Progress)
    assert again.cancelled


def test_a_problem_of_the_process_is_told(large: tuple[Database, Database]) -> None:
    a, b = large
    comparing.find(a, b, PLAIN)
    Path(b.source.place).write_bytes(b"no database" * 100)
    found = until(lambda: comparing.find(a, b, PLAIN))
    assert isinstance(found, Kept) or "SQLite" in found.problem


@pytest.mark.live
def test_where_our_state_is_kept_the_jobs_process_compares(
    large: tuple[Database, Database], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runs.state import place

    place.connect(place.databases(state))
    monkeypatch.setattr(tasks, "start", lambda _folder, _key: pytest.fail("not by a process of its own"))
    assert isinstance(until(lambda: comparing.find(*large, PLAIN)), Kept)
    with closing(sqlite3.connect(state / "durascope-jobs.sqlite")) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM workflow_status")]
    assert names == ["make_comparison"]


def test_the_oldest_go_where_there_are_too_many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        path = folder / f"{number}.comparison"
        path.write_bytes(b"x" * 100)
        os.utime(path, (number, number))
    monkeypatch.setattr(store, "MOST_FILES", 4)
    store.prune(folder)
    assert sorted(path.stem for path in folder.iterdir()) == ["1", "2", "3", "4"]
    monkeypatch.setattr(store, "MOST_BYTES", 250)
    store.prune(folder)
    assert sorted(path.stem for path in folder.iterdir()) == ["3", "4"]


def test_without_a_state_that_can_be_written_a_folder_of_this_account_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DURASCOPE_STATE", str(tmp_path / "file" / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = store.folder()
    assert found.parent == tmp_path
    assert found.stat().st_mode & 0o777 == 0o700
    found.rmdir()
    found.symlink_to(tmp_path)
    with pytest.raises(Exception, match="somebody else"):
        store.folder()
