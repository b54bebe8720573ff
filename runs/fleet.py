"""All databases side by side: what each is and holds, in numbers. One that can't be read disturbs no other."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from runs import clock
from runs.catalogue import Database
from runs.engines.base import Engine
from runs.errors import DurascopeError
from runs.records import Overview, Revision
from runs.sources.base import FileFacts, Opened

T = TypeVar("T")

KEPT = 4096  # contents
STAYS_TRUE = 15  # seconds that counts of what is due stay true enough
# A locked file is waited for; a few threads keep one such file from delaying all that come after it.
READ_TOGETHER = 4


class Readable(Protocol):
    """What is needed of a database to ask it something: catalogue.Database is one."""

    @property
    def slug(self) -> str: ...

    def read(self, work: Callable[[Engine], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Contents:
    """What the engine says of its database: its slug (``dbos``), the schema, how the file was opened, the numbers."""

    engine: str
    label: str
    revision: Revision
    opened: Opened
    overview: Overview


@dataclass(frozen=True, slots=True)
class Entry:
    """One database: what it holds, or why it can't be read; ``facts`` are None where there is no file."""

    slug: str
    facts: FileFacts | None
    contents: Contents | DurascopeError


_kept: dict[tuple[str, str, int], Contents] = {}


def survey(databases: Sequence[Database]) -> tuple[Entry, ...]:
    """One entry a database, in their order. What was read is kept until the file changes, or time makes it another."""
    keys = [_key(database) for database in databases]
    kept: list[Contents | DurascopeError | None] = [_kept.get(key) for key in keys]
    missing = [position for position, contents in enumerate(kept) if contents is None]
    for position, contents in zip(missing, read_each([databases[at] for at in missing], _contents), strict=True):
        kept[position] = contents
        if isinstance(contents, Contents):
            _kept[keys[position]] = contents
    while len(_kept) > KEPT:
        _kept.pop(next(iter(_kept)), None)
    return tuple(
        Entry(database.slug, database.source.facts(), contents)
        for database, contents in zip(databases, kept, strict=True)
        if contents is not None
    )


def last_event_at(database: Database) -> datetime | None:
    """The newest instant that the database recorded; None where it can't be read or records none."""
    (entry,) = survey([database])
    return entry.contents.overview.last_event_at if isinstance(entry.contents, Contents) else None


def _key(database: Database) -> tuple[str, str, int]:
    # What is due, and the 24 hours of failures, move with the clock even where the file stays as it is.
    return database.slug, database.source.fingerprint(), int(clock.now().timestamp()) // STAYS_TRUE


def read_each(databases: Sequence[Readable], work: Callable[[str, Engine], T]) -> tuple[T | DurascopeError, ...]:
    """What ``work(slug, engine)`` returns for each database, in their order, or the error that kept it from that."""
    if len(databases) <= 1:
        return tuple(_read(database, work) for database in databases)
    with ThreadPoolExecutor(min(READ_TOGETHER, len(databases)), thread_name_prefix="fleet") as threads:
        return tuple(threads.map(lambda database: _read(database, work), databases))


def _read(database: Readable, work: Callable[[str, Engine], T]) -> T | DurascopeError:
    try:
        return database.read(lambda engine: work(database.slug, engine))
    except DurascopeError as error:
        return error


def _contents(_slug: str, engine: Engine) -> Contents:
    return Contents(
        engine=engine.slug,
        label=engine.label,
        revision=engine.revision(),
        opened=engine.reader.opened,
        overview=engine.overview(),
    )
