"""What an engine is: it knows one schema, and no files. Plain SQL, read through a Reader, becomes records."""

from collections.abc import Collection, Mapping, MutableMapping
from datetime import datetime
from typing import ClassVar, Protocol

from runs.digests import Digests, Mark
from runs.filters import Filter
from runs.records import (
    Body,
    Cursor,
    Event,
    Histogram,
    LogLine,
    Names,
    Neighbours,
    Overview,
    Page,
    Relatives,
    Revision,
    Run,
    Section,
    Status,
    Step,
    Usual,
)
from runs.sources.base import Columns, Reader

# Steps that nothing changes any more, by ordinal, each with a hash of the rows that show it.
Settled = MutableMapping[int, tuple[int, Step]]

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

    def histogram(self, where: Filter, parts: int = 48) -> Histogram:
        """Runs by creation under the whole filter, statuses included, in equal parts from ``since`` to ``until``; where
        the filter has none, from the first or to the last run it matches."""

    def runs(self, where: Filter, after: Cursor | None, limit: int) -> Page[Run]:
        """Newest first by creation, ties by id (descending)."""

    def run(self, run_id: str) -> Run:
        """With facts, tries and payloads. Raises RunNotFound."""

    def demand(self, run_id: str) -> None:
        """Raises RunNotFound unless there is such a run: nothing else of it is read."""

    def long_ids(self, longer_than: int) -> list[str]:
        """The ids with more UTF-8 bytes than that: they are addressed by a digest."""

    def steps(self, run_id: str, settled: Settled | None = None) -> tuple[Step, ...]:
        """All steps by ordinal, without bodies. Empty for a run without steps. Raises RunNotFound.

        ``settled`` is what an earlier reading of the same run left there, and is left what this one knows: an engine may take from
        it what it can tell to be as it was. Nobody else may hold it.
        """

    def relatives(self, run_id: str) -> Relatives: ...

    def neighbours(self, run_id: str) -> Neighbours:
        """The runs of the same workflow just before and after it in the order of lists, of a run without a parent only
        such runs. None too where tens of thousands of other runs lie between. Raises RunNotFound."""

    def usual(self, names: Collection[str]) -> Mapping[str, Usual]:
        """By name of a step, how long the newest of them took that succeeded: at most 500 each, found among a bounded
        number of newest ones. Names with fewer than 20, sleeps and messages are absent."""

    def events(self, run_id: str, after: int | None, limit: int, types: frozenset[str] = frozenset()) -> Page[Event]:
        """The history by position, from the one after ``after``, only of those types where any are named. ``next``
        carries a position in ``at``. Raises RunNotFound."""

    def event_types(self, run_id: str) -> tuple[tuple[str, int], ...]:
        """How many events of each type the history has, most frequent first. Raises RunNotFound."""

    def logs(
        self,
        run_id: str,
        after: int | None,
        limit: int,
        levels: frozenset[str] = frozenset(),
        attempt: str = "",
    ) -> Page[LogLine]:
        """What the application wrote during the run, oldest first; empty where the engine keeps no logs. Only of those
        levels or streams (``warn``, ``stderr``) and of that attempt, where named. Raises RunNotFound."""

    def extras(self, run_id: str) -> tuple[Section, ...]:
        """What else is recorded of the run: published values, streams, messages, backtraces."""

    def raw(self, run_id: str, ordinal: int | None) -> tuple[Section, ...]:
        """The rows as stored of the run, or of one of its steps: a section for each table, named by its key, with the
        columns ``column``, ``stored value``, ``meaning``. Raises RunNotFound or StepNotFound."""

    def payload(self, run_id: str, name: str) -> Body:
        """One body, at most BODY_LIMIT bytes of it. Raises RunNotFound or PayloadNotFound."""

    def digests(self, after: str, limit: int) -> Digests:
        """At most ``limit`` runs, children too, by id from the one after ``after``: all of a database, in parts short enough to
        disturb no engine. The samples are of the steps of these runs."""

    def marks(self, run_ids: Collection[str]) -> Mapping[str, tuple[Mark, ...]]:
        """The unchanging events of these runs, oldest first, by id; runs that there are not are absent."""

    def inputs(self, run_ids: Collection[str]) -> Mapping[str, Body]:
        """The inputs of these runs, by id; runs without one, or that there are not, are absent."""

    def contents(self, run_id: str) -> Mapping[str, bytes]:
        """A digest (16 bytes) of the stored bytes of every payload of the run and of its steps, by the payload's name: equal
        ones hold the same, different ones may. Raises RunNotFound."""

    def sections(self) -> tuple[Section, ...]:
        """What the database says beside its runs: workflows, queues, schedules, versions, deployments, components, migrations."""

    def configuration(self) -> tuple[Section, ...]:
        """Those of the sections that say how it is set up, not what ran."""


def latest(*instants: datetime | None) -> datetime | None:
    """The newest of the instants that are known."""
    return max((instant for instant in instants if instant is not None), default=None)


def earliest(*instants: datetime | None) -> datetime | None:
    """The oldest of the instants that are known."""
    return min((instant for instant in instants if instant is not None), default=None)
