"""Files that lie about what they are, and files that are taken away, locked or not ours while they are read."""

import os
import random
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from django.test import Client
from test_sources import NOBODY, STATES, as_nobody, counted, killed_wal
from traces import trace
from walking import addresses, client, through
from writers import ROWS, make, writing

from runs.catalogue import Database, served
from runs.engines.base import Engine
from runs.errors import Damaged, DatabaseBusy, DurascopeError, FileMissing, NotSQLite, UnknownSchema, Unreadable
from runs.filters import Filter
from runs.sources import opening
from runs.sources.base import Opened, Reader
from runs.sources.sqlite import SqliteSource

Unpacked = Callable[[str], Path]
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
MINI, SHOP = "mini-3.4.0", "shop-early"


@pytest.fixture(autouse=True)
def _as_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_QUERY_SECONDS", "5")


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Client]]:
    """``pages(x=path)``: those files are served in this process, and a client of their pages."""

    def serve(**databases: Path) -> Client:
        monkeypatch.setenv("DURASCOPE_PATHS", "\n".join(f"{slug}={path}" for slug, path in databases.items()))
        served.cache_clear()
        return client()

    yield serve
    served.cache_clear()


def asked(path: Path, work: Callable[[Engine], object] = lambda engine: engine.runs(Filter(), None, 5)) -> object:
    return Database(SqliteSource(path, "x")).read(work)


def change(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


# What is no database


def test_each_kind_of_file_that_is_none_has_its_words_on_every_page(
    pages: Callable[..., Client], unpacked: Unpacked, tmp_path: Path
) -> None:
    chance = random.Random(7)
    size = unpacked(MINI).stat().st_size
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(unpacked(MINI))
    (tmp_path / "nowhere").symlink_to("elsewhere")
    for name, content in (
        ("empty", b""),
        ("text", b"id,status\n1,SUCCESS\n" * 100),
        ("encrypted", chance.randbytes(size)),
        ("half", b"SQLite format 3\x00" + chance.randbytes(size - 16)),
    ):
        (tmp_path / name).write_bytes(content)
    words = {
        "empty": "The file is empty", "text": "begins with 69 64", "encrypted": "an encrypted one must be decrypted",
        "half": "", "pipe": "a named pipe", "device": "a device", "gone": "There is nothing at", "nowhere": "nothing at",
    }  # fmt: skip
    places = {name: tmp_path / name for name in (*words, "link")} | {"device": Path("/dev/zero")}
    get = pages(**places)
    fleet = get.get("/").content.decode()
    for name, said in words.items():
        assert f"/db/{name}/" in fleet
        for address in (f"/db/{name}/", f"/db/{name}/runs/", f"/db/{name}/runs/x/", f"/api/v1/databases/{name}/runs/"):
            answer = get.get(address)
            # A database's own page, and lists, say it in their place; what asks for more has nothing to show.
            own = address in (f"/db/{name}/", f"/db/{name}/runs/")
            assert answer.status_code == (200 if own else 503), address
            assert said in answer.content.decode(), (name, address)
    assert get.get("/db/link/runs/").status_code == 200


@pytest.mark.parametrize(("name", "kept"), [(MINI, 3_000), (MINI, 0.5), (SHOP, 3_000), (SHOP, 0.5)])
def test_of_a_file_whose_end_was_cut_off_it_is_said(name: str, kept: float, fresh: Unpacked) -> None:
    path = fresh(name)
    whole = path.stat().st_size
    os.truncate(path, round(kept * whole) if kept < 1 else int(kept))
    with pytest.raises(Damaged, match=rf"Only {path.stat().st_size:,} of its {whole:,} bytes are there"):
        Database(SqliteSource(path, "x")).read(lambda engine: through(engine, random.Random(1)))


def test_of_a_damaged_file_that_is_whole_no_end_is_missed(fresh: Unpacked) -> None:
    path = fresh(MINI)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(Damaged, match="SQLite says") as raised:
        Database(SqliteSource(path, "x")).read(lambda engine: through(engine, random.Random(1)))
    assert "bytes are there" not in str(raised.value)


def test_a_file_encrypted_whole_is_called_no_database(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(random.Random(1).randbytes(40 * 4096))
    with pytest.raises(NotSQLite, match="encrypted"):
        asked(path)


# A schema that lies

LIES = {
    "a view": "CREATE VIEW {0} AS SELECT * FROM kept",
    "a view that never ends": f"CREATE VIEW {{0}} AS {ENDLESS}",
    "a virtual table": "CREATE VIRTUAL TABLE {0} USING fts5(workflow_uuid, status, execution_id, ffqn)",
    "an r-tree": "CREATE VIRTUAL TABLE {0} USING rtree(workflow_uuid, a, b)",
    "a view that is listed as a table": (
        f"CREATE VIEW {{0}} AS {ENDLESS}; PRAGMA writable_schema=1; "
        "UPDATE sqlite_master SET type = 'table', rootpage = 3 WHERE name = '{0}'"
    ),
    "a table whose definition is a SELECT": (
        "CREATE TABLE {0} (x); PRAGMA writable_schema=1; "
        "UPDATE sqlite_master SET sql = 'SELECT 1' WHERE name = '{0}'"
    ),
    "a table at the page of another": (
        "CREATE TABLE {0} (workflow_uuid, status); PRAGMA writable_schema=1; UPDATE sqlite_master SET rootpage = 1 "
        "WHERE name = '{0}'"
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "table"), [(MINI, "workflow_status"), (MINI, "notifications"), (SHOP, "t_state"), (SHOP, "t_log")]
)
@pytest.mark.parametrize("lie", LIES)
def test_what_is_no_table_of_the_engine_is_never_run(name: str, table: str, lie: str, fresh: Unpacked) -> None:
    path = fresh(name)
    change(path, f"ALTER TABLE {table} RENAME TO kept; {LIES[lie].format(table)}")
    before = trace(path.parent)
    with suppress(Unreadable):
        asked(path, lambda engine: through(engine, random.Random(1)))
    assert trace(path.parent) == before


@pytest.mark.parametrize(("name", "table"), [(MINI, "workflow_status"), (SHOP, "t_state")])
def test_a_view_in_place_of_the_runs_is_an_unknown_schema(name: str, table: str, fresh: Unpacked) -> None:
    path = fresh(name)
    change(path, f"ALTER TABLE {table} RENAME TO kept; CREATE VIEW {table} AS SELECT * FROM kept")
    with pytest.raises(UnknownSchema, match=r"Tables: .*kept"):
        asked(path)


def test_triggers_and_functions_in_a_schema_do_nothing(fresh: Unpacked) -> None:
    path = fresh(MINI)
    change(
        path,
        """CREATE TABLE witness (x);
        CREATE TRIGGER a AFTER INSERT ON workflow_status BEGIN INSERT INTO witness VALUES (1); END;
        CREATE TRIGGER b AFTER UPDATE ON workflow_status BEGIN SELECT load_extension('x'); END;
        CREATE INDEX costly ON workflow_status (hex(zeroblob(length(status) * 1000)));""",
    )
    before = trace(path.parent)
    assert asked(path, lambda engine: through(engine, random.Random(1)))
    assert asked(path, lambda engine: engine.reader.rows("SELECT count(*) FROM {schema}witness")) == [(0,)]
    assert trace(path.parent) == before


def test_ten_thousand_tables_of_others_are_in_nobodys_way(fresh: Unpacked) -> None:
    path = fresh(MINI)
    change(
        path,
        """PRAGMA writable_schema=1; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
        INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql)
        SELECT 'table', 'other_' || i, 'other_' || i, 3, 'CREATE TABLE other_' || i || ' (a)' FROM n""",
    )
    assert asked(path)


def columns(path: Path, tables: tuple[str, ...]) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return [
            (table, column)
            for table in tables
            for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        ]


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        (MINI, ("workflow_status", "operation_outputs", "workflow_input", "streams", "queues", "workflow_schedules")),
        (SHOP, ("t_state", "t_execution_log", "t_log", "t_delay")),
    ],
)
def test_a_column_that_is_missing_is_named_or_done_without(
    name: str, tables: tuple[str, ...], fresh: Unpacked, tmp_path: Path
) -> None:
    path = fresh(name)
    refused: dict[tuple[str, str], str] = {}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        for table, column in columns(path, tables):
            connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO elsewhere")
            try:
                said = asked(path, lambda engine: (engine.overview(), engine.sections(), every(engine)))
            except DurascopeError as error:
                refused[table, column] = str(error)
            else:
                assert said
            connection.execute(f"ALTER TABLE {table} RENAME COLUMN elsewhere TO {column}")
    assert len(refused) > 3
    for (table, column), words in refused.items():
        assert column in words or table in words, (table, column)


def every(engine: Engine) -> object:
    """A run with its steps, its history and what else there is."""
    run_id = engine.runs(Filter(), None, 1).rows[0].id
    return engine.run(run_id), engine.steps(run_id), engine.events(run_id, None, 50), engine.extras(run_id)


@pytest.mark.parametrize("name", [MINI, "go-1.8.0", SHOP])
def test_columns_and_tables_that_nobody_knows_change_nothing(name: str, fresh: Unpacked) -> None:
    path = fresh(name)
    before = asked(path, every)
    with closing(sqlite3.connect(path)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if not table.startswith("sqlite_"):
                connection.execute(f'ALTER TABLE {table} ADD COLUMN "new ""one" TEXT DEFAULT \'<b>\'')
        connection.execute("CREATE TABLE of_tomorrow (a)")
    assert asked(path, every) == before


# Files that are taken away


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_file_deleted_while_it_is_read_is_missing(journal: str, tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", journal)
    seen: list[int] = []

    def work(reader: Reader) -> None:
        path.unlink(missing_ok=True)
        seen.append(counted(reader)[1])

    with pytest.raises(FileMissing, match=r"notes\.sqlite"):
        SqliteSource(path, "notes").read(work)
    assert seen == [ROWS], "the snapshot was whole to its end"
    assert not list(tmp_path.iterdir())


def test_a_wal_deleted_while_it_is_read_stays_whole_to_the_end_of_the_read(tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    killed_wal(path)
    source = SqliteSource(path, "notes")

    def work(reader: Reader) -> tuple[Opened, int]:
        Path(f"{path}-wal").unlink()
        return counted(reader)

    assert source.read(work) == (Opened.LIVE, ROWS + 1)
    assert source.read(counted) == (Opened.LIVE, ROWS), "what was only in the -wal is gone"
    assert {file.name for file in tmp_path.iterdir()} == {"notes.sqlite", "notes.sqlite-shm"}


def test_a_file_that_comes_and_goes_is_read_whole_or_missing(tmp_path: Path) -> None:
    path, away, over = make(tmp_path / "notes.sqlite", "DELETE"), tmp_path / "away", threading.Event()

    def move() -> None:
        while not over.is_set():
            path.rename(away)
            over.wait(0.0005)
            away.rename(path)
            over.wait(0.0005)

    def ask() -> object:
        try:
            return SqliteSource(path, "notes").read(counted)[1]
        except Unreadable as error:
            return type(error)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        answers = {ask() for _ in range(60)}
    finally:
        over.set()
        mover.join()
    assert answers <= {ROWS, FileMissing, Unreadable, DatabaseBusy}
    assert answers & {ROWS, FileMissing}
    assert [file.name for file in tmp_path.iterdir()] == ["notes.sqlite"]


@pytest.mark.parametrize("gone", [(), ("-wal",), ("-shm",), ("-wal", "-shm"), ("",), ("", "-wal"), ("", "-shm")])
def test_whichever_files_of_a_killed_engine_are_gone_none_is_made_again(gone: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "notes.sqlite"
    killed_wal(path)
    source = SqliteSource(path, "notes")
    assert source.read(counted)[1] == ROWS + 1
    for suffix in gone:
        Path(f"{path}{suffix}").unlink()
    before = trace(tmp_path)
    if "" in gone:
        with pytest.raises(FileMissing):
            source.read(counted)
    else:
        assert source.read(counted)[1] == (ROWS if "-wal" in gone else ROWS + 1)
    assert trace(tmp_path) == before


def test_a_locked_file_says_so_on_every_page_and_delays_no_other_for_long(
    pages: Callable[..., Client], fresh: Unpacked, unpacked: Unpacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_MS", 50)
    path = fresh(MINI)
    get = pages(locked=path, free=unpacked("mini-3.0.0"))
    with writing(path) as engine:
        engine.do("BEGIN EXCLUSIVE")
        before = trace(path.parent)
        for address in addresses("locked", ["wf-ok"], lambda _: ["run.input"]):
            answer = get.get(address)
            lists = "/runs/wf" not in address and address != "/api/v1/databases/locked/runs/"
            assert answer.status_code in ({200} if lists else {423}) | {302}, address
            if answer.status_code != 302:
                assert "locked by another process" in answer.content.decode(), address
        assert get.get("/db/free/runs/").status_code == 200
        assert trace(path.parent) == before
        engine.do("COMMIT")
    assert get.get("/db/locked/runs/").status_code == 200


# Folders and files of others


@contextmanager
def mounted_to_read(folder: Path, at: Path) -> Iterator[None]:
    """The folder once more, at a place where nothing can be written, not even by root."""
    at.mkdir()
    tried = subprocess.run(["mount", "--bind", str(folder), str(at)], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody mount: {tried.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_mount_that_can_only_be_read_is_enough(tmp_path: Path) -> None:
    expected = {}
    for state in STATES:
        expected[state.__name__] = state(tmp_path / "data" / state.__name__ / "notes.sqlite")
    before = trace(tmp_path / "data")
    with mounted_to_read(tmp_path / "data", tmp_path / "mount"):
        with pytest.raises(OSError, match="Read-only file system"):
            (tmp_path / "mount" / "x").touch()
        found = {
            name: SqliteSource(tmp_path / "mount" / name / "notes.sqlite", "notes").read(counted) for name in expected
        }
    assert found == expected
    assert trace(tmp_path / "data") == before


@pytest.mark.parametrize("seconds", [10**10, 9 * 10**9, -(10**10), 2**62, -(2**62)])
def test_a_file_written_in_another_age_is_a_file(seconds: int, fresh: Unpacked, pages: Callable[..., Client]) -> None:
    path = fresh(MINI)
    memory = Path("/dev/shm") / f"durascope-{os.getpid()}.sqlite"  # keeps times that a disk has no bits for
    place = memory if memory.parent.is_dir() else path
    try:
        shutil.copy(path, place)
        with suppress(OverflowError, OSError):
            os.utime(place, (seconds, seconds))
        get = pages(x=place)
        for address in ("/", "/db/x/", "/db/x/runs/", "/api/v1/databases/"):
            assert get.get(address).status_code == 200, address
    finally:
        memory.unlink(missing_ok=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("state", STATES)
def test_nothing_of_ours_is_left_in_a_folder_that_everybody_may_write_to(
    state: Callable[[Path], tuple[Opened, int]], tmp_path: Path
) -> None:
    folder = tmp_path / "shared"
    expected = state(folder / "notes.sqlite")
    for path in (folder, *folder.iterdir()):
        os.chown(path, 1234, 1234)
        path.chmod(0o777 if path == folder else 0o666)
    before = trace(folder)
    assert as_nobody(folder, lambda: SqliteSource(folder / "notes.sqlite", "notes").read(counted)) == repr(expected)
    assert trace(folder) == before
    assert not [path for path in folder.rglob("*") if path.stat().st_uid == NOBODY]


def test_a_wal_of_another_database_is_read_or_refused_and_left(tmp_path: Path) -> None:
    path, other = tmp_path / "notes.sqlite", tmp_path / "other" / "notes.sqlite"
    make(path, "WAL")
    killed_wal(other)
    for suffix in ("-wal", "-shm"):
        shutil.copy(f"{other}{suffix}", f"{path}{suffix}")
    before = trace(tmp_path)
    with suppress(Unreadable):
        assert SqliteSource(path, "notes").read(counted)[1] in (ROWS, ROWS + 1)
    assert trace(tmp_path) == before
