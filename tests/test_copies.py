"""Private copies: made once, private, gone afterwards, and never a danger to other files."""

import os
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from writers import ROWS, make, writing

from runs.errors import Unreadable
from runs.sources import copies
from runs.sources.base import Opened, Reader
from runs.sources.sqlite import SqliteSource

ROOT = Path(__file__).parent.parent
COUNT = "SELECT count(*) FROM {schema}notes WHERE text NOT LIKE 'undone%'"
SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(copies, "_folders", {})
    monkeypatch.setattr(copies, "_made", {})


def left_over(path: Path) -> SqliteSource:
    make(path, "WAL")
    with writing(path) as engine:
        engine.do("INSERT INTO notes (text) VALUES ('only in the -wal')")
    Path(f"{path}-shm").unlink()
    return SqliteSource(path, "notes")


def unfinished(path: Path) -> SqliteSource:
    make(path, "DELETE")
    with writing(path) as engine:
        engine.do("PRAGMA cache_size=10", "BEGIN", "UPDATE notes SET text = 'undone ' || hex(randomblob(200))")
    return SqliteSource(path, "notes")


def counted(reader: Reader) -> tuple[Opened, int]:
    ((count,),) = reader.rows(COUNT)
    assert isinstance(count, int)
    return reader.opened, count


def made(tmp_path: Path) -> list[Path]:
    return [file for file in (tmp_path / "temporary").rglob("*") if file.is_file()]


def test_a_copy_is_made_once_for_a_state_and_again_when_the_file_changed(tmp_path: Path) -> None:
    source = left_over(tmp_path / "data" / "notes.sqlite")
    assert source.read(counted) == (Opened.COPY, ROWS + 1)
    (copy,) = made(tmp_path)
    first = copy.stat()
    assert source.read(counted) == (Opened.COPY, ROWS + 1)
    assert made(tmp_path) == [copy]
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)

    wal = Path(f"{source.path}-wal")
    wal.write_bytes(wal.read_bytes()[:40])  # a torn last transaction
    assert source.read(counted) == (Opened.COPY, ROWS)
    assert len(made(tmp_path)) == 1
    assert made(tmp_path) != [copy]


def test_a_copy_is_for_this_account_alone(tmp_path: Path) -> None:
    left_over(tmp_path / "data" / "notes.sqlite").read(counted)
    (folder,) = (tmp_path / "temporary").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_copy_in_use_may_be_replaced_under_its_reader(tmp_path: Path) -> None:
    source = left_over(tmp_path / "data" / "notes.sqlite")

    def work(reader: Reader) -> tuple[Opened, int]:
        before = counted(reader)
        os.utime(source.path)
        assert source.read(counted) == before
        return counted(reader)

    assert source.read(work) == (Opened.COPY, ROWS + 1)


def test_copies_go_when_the_process_ends_and_those_of_killed_ones_when_the_next_begins(tmp_path: Path) -> None:
    source = left_over(tmp_path / "data" / "notes.sqlite")
    program = (
        "import os, sys; from pathlib import Path; from runs.sources.sqlite import SqliteSource;"
        f"SqliteSource(Path({str(source.path)!r}), 'x').read(lambda r: r.rows({COUNT!r}));"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, text=True)
    assert ended.returncode == 0
    assert list((tmp_path / "temporary").iterdir()) == []

    killed = subprocess.run([sys.executable, "-c", program + "os.kill(os.getpid(), 9)"], cwd=ROOT, env=environment)
    assert killed.returncode == -9
    assert len(made(tmp_path)) == 1
    (stale,) = (tmp_path / "temporary").iterdir()
    source.read(counted)
    assert not stale.exists()
    assert len(made(tmp_path)) == 1


def test_no_room_for_a_copy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = left_over(tmp_path / "data" / "notes.sqlite")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(Unreadable, match=r"private copy.*TMPDIR"):
        source.read(counted)


@pytest.mark.parametrize("exists", [True, False])
def test_a_journal_that_names_another_file_never_removes_it(exists: bool, tmp_path: Path) -> None:
    """SQLite ends the rollback of a transaction over several files by deleting the file that ties them together."""
    source = unfinished(tmp_path / "data" / "notes.sqlite")
    victim = tmp_path / "precious"
    if exists:
        victim.write_text("not a journal at all")
    name = os.fsencode(victim)
    journal = Path(f"{source.path}-journal")
    locking_page = 2**30 // 4096 + 1
    trailer = struct.pack(">I", locking_page) + name + struct.pack(">II", len(name), sum(name)) + SUPER_JOURNAL
    with journal.open("ab") as file:
        file.write(bytes(-journal.stat().st_size % 512) + trailer)
    expected = ROWS if exists else sqlites_own_answer(source.path, tmp_path / "own")
    assert source.read(counted) == (Opened.COPY, expected)
    assert victim.exists() == exists


def sqlites_own_answer(path: Path, folder: Path) -> int:
    """What SQLite itself makes of a copy of the file and its -journal."""
    shutil.copytree(path.parent, folder)
    connection = sqlite3.connect(folder / path.name)
    ((count,),) = connection.execute(COUNT.replace("{schema}", "")).fetchall()
    connection.close()
    assert isinstance(count, int)
    return count
