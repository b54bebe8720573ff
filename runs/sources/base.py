"""What a source of databases is: it knows files (later: servers), and no schema."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

T = TypeVar("T")
Value = int | float | str | bytes | None
Params = Mapping[str, Value]
Columns = Mapping[str, str]  # column name → declared type, in the table's order


class Opened(StrEnum):
    """How a database was opened: an engine seems to have it (live), nothing shows that one has (closed), or a private
    copy was read."""

    LIVE = "live"
    CLOSED = "closed"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the file system says: total size with its -wal in bytes, the newest modification, and whether there is a -wal: without
    one, whoever writes has to wait for those that read."""

    size_bytes: int
    modified_at: datetime
    has_wal: bool


class Reader(Protocol):
    """One consistent snapshot, for a moment. SQL names tables as ``{schema}name`` and parameters as ``:name``."""

    @property
    def opened(self) -> Opened: ...

    @property
    def tables(self) -> Mapping[str, Columns]:
        """The ordinary tables and their columns: no views, no virtual tables."""

    def rows(self, sql: str, params: Params | None = None) -> list[tuple[Value, ...]]:
        """All rows, fetched whole. Text that is no UTF-8 arrives with U+FFFD. Raises Unreadable and its children."""

    def instant(self, moment: datetime) -> str:
        """The moment as SQL text that compares with Obelisk's columns: ``2026-11-22 15:29:13.999999+00:00``."""


class Source(Protocol):
    """One database that can be opened."""

    @property
    def slug(self) -> str: ...

    @property
    def place(self) -> str:
        """Where it lies, for the people who may know: never in an address."""

    def fingerprint(self) -> str:
        """Cheap, never raises: changes whenever the database may have changed."""

    def facts(self) -> FileFacts | None:
        """None where there is no file."""

    def seen(self) -> "Source":
        """The same source, its fingerprint and facts as they are now: looked at once for all who ask in one request."""

    def read(self, work: Callable[[Reader], T]) -> T:
        """What ``work`` returns for one short snapshot; the connection is closed when this returns.

        ``work`` may be called again, with a new snapshot, where the file changed under an open that can't see changes:
        it must return all it needs and change nothing. Raises Unreadable and its children.
        """
