"""One transaction on a file that belongs to an engine. Only the process that runs.appending starts may open it: POSIX drops all
locks of a process on a file when any descriptor of it is closed, and an engine's commits would be lost.

The connection never creates a database, checkpoints nothing of a live engine's, and lets each statement change what it was said
to change: triggers and foreign keys stay on, as the engine's own checks, but a trigger that writes elsewhere is refused.

**Whose files.** SQLite creates a -journal, or a -wal and a -shm, beside the file. They must be files that the engine can write,
or its next write fails: so the file is only opened by the account that owns it, or by root, for whom SQLite gives them that owner.
A WAL database that was closed is left closed: what was appended is folded in when this connection, the last, closes.
"""

import ctypes
import os
import pwd
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import apsw

from runs.errors import AppendRefused, DiskFull, NotAllowed
from runs.sources.base import Opened, Value
from runs.sources.failures import sqlite_failures
from runs.sources.files import COMPANIONS, FileState, Identity, header, is_wal, look, uri_to_write
from runs.sources.opening import CONFIG, LIMITS
from runs.sources.sqlite import SqliteReader

BUSY_SECONDS = 10.0  # how long to wait for the lock: an engine under load makes a writer wait up to 3.6 s
COMMIT_SECONDS = 2.0  # how long a COMMIT waits for readers, who must not wait for us in turn
REPLACED = "Another file lies at this path than the one that was planned for."

_CONFIG = {
    **CONFIG,
    apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER: 1,
    apsw.SQLITE_DBCONFIG_ENABLE_FKEY: 1,
    apsw.SQLITE_DBCONFIG_DQS_DML: 1,  # an engine's own triggers mean what they mean to the engine
}
_PRAGMAS = (
    "PRAGMA trusted_schema=0; PRAGMA cell_size_check=1; PRAGMA mmap_size=0; PRAGMA temp_store=2; "
    "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0"
)
_READING = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE})
_KEY = "SELECT name FROM pragma_table_xinfo(:name) WHERE pk > 0 ORDER BY pk"

Allowed = frozenset[tuple[int, str, str]]  # SQLite's action, table, column ("" for an INSERT)


def obstacle(state: FileState) -> str:
    """Why this account can't, or must not, append to the file, in words; empty where it can."""
    folder = Path(state.path).parent
    about = Path(state.path).stat()
    if not about.st_mode & 0o222 or not os.access(state.path, os.W_OK) or not os.access(folder, os.W_OK):
        return "The file, or its folder, may not be written by the account that runs Durascope."
    own = os.geteuid()
    if own not in (0, about.st_uid):
        return (
            f"The file belongs to {_account(about.st_uid)}, Durascope runs as {_account(own)}: what SQLite creates beside it "
            f"could not be written by its engine. Run Durascope as {_account(about.st_uid)}."
        )
    for suffix in COMPANIONS:
        try:
            beside = os.lstat(state.path + suffix)
        except FileNotFoundError:
            continue
        if beside.st_uid != about.st_uid:
            return (
                f"What lies beside the file belongs to {_account(beside.st_uid)}, the file to {_account(about.st_uid)}: "
                "an append would change that. Let one account own them all."
            )
    return ""


class Writing:
    """An open transaction that holds the write lock. Nothing is kept unless ``commit`` returns."""

    def __init__(self, connection: apsw.Connection, opened: Opened) -> None:
        self._connection = connection
        self._opened = opened

    def reader(self) -> SqliteReader:
        """A reader of the transaction: it sees what was changed. The deadline for reading and changing starts again."""
        self._connection.authorizer = _Only(frozenset())
        return SqliteReader(self._connection, self._opened)

    def key(self, table: str) -> tuple[str, ...]:
        """The columns of a table's primary key; rowid where it declares none."""
        return tuple(str(name) for (name,) in self.reader().rows(_KEY, {"name": table})) or ("rowid",)

    def change(self, sql: str, values: Mapping[str, Value], table: str, columns: tuple[str, ...]) -> tuple[Value, ...]:
        """Runs one INSERT, or one UPDATE of those columns; what it returns of the one row that it changed.

        Raises AppendRefused where it changes another number of rows, or anything else than it was said to.
        """
        allowed = [(apsw.SQLITE_UPDATE, table, column) for column in columns] or [(apsw.SQLITE_INSERT, table, "")]
        return _one(self._run(sql, values, table, frozenset(allowed)), table)

    def fill(self, sql: str, values: Mapping[str, Value], table: str, count: int) -> list[tuple[Value, ...]]:
        """Runs one INSERT of so many rows; what it returns of them. Raises AppendRefused as ``change`` does."""
        returned = self._run(sql, values, table, frozenset({(apsw.SQLITE_INSERT, table, "")}))
        if (found := self._connection.changes()) != count:
            raise AppendRefused(f"{found:,} rows of {table} would have been added, not {count:,}.")
        return returned

    def delete(self, sql: str, values: Mapping[str, Value], table: str) -> tuple[Value, ...]:
        """Runs one DELETE of one row; what it returns of it. Raises AppendRefused as ``change`` does.

        Nothing but a run that we appended paused, and that the engine's replay refused, is ever deleted (runs.holding).
        """
        return _one(self._run(sql, values, table, frozenset({(apsw.SQLITE_DELETE, table, "")})), table)

    def _run(self, sql: str, values: Mapping[str, Value], table: str, allowed: Allowed) -> list[tuple[Value, ...]]:
        self._connection.authorizer = _Only(allowed)
        with _write_failures():
            try:
                return self._connection.execute(sql, dict(values), can_cache=False).fetchall()
            except (UnicodeEncodeError, OverflowError) as error:
                raise AppendRefused(f"A value can't be written to {table}.") from error

    def changes(self) -> int:
        """How many rows were changed since the transaction began, those that triggers changed among them."""
        return self._connection.total_changes()

    def commit(self) -> None:
        """Keeps it all, on the disk. Raises DatabaseLocked, DiskFull and others: then nothing is kept."""
        self._connection.set_progress_handler(None)
        self._connection.authorizer = None
        self._connection.set_busy_handler(_Patience(COMMIT_SECONDS))
        with _write_failures():
            self._connection.execute("COMMIT")

    def after(self) -> SqliteReader:
        """A reader of what is there after the commit."""
        return self.reader()


@contextmanager
def writing(path: Path, identity: Identity) -> Iterator[Writing]:
    """The file, opened to write, with its write lock held; rolled back unless it was committed inside.

    Raises AppendRefused where another file lies there, NotAllowed where this account must not, DatabaseLocked where the lock
    could not be had in BUSY_SECONDS; Unreadable and its children.
    """
    connection, opened = _open(path, identity)
    try:
        yield Writing(connection, opened)
    finally:
        connection.set_progress_handler(None)
        connection.authorizer = None
        if connection.in_transaction:
            with _write_failures():
                connection.execute("ROLLBACK")
        connection.close(True)


def _open(path: Path, identity: Identity) -> tuple[apsw.Connection, Opened]:
    state = _same(path, identity)
    if words := obstacle(state):
        raise NotAllowed(words)
    if state.wal_filled and not state.has_shm:
        raise AppendRefused("Its -wal was left over by an engine: nobody can tell where it belongs.")
    wal = is_wal(header(state))
    with sqlite_failures(state.path):
        connection = apsw.Connection(uri_to_write(state.path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI)
    try:
        if connection.readonly("main"):
            raise NotAllowed("SQLite could open the file for reading only.")
        with _write_failures():
            connection.set_busy_handler(_Patience(BUSY_SECONDS))
            for switch, value in _CONFIG.items():
                connection.config(switch, value)
            # A -wal that an engine has filled is the engine's to fold in; one that we make is ours.
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(state.wal_filled))
            for limit, value in LIMITS.items():
                connection.limit(limit, value)
            connection.execute(_PRAGMAS).fetchall()
            connection.execute("BEGIN IMMEDIATE")
        _same(path, identity)
        if _has_moved(connection):
            raise AppendRefused(REPLACED)
    except BaseException:
        connection.close(True)
        raise
    live = state.has_shm if wal else state.journal_filled
    return connection, Opened.LIVE if live else Opened.CLOSED


def _one(found: list[tuple[Value, ...]], table: str) -> tuple[Value, ...]:
    if len(found) != 1:
        raise AppendRefused(f"{len(found)} rows of {table} would have been changed, not one.")
    return found[0]


def _same(path: Path, identity: Identity) -> FileState:
    state = look(path)
    if state.identity != identity:
        raise AppendRefused(REPLACED, remedy="Look at the plan again.")
    return state


def _has_moved(connection: apsw.Connection) -> bool:
    """Whether the file that SQLite has open is no longer the one at its path."""
    moved = ctypes.c_int(0)
    connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, ctypes.addressof(moved))
    return bool(moved.value)


class _Patience:
    """Asks for the lock every millisecond or so, for some seconds. SQLite's own waiting pauses for longer and longer, and so gets
    no turn beside an engine that writes without a pause."""

    def __init__(self, seconds: float) -> None:
        self.until = time.monotonic() + seconds

    def __call__(self, _times: int) -> bool:
        time.sleep(0.001)
        return time.monotonic() < self.until


class _Only:
    """Lets a statement read, and change what was allowed; a trigger's statements too."""

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed

    def __call__(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action in _READING or (action == apsw.SQLITE_PRAGMA and first == "table_xinfo"):
            return apsw.SQLITE_OK
        wanted = (action, first or "", (second or "") if action == apsw.SQLITE_UPDATE else "")
        return apsw.SQLITE_OK if wanted in self.allowed else apsw.SQLITE_DENY


@contextmanager
def _write_failures() -> Iterator[None]:
    """SQLite's errors while writing as ours."""
    with sqlite_failures():
        try:
            yield
        except apsw.FullError as error:
            raise DiskFull("SQLite could not write all of it.", remedy="Make room on its disk.") from error
        except apsw.IOError as error:
            if getattr(error, "extendedresult", 0) != apsw.SQLITE_IOERR_SHMSIZE:
                raise
            raise DiskFull("SQLite could not make its -shm.", remedy="Make room on its disk.") from error
        except apsw.ReadOnlyError as error:
            raise NotAllowed(f"SQLite says: {error}.") from error
        except apsw.AuthError as error:
            raise AppendRefused(
                "A trigger of the database would have changed more than was planned.",
                remedy="It is not one that the engine made.",
            ) from error
        except apsw.ConstraintError as error:
            raise AppendRefused(f"The database does not take it: {error}.") from error


def _account(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
