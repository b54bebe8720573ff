"""The databases that are served, by slug: from paths and NAME=paths to sources, picked up anew while running.

A spec is a file, ``NAME=file``, a folder or a glob; what exists under the literal name is meant literally. In folders
and globs only regular files count that begin like a SQLite database; links found there are not followed, hidden files
are skipped. A folder is read with the two levels of folders in it.
"""

import glob
import hashlib
import os
import re
import stat
import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

from runs import home
from runs.engines import engine_for
from runs.engines.base import Engine
from runs.errors import DatabaseNotFound, SeveralDatabases
from runs.sources.base import Source
from runs.sources.files import COMPANIONS, is_sqlite
from runs.sources.sqlite import SqliteSource

T = TypeVar("T")
_Mark = tuple[int, int, int, int]  # device, inode, size, modification

LEVELS = 3  # of folders that are read: the one named, and two below
MAX_ENTRIES = 10_000  # of a folder or glob that are looked at
MAX_DATABASES = (
    2_000  # of a folder or glob that are served: with more, neither the list of all nor a look at each stays quick
)
RESCAN_SECONDS = 1.0
MAX_SLUG = 80
# Stems that every database of an engine has: they say nothing about which one it is.
COMMON_STEMS = frozenset({"obelisk"})

_NAMED = re.compile(r"([^/=]+)=(.+)", re.DOTALL)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Database:
    """One served database: a source, read through whichever engine's schema it has."""

    source: Source

    @property
    def slug(self) -> str:
        return self.source.slug

    def seen(self) -> "Database":
        """The same, its file looked at once for all that asks for its fingerprint or its size (Source.seen)."""
        return Database(self.source.seen())

    def read(self, work: Callable[[Engine], T]) -> T:
        """What ``work`` returns for one short snapshot. Raises Unreadable, UnknownSchema among it."""
        return self.source.read(lambda reader: work(engine_for(reader)))


@dataclass(frozen=True, slots=True)
class _Found:
    """A file to serve. ``name`` is what the user calls it; ``explicit``: the user named this very file."""

    path: Path
    name: str
    explicit: bool


class Catalogue:
    """The databases behind some specs. Folders and globs are read again when asked, at most once a second."""

    def __init__(self, specs: Sequence[str]) -> None:
        self.specs = tuple(spec for spec in specs if spec.strip())
        self._lock = threading.Lock()
        self._scanned_at = -RESCAN_SECONDS
        self._databases: dict[str, Database] = {}
        self._looked_at: dict[str, tuple[_Mark, bool]] = {}
        self.cut: frozenset[str] = (
            frozenset()
        )  # the specs that lead to more than MAX_DATABASES, of which the first are served

    def databases(self) -> tuple[Database, ...]:
        """In the order of the specs, within one by path."""
        with self._lock:
            if time.monotonic() - self._scanned_at >= RESCAN_SECONDS:
                self._databases = self._scan()
                self._scanned_at = time.monotonic()
            return tuple(self._databases.values())

    def database(self, slug: str) -> Database:
        """The database of that slug. Raises DatabaseNotFound naming the known ones."""
        known = {database.slug: database for database in self.databases()}
        if slug in known:
            return known[slug]
        names = list(known)
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        served_here = f"Served here: {', '.join(names[:20])}{more}." if names else "None is served here."
        raise DatabaseNotFound(f"{slug[:MAX_SLUG]!r} is unknown. {served_here}")

    def _scan(self) -> dict[str, Database]:
        found: dict[str, _Found] = {}
        own = os.path.realpath(home.folder() / home.FILE)
        folder = cache(os.path.realpath)  # thousands of files, once a second, in a few folders
        for item in self._found():
            path = item.path
            is_link = os.path.islink(path)  # noqa: PTH114  Path's own raises where a folder may not be looked into
            real = os.path.realpath(path) if is_link else os.path.join(folder(path.parent), path.name)  # noqa: PTH118
            if real == own:
                continue  # Django has it open in this very process: reading it here would take its locks away
            known = found.get(real)
            # A file named twice counts once: in its first place, under the better of its names.
            if known is None or (item.explicit, bool(item.name)) > (known.explicit, bool(known.name)):
                found[real] = item
        slugs = _slugs(found.values())
        return {slugs[item.path]: Database(SqliteSource(item.path, slugs[item.path])) for item in found.values()}

    def _found(self) -> Iterator[_Found]:
        looked_at: dict[str, tuple[_Mark, bool]] = {}
        cut: set[str] = set()
        for spec in self.specs:
            name, path = _parsed(spec)
            if os.path.isdir(path):  # noqa: PTH112  Path's own raises where a folder may not be looked into
                entries = islice(_entries_below(path, LEVELS), MAX_ENTRIES)
                files = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
            elif glob.has_magic(str(path)) and not os.path.lexists(path):
                matches = islice(glob.iglob(str(path), recursive=True), MAX_ENTRIES)  # noqa: PTH207  the path is absolute
                files = sorted(matches)
            else:
                yield _Found(path, name, explicit=True)
                continue
            count = 0
            for file in files:
                if self._is_database(file, looked_at):
                    count += 1
                    if count > MAX_DATABASES:
                        cut.add(spec)
                        break
                    yield _Found(Path(file), name, explicit=False)
        self._looked_at, self.cut = looked_at, frozenset(cut)

    def _is_database(self, file: str, looked_at: dict[str, tuple[_Mark, bool]]) -> bool:
        """Whether a file found is one: its header is read again only when the file has changed."""
        name = os.path.basename(file)  # noqa: PTH119  thousands of files, once a second
        if name.startswith(".") or name.endswith(COMPANIONS):
            return False
        try:
            about = os.lstat(file)
        except OSError:
            return False
        mark = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        if name == home.FILE and os.path.realpath(file) == os.path.realpath(home.folder() / home.FILE):
            return False
        if file not in looked_at:
            known = self._looked_at.get(file)
            answer = known[1] if known and known[0] == mark else stat.S_ISREG(about.st_mode) and is_sqlite(Path(file))
            looked_at[file] = mark, answer
        return looked_at[file][1]


def only(spec: str) -> Database:
    """The one database that a spec leads to. Raises DatabaseNotFound where it is none, SeveralDatabases where it is more."""
    found = Catalogue((spec,)).databases()
    if len(found) != 1:
        if not found:
            raise DatabaseNotFound(f"There is none in {spec}.", remedy="Name one file.")
        names = ", ".join(database.slug for database in found[:10])
        more = f" and {len(found) - 10:,} more" if len(found) > 10 else ""
        raise SeveralDatabases(f"{spec} leads to {len(found):,}: {names}{more}.", remedy="Name one file.")
    return found[0]


@lru_cache(maxsize=1)
def served() -> Catalogue:
    """The catalogue of this process: the specs in ``DURASCOPE_PATHS``, one a line; and our own jobs where runs may be retried."""
    specs = os.environ.get("DURASCOPE_PATHS", "").split("\n")
    # A pattern that only this file can match: it is there as soon as there are jobs.
    jobs = f"{glob.escape(str(home.folder()))}/{home.JOBS[:-1]}[{home.JOBS[-1]}]"
    return Catalogue([*specs, jobs] if os.environ.get("DURASCOPE_RETRY") else specs)


def _parsed(spec: str) -> tuple[str, Path]:
    named = None if os.path.lexists(spec) else _NAMED.fullmatch(spec)
    name, path = (named[1], named[2]) if named else ("", spec)
    return name, Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111  both keep globs as they are


def _entries_below(folder: Path | str, levels: int) -> "Iterator[os.DirEntry[str]]":
    """By name, those of a folder before those of the folders in it; what may not be looked into is left out."""
    try:
        with os.scandir(folder) as scan:
            entries = sorted(islice(scan, MAX_ENTRIES), key=lambda entry: entry.name)
    except OSError:
        return
    yield from entries
    for entry in entries:
        if levels > 1 and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield from _entries_below(entry.path, levels - 1)


def _slugs(files: Iterable[_Found]) -> dict[Path, str]:
    """A slug for each path, by what the files are called, never by when or in which order they were found.

    The name given; else the stem; where that is common or not unique, the folder's name; else with a hash of the path.
    Files that the user named choose before those found in folders, so that a newcomer never takes their slugs.
    """
    slugs: dict[Path, str] = {}
    for explicit in (True, False):
        group = [file for file in files if file.explicit is explicit]
        for candidate in (_given, _stem, _folder):
            waiting = [file for file in group if file.path not in slugs]
            wanted = {file.path: candidate(file) for file in waiting}
            count = Counter(wanted.values())
            taken = set(slugs.values())
            for path, slug in wanted.items():
                if slug and count[slug] == 1 and slug not in taken:
                    slugs[path] = slug
        for file in group:
            if file.path not in slugs:
                best = _given(file) or _stem(file) or _folder(file) or "database"
                digest = hashlib.sha256(os.fsencode(file.path)).hexdigest()
                slugs[file.path] = f"{best}-{digest[:8]}"
    return slugs


def _given(file: _Found) -> str:
    if not file.name:
        return ""
    return safe(file.name) if file.explicit else safe(f"{file.name}-{file.path.stem}")


def _stem(file: _Found) -> str:
    stem = safe(file.path.stem)
    return "" if file.name or stem.lower() in COMMON_STEMS else stem


def _folder(file: _Found) -> str:
    return "" if file.name else safe(file.path.parent.name)


def safe(text: str) -> str:
    """The text with what an address can carry as it is, ``[A-Za-z0-9_.-]``; empty where nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _UNSAFE.sub("-", plain)[:MAX_SLUG].strip("-.")
