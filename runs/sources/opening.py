"""How a SQLite file is opened: by what lies beside it, hardened, and inside one snapshot.

    -wal filled, -shm there      mode=ro             live    an engine has it, or was killed; nothing is created
    -wal filled, no -shm         private copy        copy    in place, a -shm would be created that is not the engine's
    WAL, nothing in a -wal       mode=ro, immutable  closed  in place, both would be created; looked at again afterwards
    the same, but -shm there     mode=ro, immutable  live    an engine has opened it and has written nothing yet
    rollback journal             mode=ro             closed  under real locks; live while a writer's -journal is there
    a rollback nobody finished   private copy        copy    finishing it would be a write
    -wal of another owner        private copy        copy    for root only: SQLite gives it to the database's owner

An engine that uses a rollback journal leaves no trace between two transactions: *closed* then means that nobody was
writing at that moment. Never: a connection that may write, ``nolock``, a checkpoint.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from runs.errors import DatabaseBusy, Unreadable
from runs.sources.base import Opened
from runs.sources.copies import open_copy
from runs.sources.failures import sqlite_failures
from runs.sources.files import READ_ONLY, FileState, header, is_wal, look, uri

BUSY_MS = 1500
VALUE_LIMIT = 256 * 1024 * 1024  # bytes of one value
HEAP_LIMIT = 1024 * 1024 * 1024  # bytes that all connections of a process may take together

CONFIG = {
    apsw.SQLITE_DBCONFIG_DEFENSIVE: 1,
    apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_VIEW: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER: 0,
    apsw.SQLITE_DBCONFIG_DQS_DDL: 0,
    apsw.SQLITE_DBCONFIG_DQS_DML: 0,
    apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE: 1,
}
LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: VALUE_LIMIT,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_PRAGMAS = (
    "PRAGMA trusted_schema=0; PRAGMA cell_size_check=1; PRAGMA query_only=1; PRAGMA mmap_size=0; PRAGMA temp_store=2"
)
_BEGIN = "BEGIN; PRAGMA schema_version"  # the second takes the lock, or the place in the -wal, that the snapshot is
_READING = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE})

apsw.hard_heap_limit(HEAP_LIMIT)


@dataclass(frozen=True, slots=True)
class Opening:
    """A connection inside its snapshot. ``blind``: SQLite looks at no lock and no -wal; the caller must."""

    connection: apsw.Connection
    opened: Opened
    blind: bool = False


def open_state(state: FileState) -> Opening:
    """Opens a file that was found in that state; the caller closes the connection.

    Raises DatabaseBusy where the file has left the state, and another attempt may find it at rest; Unreadable and its
    children otherwise.
    """
    if state.wal_filled and state.has_shm and (state.one_owner or os.geteuid() != 0):
        with _kept_open(state):
            return Opening(_in_place(state), Opened.LIVE)
    if state.wal_filled:
        return Opening(_snapshot(open_copy(state)), Opened.COPY)
    if is_wal(header(state)):
        return _open_folded(state)
    try:
        return Opening(_in_place(state), Opened.LIVE if state.journal_filled else Opened.CLOSED)
    except _UnfinishedRollback:
        return Opening(_snapshot(open_copy(look(Path(state.path)))), Opened.COPY)


def _open_folded(state: FileState) -> Opening:
    """A WAL database whose changes are all in the main file."""
    if state.journal_filled:
        return Opening(_snapshot(open_copy(state)), Opened.COPY)
    if state.recent:
        raise DatabaseBusy("It was written at this very moment: another write might not show in its times.")
    opened = Opened.LIVE if state.has_shm else Opened.CLOSED
    return Opening(_in_place(state, "immutable=1"), opened, blind=True)


def _in_place(state: FileState, *options: str) -> apsw.Connection:
    with sqlite_failures(state.path):
        connection = apsw.Connection(uri(state.path, *options), flags=READ_ONLY)
    return _snapshot(connection)


@contextmanager
def _kept_open(state: FileState) -> Iterator[None]:
    """Keeps an engine from folding its -wal in and removing it, which takes an exclusive lock, until we have it open.

    Without it, an engine that stops between our look and SQLite's would have SQLite create a -wal and a -shm that are
    ours: the next engine could not write to them.
    """
    try:
        with sqlite_failures(state.path):
            file = apsw.VFSFile("", state.path, [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0])
    except UnicodeEncodeError:
        raise Unreadable("Its name is no UTF-8.", remedy="Link to it, or to its folder, under another name.") from None
    try:
        try:
            file.xLock(apsw.SQLITE_LOCK_SHARED)
        except apsw.BusyError:
            raise DatabaseBusy("It was opened or closed at this very moment.") from None
        if look(Path(state.path)).form != state.form:
            raise DatabaseBusy("It was opened or closed at this very moment.")
        yield
    finally:
        file.xUnlock(apsw.SQLITE_LOCK_NONE)
        file.xClose()


def _snapshot(connection: apsw.Connection) -> apsw.Connection:
    """Hardens a connection and begins its one transaction. Closes it where that fails."""
    try:
        with sqlite_failures():
            connection.set_busy_timeout(BUSY_MS)
            for switch, value in CONFIG.items():
                connection.config(switch, value)
            for limit, value in LIMITS.items():
                connection.limit(limit, value)
            connection.execute(_PRAGMAS).fetchall()
            connection.execute(_BEGIN).fetchall()
            connection.authorizer = _authorise
    except BaseException as error:
        connection.close(True)
        if _is_unfinished_rollback(error):
            raise _UnfinishedRollback from error
        raise
    return connection


class _UnfinishedRollback(Exception):
    """The -journal belongs to a writer that died: SQLite wants to roll back before it reads."""


def _is_unfinished_rollback(error: BaseException) -> bool:
    cause = error.__cause__
    return getattr(cause, "extendedresult", 0) == apsw.SQLITE_READONLY_ROLLBACK


def _authorise(action: int, first: str | None, *_: str | None) -> int:
    """Reading and nothing else: no ATTACH, no VACUUM INTO, no PRAGMA but the one that lists columns."""
    if action in _READING or (action == apsw.SQLITE_PRAGMA and first == "table_xinfo"):
        return apsw.SQLITE_OK
    return apsw.SQLITE_DENY
