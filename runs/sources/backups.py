"""A whole copy of a database as it is at one moment, by SQLite's own backup: for a person to keep before something is appended."""

import os
from pathlib import Path

import apsw

from runs.errors import DatabaseBusy, DiskFull, Unreadable
from runs.sources.failures import sqlite_failures
from runs.sources.files import look
from runs.sources.opening import open_state


def save(path: Path, to: Path) -> Path:
    """Copies what the file holds, its -wal included, into a new file that only this account may read.

    Raises DatabaseBusy where it changed too often meanwhile, DiskFull, Unreadable; then no file is left.
    """
    os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        for _ in range(5):
            state = look(path)
            opening = open_state(state)
            try:
                _copy(opening.connection, to)
            finally:
                opening.connection.close(True)
            if not opening.blind or look(path) == state:
                return to
        raise DatabaseBusy("It changed during each of 5 attempts.")
    except BaseException:
        to.unlink(missing_ok=True)
        raise


def _copy(original: apsw.Connection, to: Path) -> None:
    with sqlite_failures(str(to)):
        target = apsw.Connection(str(to), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            with target.backup("main", original, "main") as backup:
                while not backup.done:
                    backup.step(1000)
        except apsw.FullError as error:
            raise DiskFull(f"There is no room for a copy in {to.parent}.") from error
        except apsw.BusyError as error:
            raise Unreadable("Another process holds it for writing.") from error
        finally:
            target.close(True)
