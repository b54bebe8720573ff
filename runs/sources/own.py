"""SQLite files of our own: written whole by one process, put into their place when they are complete, never changed afterwards."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from runs.errors import Unreadable
from runs.sources.base import Params, Value
from runs.sources.failures import sqlite_failures
from runs.sources.files import READ_ONLY, uri

UNFINISHED = ".part"  # how a file is called until it is complete
_PRAGMAS = "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-16000"


class Writer:
    """A new file, in one transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def run(self, sql: str) -> None:
        """Statements without parameters."""
        with sqlite_failures():
            self._connection.execute(sql).fetchall()

    def add(self, sql: str, rows: Iterator[Sequence[Value]]) -> None:
        """One statement for many rows."""
        with sqlite_failures():
            self._connection.executemany(sql, rows)


@contextmanager
def written(path: Path) -> Iterator[Writer]:
    """A file that lies at the path once the block has ended well; until then, and otherwise, what lay there. Raises Unreadable."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{UNFINISHED}")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with sqlite_failures(str(part)), closing(apsw.Connection(str(part))) as connection:
            connection.execute(_PRAGMAS).fetchall()
            with connection:
                yield Writer(connection)
        part.replace(path)
    except OSError as problem:
        raise Unreadable(f"{path} can't be written: {problem.strerror or problem}.") from problem
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def opened(path: Path) -> Iterator["OwnReader"]:
    """A complete file, to read. Raises Unreadable."""
    with sqlite_failures(str(path)), closing(apsw.Connection(uri(str(path), "immutable=1"), flags=READ_ONLY)) as found:
        yield OwnReader(found)


class OwnReader:
    """A complete file of ours."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, params: Params | None = None) -> Iterator[tuple[Value, ...]]:
        """The rows of one SELECT, one after another."""
        return iter(self._connection.execute(sql, params or {}))
