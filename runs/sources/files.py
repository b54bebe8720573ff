"""What lies on disk around a SQLite file, and its bytes. No inspected file is ever opened by anything but SQLite.

POSIX drops all locks that a process has on a file when *any* descriptor of that file is closed. So Python's ``open`` on
a database could take the lock from under a reader; SQLite knows its own descriptors and defers the close. Even the
header is read through it.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import apsw

from runs.clock import EPOCH, FIRST, LAST
from runs.errors import NotAFile, NotSQLite, Unreadable
from runs.sources.base import FileFacts
from runs.sources.failures import file_failure, sqlite_failures

MAGIC = b"SQLite format 3\x00"
_PACKED = (
    (b"\x1f\x8b", "a gzip file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"BZh", "a bzip2 file"),
    (b"PK\x03\x04", "a zip archive"),
)
HEADER_BYTES = 100
COMPANIONS = ("-wal", "-shm", "-journal")
READ_ONLY = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
# Two writes within one tick of the kernel's clock, at most 10 ms, leave the same time on a file.
TICK_NS = 20_000_000
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}

Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """What ``stat`` says of one file, as far as it tells a changed file from an unchanged one."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @property
    def recent(self) -> bool:
        """Whether it was written so lately that another write might leave the same mark."""
        return abs(time.time_ns() - self.modified_ns) < TICK_NS


@dataclass(frozen=True, slots=True)
class FileState:
    """A database file and what lies beside it at one moment; None where there is no such file.

    ``path`` leads to the file itself, because SQLite looks for the -wal beside the file that a link leads to.
    The -shm is SQLite's scratch: only whether it is there counts. ``one_owner``: what lies beside the file belongs to
    whom the file belongs to.
    """

    path: str
    main: Mark
    wal: Mark | None
    journal: Mark | None
    has_shm: bool
    one_owner: bool

    @property
    def wal_filled(self) -> bool:
        return self.wal is not None and self.wal.size > 0

    @property
    def journal_filled(self) -> bool:
        return self.journal is not None and self.journal.size > 0

    @property
    def identity(self) -> Identity:
        """Which file it is, whatever is written into it."""
        return self.main.device, self.main.inode

    @property
    def form(self) -> tuple[Identity, bool, bool]:
        """What decides how it may be opened where it lies."""
        return self.identity, self.wal_filled, self.has_shm

    @property
    def recent(self) -> bool:
        return any(mark.recent for mark in (self.main, self.wal, self.journal) if mark)

    @property
    def fingerprint(self) -> str:
        marks = (self.main, self.wal, self.journal)
        text = "_".join(f"{m.device:x}.{m.inode:x}.{m.size:x}.{m.modified_ns:x}" if m else "-" for m in marks)
        # So recent that the next write might not show: this fingerprint is good for this moment alone.
        return f"{text}_{time.time_ns():x}" if self.recent else text

    def facts(self) -> FileFacts:
        marks = [mark for mark in (self.main, self.wal) if mark]
        newest = max(mark.modified_ns for mark in marks)
        return FileFacts(sum(mark.size for mark in marks), _instant(newest), has_wal=self.wal is not None)


def look(path: Path) -> FileState:
    """The file's state by ``stat`` alone. Raises FileMissing, NotAFile, NotPermitted and other Unreadable."""
    with file_failure(path):
        real = os.fspath(path)
        found = os.lstat(real)
        if stat.S_ISLNK(found.st_mode):
            real = os.path.realpath(path, strict=True)
            found = os.stat(real)  # noqa: PTH116  as often as files are looked at, a Path costs more than the look
        main = _mark(real, found)
        beside = {suffix: _beside(real + suffix) for suffix in COMPANIONS}
    owners = {(about.st_uid, about.st_gid) for about in (found, *beside.values()) if about}
    wal, shm, journal = (_mark(real + suffix, about) if about else None for suffix, about in beside.items())
    return FileState(real, main, wal, journal, has_shm=shm is not None, one_owner=len(owners) == 1)


def uri(path: str, *options: str) -> str:
    """The path as SQLite's URI, whatever characters it has: always read-only."""
    return f"file:{quote(os.fsencode(path))}?{'&'.join(('mode=ro', *options))}"


def uri_to_write(path: str) -> str:
    """The path as a URI that opens an existing file for writing, and creates none. Only for runs.sources.writing."""
    return f"file:{quote(os.fsencode(path))}?mode=rw"


@contextmanager
def raw(path: str) -> Iterator[apsw.Connection]:
    """A connection that only hands out the file's bytes: ``read("main", 0, start, amount)``. No lock, -wal or -shm."""
    with sqlite_failures(path):
        connection = apsw.Connection(uri(path, "immutable=1"), flags=READ_ONLY)
        try:
            yield connection
        finally:
            connection.close(True)


def header(state: FileState) -> bytes:
    """The first 100 bytes. Raises NotSQLite where they are no database's."""
    if state.main.size == 0:
        raise NotSQLite("The file is empty: an engine may not have written to it yet.")
    with raw(state.path) as file:
        _, data = file.read("main", 0, 0, min(HEADER_BYTES, state.main.size))
    if not data.startswith(MAGIC) or len(data) < HEADER_BYTES:
        raise _no_database(data)
    return data


def _no_database(head: bytes) -> NotSQLite:
    packed = next((name for mark, name in _PACKED if head.startswith(mark)), None)
    if packed:
        return NotSQLite(f"It begins as {packed} does.", remedy="Unpack it and point Durascope at the result.")
    return NotSQLite(
        f"It begins with {head[:8].hex(' ') or 'nothing'}, not as every SQLite file does.",
        remedy="Point Durascope at the database file itself; an encrypted one must be decrypted first.",
    )


def is_wal(head: bytes) -> bool:
    """Whether the header says that changes go through a -wal."""
    return 2 in head[18:20]


def whole_size(head: bytes) -> int | None:
    """How many bytes the header says that the file has; None where an old SQLite has written since and did not say
    (sqlite.org/fileformat.html, 1.3.7)."""
    if head[24:28] != head[92:96]:
        return None
    page = int.from_bytes(head[16:18], "big")
    return (65_536 if page == 1 else page) * int.from_bytes(head[28:32], "big")


def is_sqlite(path: Path) -> bool:
    """Whether this is a regular file that begins like a database. Never raises, never blocks on a pipe."""
    try:
        header(look(path))
    except Unreadable:
        return False
    return True


def _mark(path: str, found: os.stat_result) -> Mark:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")
        raise NotAFile(f"{path} is {kind}.", remedy="Durascope reads regular files only.")
    return Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _beside(path: str) -> os.stat_result | None:
    # What is no regular file is refused here too: SQLite would open a -wal that is a pipe, and wait for ever.
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _instant(nanoseconds: int) -> datetime:
    # Some file systems keep any 64 bits that somebody sets: beyond what is taken for an instant, the nearest one.
    try:
        return min(max(EPOCH + timedelta(microseconds=nanoseconds // 1000), FIRST), LAST)
    except OverflowError:
        return LAST if nanoseconds > 0 else FIRST
