"""What a reader hands out, and what it refuses: broken text, hostile schemas, long queries, writes."""

import os
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from writers import make, writing

from runs.errors import Damaged, FileMissing, NotSQLite, QueryTooSlow, UnknownSchema, Unreadable
from runs.sources.base import Reader, Value
from runs.sources.sqlite import SqliteSource

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def database(path: Path, script: str, encoding: str = "UTF-8") -> SqliteSource:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA encoding='{encoding}'")
    connection.executescript(script)
    connection.close()
    return SqliteSource(path, path.stem)


def asked(source: SqliteSource, sql: str, **params: Value) -> list[tuple[Value, ...]]:
    return source.read(lambda reader: reader.rows(sql, params))


def test_rows_are_what_sqlite_itself_answers(unpacked: Callable[[str], Path]) -> None:
    path = unpacked("zoo-3.4.0")
    sql = "SELECT workflow_uuid, status, created_at, inputs FROM {}workflow_status WHERE status = :status ORDER BY 1"
    with sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True) as connection:
        expected = connection.execute(sql.format(""), {"status": "SUCCESS"}).fetchall()
    connection.close()
    assert len(expected) > 10
    assert asked(SqliteSource(path, "zoo"), sql.format("{schema}"), status="SUCCESS") == expected


def test_tables_are_ordinary_tables_with_all_their_columns(tmp_path: Path) -> None:
    source = database(
        tmp_path / "x.sqlite",
        """
        CREATE TABLE "odd ""name" (a INTEGER PRIMARY KEY AUTOINCREMENT, "b c" TEXT, d AS (a + 1), e INT AS (a) STORED,
                                   f);
        CREATE VIEW seen AS SELECT a FROM "odd ""name";
        CREATE VIRTUAL TABLE words USING fts5(text);
        CREATE INDEX idx ON "odd ""name"("b c");
        CREATE TABLE sqliteish (x BLOB) ;
        """,
    )
    tables = source.read(lambda reader: dict(reader.tables))
    assert tables['odd "name'] == {"a": "INTEGER", "b c": "TEXT", "d": "", "e": "INT", "f": ""}
    assert list(tables['odd "name']) == ["a", "b c", "d", "e", "f"]
    assert tables["sqliteish"] == {"x": "BLOB"}
    assert not {"seen", "words", "idx", "sqlite_sequence"} & tables.keys()


def test_a_view_is_never_run(tmp_path: Path) -> None:
    source = database(
        tmp_path / "x.sqlite",
        f"CREATE VIEW workflow_status AS {ENDLESS}; CREATE TABLE t (x); CREATE VIEW plain AS SELECT x FROM t;",
    )
    with pytest.raises(Unreadable, match='access to view "plain" prohibited'):
        asked(source, "SELECT 1 FROM {schema}plain")
    with pytest.raises(UnknownSchema):
        asked(source, "SELECT 1 FROM {schema}workflow_status")


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH 'new.sqlite' AS other",
        "ATTACH ':memory:' AS other",
        "VACUUM INTO 'new.sqlite'",
        "INSERT INTO {schema}notes (text) VALUES ('x')",
        "DELETE FROM {schema}notes",
        "CREATE TABLE more (x)",
        "CREATE TEMP TABLE more (x)",
        "PRAGMA query_only=0",
        "PRAGMA journal_mode=DELETE",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "COMMIT",
        "SELECT load_extension('x')",
    ],
)
def test_nothing_but_reading_is_allowed(sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path / "notes.sqlite", "DELETE")
    before = path.read_bytes()
    with pytest.raises(Unreadable):
        asked(SqliteSource(path, "notes"), sql)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["notes.sqlite"]


def test_a_query_beyond_its_time_is_stopped_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_QUERY_SECONDS", "0.2")
    source = SqliteSource(make(tmp_path / "notes.sqlite", "WAL"), "notes")
    with pytest.raises(QueryTooSlow, match="DURASCOPE_QUERY_SECONDS"):
        asked(source, ENDLESS)
    assert asked(source, "SELECT count(*) FROM {schema}notes") == [(2000,)]


def test_many_short_queries_share_one_allowance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_QUERY_SECONDS", "0.2")
    source = SqliteSource(make(tmp_path / "notes.sqlite", "DELETE"), "notes")

    def work(reader: Reader) -> None:
        while True:
            reader.rows("SELECT count(*) FROM {schema}notes WHERE text LIKE '%9%'")

    with pytest.raises(QueryTooSlow):
        source.read(work)


def test_connections_are_closed_whatever_the_work_does(tmp_path: Path) -> None:
    source = SqliteSource(make(tmp_path / "notes.sqlite", "DELETE"), "notes")
    kept: list[Reader] = []

    def work(reader: Reader) -> None:
        kept.append(reader)
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        source.read(work)
    source.read(kept.append)
    assert len(apsw.connections()) == 0
    with pytest.raises(Unreadable):
        kept[1].rows("SELECT 1")


# SQLite itself pairs half a UTF-16 character with whatever follows.
BROKEN = {
    "UTF-8": (b"caf\xe9 \xff!", "caf\ufffd \ufffd!"),
    "UTF-16le": (b"\x00\xd8x\x00", "\U00010078"),
    "UTF-16be": (b"\xd8\x00\x00x", "\U00010078"),
}


@pytest.mark.parametrize("encoding", BROKEN)
def test_broken_text_arrives_readable_in_any_encoding(encoding: str, tmp_path: Path) -> None:
    source = database(
        tmp_path / "x.sqlite",
        f"""
        CREATE TABLE t (id INTEGER PRIMARY KEY, text, other);
        INSERT INTO t VALUES (1, 'whole ✓', 1.5), (3, NULL, 'ü');
        INSERT INTO t VALUES (2, CAST(x'{BROKEN[encoding][0].hex()}' AS TEXT), x'ff00');
        """,
        encoding,
    )
    rows = asked(
        source, "SELECT id, text AS x, other AS x FROM {schema}t WHERE id > :low ORDER BY id DESC -- all", low=0
    )
    assert rows == [(3, None, "ü"), (2, BROKEN[encoding][1], b"\xff\x00"), (1, "whole ✓", 1.5)]


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=8))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_a_text_column_can_be_read_in_order(tmp_path: Path, values: list[bytes]) -> None:
    path = tmp_path / "x.sqlite"
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        connection.executemany("INSERT INTO t (text) VALUES (CAST(? AS TEXT))", [(value,) for value in values])
    connection.close()
    rows = asked(SqliteSource(path, "x"), "SELECT text FROM {schema}t ORDER BY id DESC LIMIT :limit", limit=100)
    # apsw and SQLite keep a NUL inside text
    assert rows == [(value.decode("utf-8", "replace"),) for value in reversed(values)]


def test_broken_names_in_a_schema_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    database(path, "CREATE TABLE abcde (fghij INT); CREATE TABLE good (x INT);")
    path.write_bytes(path.read_bytes().replace(b"abcde", b"ab\xffde").replace(b"fghij", b"fg\xffij"))
    tables = SqliteSource(path, "x").read(lambda reader: dict(reader.tables))
    assert tables["good"] == {"x": "INT"}
    assert "ab\ufffdde" in tables


def test_values_that_sqlite_can_not_hold_compare_as_they_would(tmp_path: Path) -> None:
    source = database(tmp_path / "x.sqlite", f"CREATE TABLE t (n INTEGER); INSERT INTO t VALUES ({2**63 - 1}), (-1)")
    sql = "SELECT sum(n < :n), sum(n > :n), sum(n = :n) FROM {schema}t"
    assert asked(source, sql, n=10**40) == [(2, 0, 0)]
    assert asked(source, sql, n=-(10**400)) == [(0, 2, 0)]
    assert asked(source, "SELECT :text", text="half \ud800 a character") == [("half \ufffd a character",)]


def test_a_value_too_large_to_read_is_refused_but_can_be_measured(tmp_path: Path) -> None:
    size = 300 * 1024 * 1024
    source = database(tmp_path / "x.sqlite", f"CREATE TABLE t (x BLOB); INSERT INTO t VALUES (zeroblob({size}))")
    assert asked(source, "SELECT length(x) FROM {schema}t") == [(size,)]
    with pytest.raises(Unreadable, match="larger than Durascope reads"):
        asked(source, "SELECT x FROM {schema}t")


def test_missing_tables_and_columns_are_an_unknown_schema(tmp_path: Path) -> None:
    source = SqliteSource(make(tmp_path / "notes.sqlite", "DELETE"), "notes")
    for sql, words in (("SELECT a FROM {schema}notes", "no such column: a"), ("SELECT 1 FROM b", "no such table: b")):
        with pytest.raises(UnknownSchema, match=words):
            asked(source, sql)
    with pytest.raises(UnknownSchema, match="no such column"):
        asked(source, 'SELECT "a" FROM {schema}notes')


def test_instants_are_written_as_obelisk_writes_them(tmp_path: Path) -> None:
    source = SqliteSource(make(tmp_path / "notes.sqlite", "DELETE"), "notes")
    moment = datetime(2026, 11, 22, 16, 29, 13, 999999, timezone(timedelta(hours=1)))
    written = source.read(lambda reader: (reader.instant(moment), reader.instant(datetime(2026, 1, 2, tzinfo=UTC))))
    assert written == ("2026-11-22 15:29:13.999999+00:00", "2026-01-02 00:00:00.000000+00:00")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"id,status\n1,SUCCESS\n", "begins with 69 64"),
        (b"SQLite format 3\x00", "not as every SQLite file does"),
        (b"SQLite format 3\x00" + b"x" * 5000, "not a database"),
    ],
)
def test_what_is_no_database_is_called_that(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    with pytest.raises(NotSQLite, match=words):
        asked(SqliteSource(path, "x"), "SELECT 1 FROM {schema}sqlite_master")
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["x.sqlite"]


def test_a_missing_file_names_the_path_tried(tmp_path: Path) -> None:
    source = SqliteSource(tmp_path / "gone" / "x.sqlite", "x")
    with pytest.raises(FileMissing) as caught:
        asked(source, "SELECT 1")
    assert str(tmp_path / "gone" / "x.sqlite") in caught.value.detail
    assert source.facts() is None
    assert source.fingerprint() == "FileMissing"


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_damage_is_called_damage(journal: str, tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", journal)
    data = bytearray(path.read_bytes())
    data[4096 * 2 :] = b"\xa5" * (len(data) - 4096 * 2)
    path.write_bytes(data)
    with pytest.raises(Damaged, match="malformed"):
        asked(SqliteSource(path, "notes"), "SELECT sum(length(text)) FROM {schema}notes")


def test_the_fingerprint_follows_every_commit_and_nothing_else(tmp_path: Path) -> None:
    path = make(tmp_path / "notes.sqlite", "WAL")
    os.utime(path, ns=(0, 0))
    source = SqliteSource(path, "notes")
    prints = [source.fingerprint()]
    with writing(path) as engine:
        for number in range(4):
            engine.do(f"UPDATE notes SET text = '{number}' WHERE id = 1")
            prints.append(source.fingerprint())
            source.read(lambda reader: reader.rows("SELECT 1 FROM {schema}notes"))
        engine.stop()
    prints.append(source.fingerprint())
    assert len(set(prints)) == 6


def test_the_fingerprint_of_a_file_at_rest_stays(unpacked: Callable[[str], Path]) -> None:
    for name in ("shop", "zoo-3.4.0", "shop-live"):
        source = SqliteSource(unpacked(name), name)
        time.sleep(0.03)  # a file that was written at this very moment has no lasting fingerprint
        first = source.fingerprint()
        source.read(lambda reader: reader.tables)
        assert source.fingerprint() == first, name


def test_facts_are_the_sizes_and_the_newest_time(unpacked: Callable[[str], Path]) -> None:
    path = unpacked("shop-live")
    wal = Path(f"{path}-wal").stat()
    facts = SqliteSource(path, "shop-live").facts()
    assert facts is not None
    assert facts.size_bytes == path.stat().st_size + wal.st_size
    newest = max(path.stat().st_mtime_ns, wal.st_mtime_ns)
    assert facts.modified_at == datetime.fromtimestamp(newest // 10**9, UTC) + timedelta(
        microseconds=newest % 10**9 // 1000
    )
