"""SQLite files that belong to someone else, read in short snapshots without leaving a trace (``opening`` says how)."""

import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import apsw

from runs.errors import Damaged, DatabaseBusy, DatabaseLocked, Unreadable
from runs.sources.base import Columns, FileFacts, Opened, Params, Reader, Value
from runs.sources.failures import sqlite_failures
from runs.sources.files import FileState, header, look, whole_size
from runs.sources.opening import open_state

T = TypeVar("T")

ATTEMPTS = 6
PAUSE = 0.02  # seconds, more after each attempt; longer than a tick of the file system's clock
DEFAULT_SECONDS = 5.0
STEPS_BETWEEN_LOOKS = 10_000  # of SQLite's machine between two looks at the deadline: about a millisecond

_TABLES = (
    "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite@_%' ESCAPE '@'"
)
_COLUMNS = "SELECT name, type FROM pragma_table_xinfo(:name) WHERE hidden IN (0, 2, 3) ORDER BY cid"
_SURROGATES = re.compile("[\ud800-\udfff]")

# A table's columns follow from the statement that made it, and thousands of files were made by the same few.
SCHEMAS_KEPT = 64
LONGEST_SCHEMA = 200_000  # characters of statements
_schemas: dict[tuple[tuple[Value, ...], ...], Mapping[str, Columns]] = {}


class SqliteSource:
    """One SQLite file. Nothing is kept open between two reads."""

    def __init__(self, path: Path, slug: str) -> None:
        self.path = path.absolute()
        self._slug = slug

    def __repr__(self) -> str:
        return f"SqliteSource({str(self.path)!r}, {self.slug!r})"

    @property
    def slug(self) -> str:
        return self._slug

    @property
    def place(self) -> str:
        return str(self.path)

    def fingerprint(self) -> str:
        try:
            return look(self.path).fingerprint
        except Unreadable as error:
            return type(error).__name__

    def facts(self) -> FileFacts | None:
        try:
            return look(self.path).facts()
        except Unreadable:
            return None

    def seen(self) -> "SeenSource":
        try:
            state = look(self.path)
        except Unreadable as error:
            return SeenSource(self.path, self._slug, type(error).__name__, None)
        return SeenSource(self.path, self._slug, state.fingerprint, state.facts())

    def read(self, work: Callable[[Reader], T]) -> T:
        for attempt in range(ATTEMPTS):
            if attempt:  # even a sleep of no time gives the processor away
                time.sleep(PAUSE * attempt)
            state = look(self.path)
            try:
                with _explaining(state):
                    opening = open_state(state)
            except DatabaseBusy:
                continue
            except DatabaseLocked:
                raise
            except Unreadable:
                # A file that vanished under us is an engine that stopped: what it left can be read in another way.
                if self._still(state, blind=True):
                    raise
                continue
            try:
                with _explaining(state):
                    result = work(SqliteReader(opening.connection, opening.opened))
            except Exception:
                # It may have failed only because the file changed under an opening that can't see changes.
                if self._still(state, blind=opening.blind):
                    raise
                continue
            finally:
                opening.connection.close(True)
            if self._still(state, blind=opening.blind):
                return result
        raise DatabaseBusy(
            f"It changed during each of {ATTEMPTS} attempts.", remedy="Try again when its engine is less busy."
        )

    def _still(self, state: FileState, *, blind: bool) -> bool:
        """Whether what was read lies at the path: the same file, and not written since where SQLite could not tell."""
        try:
            found = look(self.path)
        except Unreadable:
            return False
        return found == state if blind else found.identity == state.identity


@contextmanager
def _explaining(state: FileState) -> Iterator[None]:
    """Says of a damaged file that its end is missing, where that is so: a copy that was not made whole, a full disk."""
    try:
        yield
    except Damaged as damage:
        with suppress(Unreadable):
            whole = whole_size(header(state))
            if whole is not None and state.main.size < whole:
                damage.detail = f"Only {state.main.size:,} of its {whole:,} bytes are there: its end was cut off."
                damage.remedy = (
                    "Copy it again, whole. Of what is there, the sqlite3 shell's .recover command saves what it can."
                )
        raise


class SeenSource(SqliteSource):
    """The same file as one look found it; what is read of it is read as ever."""

    def __init__(self, path: Path, slug: str, fingerprint: str, facts: FileFacts | None) -> None:
        self.path = path
        self._slug = slug
        self._fingerprint, self._facts = fingerprint, facts

    def fingerprint(self) -> str:
        return self._fingerprint

    def facts(self) -> FileFacts | None:
        return self._facts


class SqliteReader:
    """One snapshot of one file, for as long as its connection is open. The deadline runs from the beginning."""

    def __init__(self, connection: apsw.Connection, opened: Opened) -> None:
        self._connection = connection
        self._opened = opened
        self._deadline = time.monotonic() + _seconds()
        connection.set_progress_handler(self._late, STEPS_BETWEEN_LOOKS)

    @property
    def opened(self) -> Opened:
        return self._opened

    @cached_property
    def tables(self) -> Mapping[str, Columns]:
        """The ordinary tables and their columns, generated ones included: no views, no virtual tables. The same mapping
        for the same schema."""
        made = tuple(self.rows(_TABLES))
        known = _schemas.get(made)
        if known is None:
            known = {
                str(name): {str(column): str(declared) for column, declared in self.rows(_COLUMNS, {"name": name})}
                for name, _ in made
            }
            if sum(len(str(sql)) for _, sql in made) <= LONGEST_SCHEMA:
                if len(_schemas) >= SCHEMAS_KEPT:
                    _schemas.clear()
                _schemas[made] = known
        return known

    def rows(self, sql: str, params: Params | None = None) -> list[tuple[Value, ...]]:
        """All rows of one SELECT. Raises Unreadable and its children."""
        sql = sql.replace("{schema}", "").rstrip("; \n")
        bound = {name: _bindable(value) for name, value in (params or {}).items()}
        with sqlite_failures():
            try:
                return self._connection.execute(sql, bound).fetchall()
            except UnicodeDecodeError:
                return self._rows_with_broken_text(sql, bound)

    def instant(self, moment: datetime) -> str:
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00:00")

    def _late(self) -> bool:
        return time.monotonic() > self._deadline

    def _rows_with_broken_text(self, sql: str, bound: Mapping[str, Value]) -> list[tuple[Value, ...]]:
        """The same rows, their text fetched as bytes: apsw gives up at the first that is no UTF-8.

        Only a database in UTF-8 can hold such text: of UTF-16, SQLite makes valid UTF-8, whatever it was.
        """
        names = [f"c{number}" for number in range(self._width(sql, bound))]
        values = ", ".join(
            f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
            for name in names
        )
        wrapped = f"WITH asked({', '.join(names)}) AS MATERIALIZED (\n{sql}\n) SELECT {values} FROM asked"  # noqa: S608
        return [
            tuple(
                value.decode("utf-8", "replace") if kind == "text" and isinstance(value, bytes) else value
                for kind, value in zip(row[::2], row[1::2], strict=True)
            )
            for row in self._connection.execute(wrapped, bound)
        ]

    def _width(self, sql: str, bound: Mapping[str, Value]) -> int:
        """The number of columns, without running the statement."""
        widths: list[int] = []

        def note(cursor: apsw.Cursor, *_: object) -> bool:
            widths.append(len(cursor.get_description()))
            return False

        cursor = self._connection.cursor()
        cursor.exec_trace = note
        try:
            cursor.execute(sql, bound)
        except apsw.ExecTraceAbort:
            pass
        finally:
            cursor.close(True)
        return widths[0]


def _seconds() -> float:
    try:
        return float(os.environ["DURASCOPE_QUERY_SECONDS"])
    except (KeyError, ValueError):
        return DEFAULT_SECONDS


def _bindable(value: Value) -> Value:
    """What SQLite can compare with: no half characters; beyond 64 bits an infinity, which compares as the number."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATES.sub("\ufffd", value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return math.inf if value > 0 else -math.inf
    return value
