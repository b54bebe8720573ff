"""Every state that a SQLite file can be in: read right, and left as it was."""

import os
import shutil
import socket
import stat
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from traces import trace
from writers import ROWS, make, writing

from runs.errors import (
    DatabaseBusy,
    DatabaseLocked,
    FileMissing,
    NotAFile,
    Unreadable,
)
from runs.sources import copies
from runs.sources.base import Opened, Reader
from runs.sources.sqlite import SqliteSource

COUNT = "SELECT count(*) FROM {schema}notes WHERE text NOT LIKE 'undone%'"
NOBODY = 65534


def counted(reader: Reader) -> tuple[Opened, int]:
    ((count,),) = reader.rows(COUNT)
    assert isinstance(count, int)
    return reader.opened, count


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Called when the folder is as a test wants it: at the end it must be the same, twice read or not."""
    before: list[dict[str, tuple[object, ...]]] = []
    yield lambda: before.append(trace(tmp_path))
    assert before, "the test never said what the folder should stay like"
    assert trace(tmp_path) == before[-1]


def closed_wal(path: Path) -> tuple[Opened, int]:
    make(path, "WAL")
    return Opened.CLOSED, ROWS


def closed_rollback(path: Path) -> tuple[Opened, int]:
    make(path, "DELETE")
    return Opened.CLOSED, ROWS


def killed_wal(path: Path) -> tuple[Opened, int]:
    make(path, "WAL")
    with writing(path) as writer:
        writer.do("INSERT INTO notes (text) VALUES ('only in the -wal')")
    assert {p.name for p in path.parent.iterdir()} == {path.name, f"{path.name}-wal", f"{path.name}-shm"}
    return Opened.LIVE, ROWS + 1


def left_over_wal(path: Path) -> tuple[Opened, int]:
    killed_wal(path)
    Path(f"{path}-shm").unlink()
    return Opened.COPY, ROWS + 1


def empty_wal(path: Path) -> tuple[Opened, int]:
    make(path, "WAL")
    Path(f"{path}-wal").touch()
    return Opened.CLOSED, ROWS


def hot_journal(path: Path) -> tuple[Opened, int]:
    make(path, "DELETE")
    with writing(path) as writer:
        # A cache of ten pages: the change reaches the file long before it is committed.
        writer.do("PRAGMA cache_size=10", "BEGIN", "UPDATE notes SET text = 'undone ' || hex(randomblob(200))")
    assert Path(f"{path}-journal").stat().st_size > 0
    return Opened.COPY, ROWS


def kept_journal(path: Path) -> tuple[Opened, int]:
    make(path, "DELETE")
    with writing(path) as writer:
        writer.do("PRAGMA journal_mode=TRUNCATE", "INSERT INTO notes (text) VALUES ('one more')")
        writer.stop()
    assert Path(f"{path}-journal").stat().st_size == 0
    return Opened.CLOSED, ROWS + 1


STATES = [closed_wal, closed_rollback, killed_wal, left_over_wal, empty_wal, hot_journal, kept_journal]


@pytest.mark.parametrize("state", STATES)
def test_a_file_in_any_state_is_read_whole_and_left_as_it_was(
    state: Callable[[Path], tuple[Opened, int]], tmp_path: Path, untouched: Callable[[], None]
) -> None:
    path = tmp_path / "notes.sqlite"
    expected = state(path)
    untouched()
    source = SqliteSource(path, "notes")
    assert source.read(counted) == expected
    assert source.read(counted) == expected


@pytest.mark.parametrize(
    "name", ["what? #50%25 is.sqlite", "two\nlines.sqlite", "a&mode=rwc.sqlite", "жур нал.db", "x"]
)
@pytest.mark.parametrize("state", [closed_wal, closed_rollback, killed_wal, left_over_wal, hot_journal])
def test_any_name_is_only_a_name(
    name: str, state: Callable[[Path], tuple[Opened, int]], tmp_path: Path, untouched: Callable[[], None]
) -> None:
    path = tmp_path / name
    expected = state(path)
    untouched()
    assert SqliteSource(path, "notes").read(counted) == expected


def test_a_name_that_is_no_text_is_read_or_refused_in_words(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.sqlite"))
    shutil.copy(make(tmp_path / "plain", "WAL"), path)
    assert SqliteSource(path, "notes").read(counted) == (Opened.CLOSED, ROWS)
    killed_wal(tmp_path / "killed" / "plain")
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(f"{tmp_path}/killed/plain{suffix}", f"{path}{suffix}")
    with pytest.raises(Unreadable, match=r"no UTF-8\. Link to it"):
        SqliteSource(path, "notes").read(counted)


@pytest.mark.parametrize("state", STATES)
def test_a_folder_that_may_only_be_read_is_enough(
    state: Callable[[Path], tuple[Opened, int]], tmp_path: Path, untouched: Callable[[], None]
) -> None:
    path = tmp_path / "notes.sqlite"
    expected = state(path)
    for file in tmp_path.iterdir():
        file.chmod(0o444)
    tmp_path.chmod(0o555)
    untouched()
    assert as_nobody(tmp_path, lambda: SqliteSource(path, "notes").read(counted)) == repr(expected)
    tmp_path.chmod(0o755)
    untouched()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_gives_no_file_of_an_engine_to_someone_else(tmp_path: Path, untouched: Callable[[], None]) -> None:
    path = tmp_path / "notes.sqlite"
    killed_wal(path)
    os.chown(path, 1234, 1234)
    untouched()
    assert SqliteSource(path, "notes").read(counted) == (Opened.COPY, ROWS + 1)


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "WAL")
    path.chmod(0o200)
    tmp_path.chmod(0o755)
    assert "NotPermitted" in as_nobody(tmp_path, lambda: SqliteSource(path, "notes").read(counted))
    tmp_path.chmod(0o600)
    assert "NotPermitted" in as_nobody(tmp_path, lambda: SqliteSource(path, "notes").read(counted))
    tmp_path.chmod(0o755)


def as_nobody(folder: Path, work: Callable[[], object]) -> str:
    """What the work returns, or the error it raises, as text: without the rights of root, whom no bits bind."""
    if os.geteuid() != 0:
        return _told(work)
    opened = [parent for parent in folder.parents if not parent.stat().st_mode & stat.S_IXOTH]
    for parent in opened:
        parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    reading, sending = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads that other tests may have left
        child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(sending, _told(work).encode())
        copies._remove_own()  # what an ordinary end of the process would do
        os._exit(0)
    os.close(sending)
    with os.fdopen(reading) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    for parent in opened:
        parent.chmod(parent.stat().st_mode & ~stat.S_IXOTH)
    return text


def _told(work: Callable[[], object]) -> str:
    try:
        return repr(work())
    except Exception as error:
        return repr(error)


def test_an_engine_at_work_is_seen_up_to_its_last_commit(tmp_path: Path, untouched: Callable[[], None]) -> None:
    path = make(tmp_path / "notes.sqlite", "WAL")
    source = SqliteSource(path, "notes")
    with writing(path) as engine:
        engine.do("SELECT count(*) FROM notes")
        assert source.read(counted) == (Opened.LIVE, ROWS)
        engine.do("DELETE FROM notes WHERE id = 1", "BEGIN", "DELETE FROM notes")
        untouched()
        assert source.read(counted) == (Opened.LIVE, ROWS - 1)


def test_an_engine_can_fold_its_wal_in_and_stop_as_soon_as_a_read_is_over(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "WAL")
    source = SqliteSource(path, "notes")
    with writing(path) as engine:
        engine.do("DELETE FROM notes WHERE id = 1")
        assert source.read(counted) == (Opened.LIVE, ROWS - 1)
        engine.stop()
    assert [file.name for file in tmp_path.iterdir()] == ["notes.sqlite"]
    assert source.read(counted) == (Opened.CLOSED, ROWS - 1)


def test_an_engine_that_writes_under_a_blind_read_makes_it_start_again(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "WAL")
    seen: list[tuple[Opened, int]] = []
    with writing(path) as engine:

        def work(reader: Reader) -> tuple[Opened, int]:
            if not seen:
                engine.do("DELETE FROM notes WHERE id > 10")
            seen.append(counted(reader))
            return seen[-1]

        assert SqliteSource(path, "notes").read(work) == (Opened.LIVE, 10)
    assert len(seen) == 2


def test_an_error_caused_by_a_change_under_a_blind_read_is_not_reported(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "WAL")
    calls: list[Opened] = []

    def work(reader: Reader) -> tuple[Opened, int]:
        calls.append(reader.opened)
        if len(calls) == 1:
            with writing(path) as engine:
                engine.do("DELETE FROM notes WHERE id > 10")
            raise KeyError("half of the old, half of the new")
        return counted(reader)

    assert SqliteSource(path, "notes").read(work) == (Opened.LIVE, 10)


def test_a_file_that_changes_under_every_attempt_is_busy(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "WAL")

    def work(reader: Reader) -> None:
        os.utime(path)

    with pytest.raises(DatabaseBusy, match="Try again"):
        SqliteSource(path, "notes").read(work)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_file_replaced_while_it_is_read_is_read_again(journal: str, tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", journal)
    other = make(tmp_path / "other.sqlite", journal)
    with writing(other) as writer:
        writer.do("DELETE FROM notes WHERE id > 10")
        writer.stop()

    def work(reader: Reader) -> tuple[Opened, int]:
        if other.exists():
            other.replace(path)
        return counted(reader)

    assert SqliteSource(path, "notes").read(work) == (Opened.CLOSED, 10)


def test_reading_while_another_process_commits_sees_whole_transactions(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "DELETE")
    source = SqliteSource(path, "notes")
    counts = set()
    with writing(path) as engine:
        for _ in range(30):
            engine.do("BEGIN", "INSERT INTO notes (text) VALUES ('a')", "INSERT INTO notes (text) VALUES ('b')")
            opened, count = source.read(counted)
            assert opened is Opened.LIVE  # its -journal is there
            counts.add(count)
            engine.do("COMMIT")
        engine.stop()
    assert counts == set(range(ROWS, ROWS + 60, 2))
    assert source.read(counted) == (Opened.CLOSED, ROWS + 60)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.sqlite"]


def test_a_locked_file_is_reported_as_locked(tmp_path: Path, untouched: Callable[[], None]) -> None:
    path = make(tmp_path / "notes.sqlite", "DELETE")
    with writing(path) as engine:
        engine.do("BEGIN EXCLUSIVE")
        untouched()
        with pytest.raises(DatabaseLocked, match="Try again in a moment"):
            SqliteSource(path, "notes").read(counted)


def test_a_link_is_followed_to_the_file_and_to_what_lies_beside_it(
    tmp_path: Path, untouched: Callable[[], None]
) -> None:
    expected = left_over_wal(tmp_path / "data" / "notes.sqlite")
    link = tmp_path / "link.sqlite"
    link.symlink_to("data/notes.sqlite")
    untouched()
    assert SqliteSource(link, "notes").read(counted) == expected


def test_a_file_in_a_linked_folder_is_read_with_what_lies_beside_it(
    tmp_path: Path, untouched: Callable[[], None]
) -> None:
    expected = left_over_wal(tmp_path / "data" / "notes.sqlite")
    (tmp_path / "linked").symlink_to("data")
    untouched()
    assert SqliteSource(tmp_path / "linked" / "notes.sqlite", "notes").read(counted) == expected


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)
        listener.bind("socket")
    for name, words in (("pipe", "a named pipe"), ("socket", "a socket"), ("", "a folder")):
        with pytest.raises(NotAFile, match=words):
            SqliteSource(tmp_path / name, "x").read(counted)
    with pytest.raises(NotAFile, match="a device"):
        SqliteSource(Path("/dev/zero"), "x").read(counted)
    with pytest.raises(FileMissing, match="circle"):
        SqliteSource(tmp_path / "circle", "x").read(counted)


@pytest.mark.parametrize("suffix", ["-wal", "-journal", "-shm"])
def test_a_pipe_beside_the_file_is_refused_and_never_waited_for(suffix: str, tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "DELETE")
    os.mkfifo(f"{path}{suffix}")
    with pytest.raises(NotAFile, match="a named pipe"):
        SqliteSource(path, "x").read(counted)


def test_what_was_seen_of_a_file_stays_as_it_was_while_it_is_read_as_it_is(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "DELETE")
    os.utime(path, (1_700_000_000, 1_700_000_000))  # what was written just now has another fingerprint each time
    source = SqliteSource(path, "notes")
    seen = source.seen()
    before = seen.fingerprint(), seen.facts()
    assert before == (source.fingerprint(), source.facts())
    source.path.unlink()
    assert (seen.fingerprint(), seen.facts()) == before
    with pytest.raises(FileMissing):
        seen.read(lambda reader: reader.tables)
    assert (source.seen().fingerprint(), source.seen().facts()) == ("FileMissing", None)
