"""What an engine is: it knows one schema, and no files. Plain SQL, read through a Reader, becomes records."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Protocol

from runs.filters import Filter
from runs.records import (
    Body,
    Cursor,
    Event,
    LogLine,
    Names,
    Overview,
    Page,
    Relatives,
    Revision,
    Run,
    Section,
    Status,
    Step,
)
from runs.sources.base import Columns, Reader

BODY_LIMIT = 64 * 1024 * 1024  # bytes of one payload that are read at most


class Engine(Protocol):
    """An engine's reading of one snapshot; it lives as long as the reader."""

    slug: ClassVar[str]
    label: ClassVar[str]

    reader: Reader

    def __init__(self, reader: Reader) -> None: ...

    @classmethod
    def recognises(cls, tables: Mapping[str, Columns]) -> bool:
        """Whether these tables are this engine's. By names of tables and columns, never by a version."""

    def revision(self) -> Revision: ...

    def overview(self) -> Overview:
        """Counts over all runs, and the failures of the 24 hours before the newest of now and the last recorded event,
        whichever the file's age makes meaningful: a file nobody wrote for a day is seen as of its last event."""

    def names(self) -> Names: ...

    def counts(self, where: Filter) -> Mapping[Status, int]:
        """Runs by status under the filter, whose own statuses are left aside; statuses without runs are absent."""

    def runs(self, where: Filter, after: Cursor | None, limit: int) -> Page[Run]:
        """Newest first by creation, ties by id (descending)."""

    def run(self, run_id: str) -> Run:
        """With facts, tries and payloads. Raises RunNotFound."""

    def long_ids(self, longer_than: int) -> list[str]:
        """The ids with more UTF-8 bytes than that: they are addressed by a digest."""

    def steps(self, run_id: str) -> tuple[Step, ...]:
        """All steps by ordinal, without bodies. Empty for a run without steps. Raises RunNotFound."""

    def relatives(self, run_id: str) -> Relatives: ...

    def events(self, run_id: str, after: int | None, limit: int) -> Page[Event]:
        """The history by position, from the one after ``after``. ``next`` carries a position in ``at``."""

    def logs(self, run_id: str, after: int | None, limit: int) -> Page[LogLine]:
        """What the application wrote during the run, oldest first; empty where the engine keeps no logs."""

    def extras(self, run_id: str) -> tuple[Section, ...]:
        """What else is recorded of the run: published values, streams, messages, backtraces."""

    def payload(self, run_id: str, name: str) -> Body:
        """One body, at most BODY_LIMIT bytes of it. Raises RunNotFound or PayloadNotFound."""

    def sections(self) -> tuple[Section, ...]:
        """What the database says beside its runs: workflows, queues, schedules, versions, deployments, components, migrations."""


def latest(*instants: datetime | None) -> datetime | None:
    """The newest of the instants that are known."""
    return max((instant for instant in instants if instant is not None), default=None)


def earliest(*instants: datetime | None) -> datetime | None:
    """The oldest of the instants that are known."""
    return min((instant for instant in instants if instant is not None), default=None)
