"""Private copies of databases that can't be read where they lie: a left-over -wal, or a rollback nobody finished.

Opening such a file in place would create files beside it, or needs a write. So it is copied, with its -wal or -journal,
into a private temporary folder, and SQLite recovers the copy there. Each process has a folder of its own; it goes when
the process ends, and folders that killed processes left go when the next one is made.
"""

import atexit
import os
import shutil
import stat
import tempfile
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import apsw

from runs.errors import DatabaseBusy, Unreadable
from runs.sources.failures import sqlite_failures
from runs.sources.files import FileState, look, raw

PREFIX = "durascope-copies-"
CHUNK = 1024 * 1024
# How a journal ends that belongs to a transaction over several files: it then names one more file, which SQLite would
# delete after the rollback. That file is not ours, and in a hostile journal it may be any file.
_LONGEST_TRAILER = 4096 + 16
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")

_lock = threading.Lock()
_folders: dict[int, Path] = {}  # by process id: a forked worker must not use, or remove, its parent's
_made: dict[tuple[int, str], tuple[str, Path]] = {}  # (process id, original) → fingerprint, recovered copy


def open_copy(state: FileState) -> apsw.Connection:
    """A read-only connection to a recovered copy of the file in exactly this state.

    The copy is made once for a state. Raises DatabaseBusy where the file changes while it is copied; Unreadable where
    there is no room for it, or SQLite can't recover it.
    """
    if state.recent:
        raise DatabaseBusy("It was written at this very moment: another write might not show in its times.")
    key = os.getpid(), state.path
    with _lock:
        fingerprint, copy = _made.get(key, ("", Path()))
        if fingerprint != state.fingerprint or not copy.exists():
            if fingerprint:
                del _made[key]
                copy.unlink(missing_ok=True)
            copy = _copied(state)
            _made[key] = state.fingerprint, copy
        with sqlite_failures(str(copy)):
            # Nobody writes to a recovered copy; it may be unlinked under this connection, which keeps what it opened.
            return apsw.Connection(
                f"file:{copy}?mode=ro&immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            )


def _copied(state: FileState) -> Path:
    try:
        base = _folder() / f"{uuid.uuid4().hex}.sqlite"
        try:
            _copy(state.path, state.main.size, base)
            if state.wal_filled and state.wal:
                _copy(f"{state.path}-wal", state.wal.size, Path(f"{base}-wal"))
            elif state.journal_filled and state.journal:
                _copy(f"{state.path}-journal", state.journal.size, Path(f"{base}-journal"))
                _cut_ties(Path(f"{base}-journal"))
            if look(Path(state.path)) != state:
                raise DatabaseBusy("It changed while it was copied.")
            _recover(base)
        except BaseException:
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{base}{suffix}").unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Unreadable(
            f"It needs a private copy, which could not be made: {error.strerror or error}.",
            remedy="Make room, or name another folder for it with TMPDIR.",
        ) from error
    return base


def _copy(original: str, size: int, to: Path) -> None:
    with to.open("xb") as target, raw(original) as source:
        for offset in range(0, size, CHUNK):
            _, data = source.read("main", 0, offset, min(CHUNK, size - offset))
            target.write(data)


def _cut_ties(journal: Path) -> None:
    """Has a journal name no other file. Where the file that it names is gone, its transaction was committed."""
    with journal.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST_TRAILER))
        tail = file.read()
        if not tail.endswith(_SUPER_JOURNAL):
            return
        file.seek(-len(_SUPER_JOURNAL), os.SEEK_END)
        file.write(bytes(len(_SUPER_JOURNAL)))
    # name, its length and its checksum in 4 bytes each, the mark
    length = int.from_bytes(tail[-16:-12], "big")
    name = tail[:-16][-length:] if length else b""
    if b"\0" not in name and not os.path.lexists(name):
        journal.unlink()


def _recover(copy: Path) -> None:
    """Lets SQLite roll back, or fold in, what its writer left, so that the copy is one file."""
    with sqlite_failures(str(copy)):
        connection = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
            connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
            connection.config(apsw.SQLITE_DBCONFIG_ENABLE_VIEW, 0)
            connection.execute("PRAGMA synchronous=0; PRAGMA schema_version; PRAGMA journal_mode=DELETE").fetchall()
        finally:
            connection.close(True)


def _folder() -> Path:
    pid = os.getpid()
    if pid not in _folders or not _folders[pid].exists():
        _remove_stale()
        _folders[pid] = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{pid}-"))
    return _folders[pid]


def _remove_stale() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(FileNotFoundError):  # another process may be tidying up as well
            about = folder.lstat()
            ours = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
            if ours and owner.isdecimal() and not _alive(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    with suppress(OSError):  # where there is no /proc, a process that nobody has waited for counts as alive
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1] != ["Z"]
    return True


@atexit.register
def _remove_own() -> None:
    if folder := _folders.get(os.getpid()):
        shutil.rmtree(folder, ignore_errors=True)
