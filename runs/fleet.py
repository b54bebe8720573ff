"""All databases side by side: what each is and holds, in numbers. One that can't be read disturbs no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from runs.catalogue import Database
from runs.counting import Counted, counted
from runs.engines.base import Engine
from runs.errors import DurascopeError
from runs.records import Overview, Revision
from runs.sources.base import FileFacts, Opened


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
    """One database: what it holds, or why it can't be read; ``facts`` are None where there is no file. ``fresh``: of the
    file as it is."""

    slug: str
    facts: FileFacts | None
    contents: Contents | DurascopeError
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Pending:
    """A large database that is being counted for the first time."""

    slug: str
    facts: FileFacts | None
    contents: None = None
    fresh: bool = False


def survey(databases: Sequence[Database]) -> tuple[Entry, ...]:
    """One entry a database, in their order. What was read is kept until the file changes, or time makes it another."""
    found = counted(databases, "contents", _contents, waits=True)
    return tuple(_entry(database, contents) for database, contents in zip(databases, found, strict=True) if contents)


def glance(databases: Sequence[Database]) -> tuple[Entry | Pending, ...]:
    """The same at once: what a large database holds may be older than its file, or still to come."""
    found = counted(databases, "contents", _contents)
    return tuple(
        _entry(database, contents) if contents else Pending(database.slug, database.source.facts())
        for database, contents in zip(databases, found, strict=True)
    )


def last_event_at(database: Database) -> datetime | None:
    """The newest instant that the database recorded; None where it can't be read, records none, or isn't counted yet."""
    (entry,) = glance([database])
    return entry.contents.overview.last_event_at if isinstance(entry.contents, Contents) else None


def newest_by_slug(databases: Sequence[Database]) -> dict[str, datetime]:
    """When the newest run of a database was created: of those that are known as they are."""
    return {
        entry.slug: entry.contents.overview.newest_run_at
        for entry in glance(databases)
        if isinstance(entry.contents, Contents) and entry.fresh and entry.contents.overview.newest_run_at is not None
    }


def _entry(database: Database, contents: Counted[Contents]) -> Entry:
    return Entry(database.slug, database.source.facts(), contents.answer, contents.fresh)


def _contents(_slug: str, engine: Engine) -> Contents:
    return Contents(
        engine=engine.slug,
        label=engine.label,
        revision=engine.revision(),
        opened=engine.reader.opened,
        overview=engine.overview(),
    )
