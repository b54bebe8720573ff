"""DBOS: the system database that its Python and Go libraries write to SQLite, every schema since the first (dbos 1.13).

schema         which tables and columns there are; statements fitted to them
snapshot       a reader with its schema, and SQL that several modules share
vocabulary     DBOS's words and ours
listing        rows of workflow_status as runs ── conditions · spans · reasons · search
details        one run
steps          rows of operation_outputs ── timeouts
history        events, put together from all tables
extras         what else is recorded of a run
bodies         where payloads lie, and one when it is asked for
raw            the rows of a run or a step, as stored
neighbours     the runs of the same workflow around one
statistics     usual durations, runs over time
compared, contents ── recorded    what comparing two databases reads of each
overview, sections ── workflows   the file as a whole
retry          what a retry appends ── retry_facts · retry_start · retry_rows · retry_forks · retry_checks · retry_workers
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import ClassVar

from runs.clock import from_epoch_ms
from runs.digests import Digests, Mark
from runs.engines.base import Settled
from runs.engines.dbos import (
    bodies,
    compared,
    contents,
    details,
    extras,
    history,
    listing,
    neighbours,
    overview,
    raw,
    retry,
    retry_checks,
    retry_facts,
    retry_workers,
    search,
    sections,
    statistics,
    steps,
)
from runs.engines.dbos.conditions import condition
from runs.engines.dbos.schema import Schema
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import text
from runs.errors import PayloadNotFound
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
from runs.retry import FollowUp, Operation, Options, RetryPlan, Trace
from runs.sources.base import Columns, Reader

RELATIVES = 1000  # children or forks of one run that are shown

_LONG_IDS = """
SELECT s.workflow_uuid FROM {schema}workflow_status s WHERE octet_length(s.workflow_uuid) > :bytes ORDER BY
  s.workflow_uuid
"""


class Dbos:
    """DBOS's reading of one snapshot."""

    slug: ClassVar[str] = "dbos"
    label: ClassVar[str] = "DBOS"

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._snapshot = Snapshot(reader)

    @classmethod
    def recognises(cls, tables: Mapping[str, Columns]) -> bool:
        return Schema.recognised(tables)

    def revision(self) -> Revision:
        return self._snapshot.schema.revision(overview.newest_migration(self._snapshot))

    def overview(self) -> Overview:
        return overview.overview(self._snapshot)

    def names(self) -> Names:
        return overview.names(self._snapshot)

    def counts(self, where: Filter) -> Mapping[Status, int]:
        return overview.counts(self._snapshot, where)

    def histogram(self, where: Filter, parts: int = 48) -> Histogram:
        return statistics.histogram(self._snapshot, where, parts)

    def runs(self, where: Filter, after: Cursor | None, limit: int) -> Page[Run]:
        found = condition(where)
        if where.q:
            page = search.search(self._snapshot, found, where.q, where.statuses, after, limit)
            searched = from_epoch_ms(page.next.at) if page.next is not None and page.partial else None
            return Page(listing.runs(self._snapshot, page.rows), page.next, page.partial, searched)
        rows = listing.page(self._snapshot, found, where.statuses, after, limit + 1)
        more = len(rows) > limit
        return Page(listing.runs(self._snapshot, rows[:limit]), rows[limit - 1].at if more else None)

    def run(self, run_id: str) -> Run:
        return details.details(self._snapshot, run_id)

    def demand(self, run_id: str) -> None:
        details.require(self._snapshot, run_id)

    def long_ids(self, longer_than: int) -> list[str]:
        return [text(run_id) for (run_id,) in self._snapshot.rows(_LONG_IDS, {"bytes": longer_than})]

    def steps(self, run_id: str, settled: Settled | None = None) -> tuple[Step, ...]:
        details.require(self._snapshot, run_id)
        return steps.steps(self._snapshot, run_id)

    def relatives(self, run_id: str) -> Relatives:
        details.require(self._snapshot, run_id)
        named = listing.children(self._snapshot, run_id, RELATIVES)
        started = {
            step.child for step in steps.recorded(self._snapshot, run_id) if step.child and steps.starts_child(step)
        }
        others = listing.by_id(self._snapshot, sorted(started - {row.id for row in named})[:RELATIVES])
        children = listing.newest_first((*named, *others))[::-1]
        forks = listing.forks(self._snapshot, run_id, RELATIVES)
        return Relatives(children=listing.runs(self._snapshot, children), forks=listing.runs(self._snapshot, forks))

    def neighbours(self, run_id: str) -> Neighbours:
        return neighbours.neighbours(self._snapshot, run_id)

    def usual(self, names: Collection[str]) -> Mapping[str, Usual]:
        return statistics.usual_durations(self._snapshot, names)

    def events(self, run_id: str, after: int | None, limit: int, types: frozenset[str] = frozenset()) -> Page[Event]:
        details.require(self._snapshot, run_id)
        return history.events(self._snapshot, run_id, after, limit, types)

    def event_types(self, run_id: str) -> tuple[tuple[str, int], ...]:
        details.require(self._snapshot, run_id)
        return history.types(self._snapshot, run_id)

    def logs(
        self,
        run_id: str,
        after: int | None,
        limit: int,
        levels: frozenset[str] = frozenset(),
        attempt: str = "",
    ) -> Page[LogLine]:
        """DBOS keeps no logs in its database."""
        details.require(self._snapshot, run_id)
        return Page()

    def extras(self, run_id: str) -> tuple[Section, ...]:
        details.require(self._snapshot, run_id)
        return extras.extras(self._snapshot, run_id)

    def raw(self, run_id: str, ordinal: int | None) -> tuple[Section, ...]:
        details.require(self._snapshot, run_id)
        return raw.raw(self._snapshot, run_id, ordinal)

    def payload(self, run_id: str, name: str) -> Body:
        details.require(self._snapshot, run_id)
        match name.split("."):
            case ["event", position, "data"] if position.isascii() and position.isdigit() and 0 < len(position) < 10:
                payload = history.payload_of(self._snapshot, run_id, int(position))
                if payload is None:
                    raise PayloadNotFound(f"{run_id[:200]!r} has no payload {name!r}.")
                return bodies.read(self._snapshot, run_id, payload.name)
        return bodies.read(self._snapshot, run_id, name)

    def digests(self, after: str, limit: int) -> Digests:
        return compared.digests(self._snapshot, after, limit)

    def marks(self, run_ids: Collection[str]) -> Mapping[str, tuple[Mark, ...]]:
        return compared.marks(self._snapshot, run_ids)

    def inputs(self, run_ids: Collection[str]) -> Mapping[str, Body]:
        return compared.inputs(self._snapshot, run_ids)

    def contents(self, run_id: str) -> Mapping[str, bytes]:
        return contents.contents(self._snapshot, run_id)

    def sections(self) -> tuple[Section, ...]:
        return sections.sections(self._snapshot)

    def configuration(self) -> tuple[Section, ...]:
        return sections.configuration(self._snapshot)

    def plan(self, run_id: str, options: Options) -> RetryPlan:
        return retry.plan(self._snapshot, run_id, options)

    def check_appended(self, plan: RetryPlan) -> None:
        retry_checks.check_appended(self._snapshot, plan)

    def trace(self, run_id: str, operation: Operation | None, moment: datetime) -> Trace:
        return Trace(retry_facts.made_at(self._snapshot, run_id, moment), Operation.FORK)

    def follow(self, plan_run: str, new_run: str, appended_at: datetime) -> FollowUp:
        return retry_workers.follow(self._snapshot, new_run, appended_at)
