"""The only place that knows what SQLite's and the file system's errors are called: they become ours here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from runs.errors import (
    Damaged,
    DatabaseLocked,
    FileMissing,
    NotPermitted,
    NotSQLite,
    QueryTooSlow,
    UnknownSchema,
    Unreadable,
)

# By primary result code, as apsw names them; the sentence says what to do.
_REMEDIES: dict[type[apsw.Error], tuple[type[Unreadable], str]] = {
    apsw.BusyError: (DatabaseLocked, "Another process holds it for writing. Try again in a moment."),
    apsw.LockedError: (DatabaseLocked, "Another process holds it for writing. Try again in a moment."),
    apsw.NotADBError: (NotSQLite, "It may be encrypted, or not a database at all."),
    apsw.CorruptError: (Damaged, "Copy what can be saved with the sqlite3 shell's .recover command."),
    apsw.FormatError: (Damaged, "Copy what can be saved with the sqlite3 shell's .recover command."),
    apsw.PermissionsError: (NotPermitted, "Give the account that runs Durascope the right to read it."),
    apsw.ReadOnlyError: (NotPermitted, "Give the account that runs Durascope the right to read it."),
    apsw.AuthError: (NotPermitted, "Durascope only ever reads."),
    apsw.InterruptError: (QueryTooSlow, "Ask for less, or allow more seconds with DURASCOPE_QUERY_SECONDS."),
    apsw.SQLError: (UnknownSchema, "Durascope does not know this form of the engine's tables."),
    apsw.SchemaChangeError: (DatabaseLocked, "The engine is changing its tables. Try again in a moment."),
    apsw.IOError: (Unreadable, "The disk or the network drive did not deliver it."),
    apsw.NoMemError: (Unreadable, "It needs more memory than Durascope allows itself. Ask for less."),
    apsw.TooBigError: (Unreadable, "A value in it is larger than Durascope reads at once."),
    apsw.FullError: (Unreadable, "There is no room for temporary data. Make room, or name another folder with TMPDIR."),
    apsw.CantOpenError: (Unreadable, "It may have been moved or removed at this moment. Try again."),
}


@contextmanager
def sqlite_failures(path: str = "") -> Iterator[None]:
    """Turns every error of SQLite inside the block into Unreadable or one of its children. ``path``: what is opened."""
    try:
        yield
    except apsw.CantOpenError as error:
        if path and os.path.exists(path) and not os.access(path, os.R_OK):  # noqa: PTH110  the path may hold bytes that are no text
            kind, remedy = _REMEDIES[apsw.PermissionsError]
            raise kind(_said(error), remedy=remedy) from error
        raise translated(error) from error
    except apsw.Error as error:
        raise translated(error) from error


def translated(error: apsw.Error) -> Unreadable:
    """Our error for one of SQLite's, with its words."""
    for known, (kind, remedy) in _REMEDIES.items():
        if isinstance(error, known):
            return kind(_said(error), remedy=remedy)
    return Unreadable(_said(error))


@contextmanager
def file_failure(path: Path) -> Iterator[None]:
    """Turns the file system's errors inside the block into ours."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise FileMissing(
            f"There is nothing at {path}.", remedy="Check the path; the file may have been moved."
        ) from None
    except PermissionError:
        raise NotPermitted(
            f"{path} may not be looked at.", remedy="Give the account that runs Durascope the right to read its folder."
        ) from None
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FileMissing(f"{path} can't be looked at: {words}.") from None


def _said(error: apsw.Error) -> str:
    words = str(error).strip().rstrip(".")
    return f"SQLite says: {words}." if words else ""
