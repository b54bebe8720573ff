"""Obelisk: executions in t_state, their histories in t_execution_log, everything else around them.

False friend: Obelisk's ``run_id`` is one lock lease, our *attempt*; our *run* is its execution. ``Run.version`` is the
beginning of the component's digest; the filter takes that, a whole digest, or a deployment id.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import ClassVar

from runs.digests import Digests, Mark
from runs.engines.base import Settled
from runs.engines.obelisk import (
    appended,
    bodies,
    compared,
    detail,
    extras,
    family,
    following,
    held,
    history,
    logs,
    neighbours,
    overview,
    raw,
    replay,
    retry,
    runs,
    schema,
    sections,
    statistics,
    steps,
    trace,
)
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
from runs.retry import FollowUp, Held, Operation, Options, RetryPlan, Trace, Verdict
from runs.sources.base import Columns, Reader

__all__ = ["Obelisk"]


class Obelisk:
    """One snapshot of an Obelisk database, of whatever release."""

    slug: ClassVar[str] = "obelisk"
    label: ClassVar[str] = "Obelisk"

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._snapshot = schema.Snapshot(reader, schema.layout(reader.tables))

    @classmethod
    def recognises(cls, tables: Mapping[str, Columns]) -> bool:
        return schema.recognises(tables)

    def revision(self) -> Revision:
        return schema.revision(self._snapshot)

    def overview(self) -> Overview:
        return overview.overview(self._snapshot)

    def names(self) -> Names:
        return overview.names(self._snapshot)

    def counts(self, where: Filter) -> Mapping[Status, int]:
        return runs.counts(self._snapshot, where)

    def histogram(self, where: Filter, parts: int = 48) -> Histogram:
        return statistics.histogram(self._snapshot, where, parts)

    def runs(self, where: Filter, after: Cursor | None, limit: int) -> Page[Run]:
        return runs.page(self._snapshot, where, after, limit)

    def run(self, run_id: str) -> Run:
        return detail.run(self._snapshot, run_id)

    def demand(self, run_id: str) -> None:
        runs.demand(self._snapshot, run_id)

    def long_ids(self, longer_than: int) -> list[str]:
        return runs.long_ids(self._snapshot, longer_than)

    def steps(self, run_id: str, settled: Settled | None = None) -> tuple[Step, ...]:
        return steps.steps(self._snapshot, run_id, {} if settled is None else settled)

    def relatives(self, run_id: str) -> Relatives:
        return family.relatives(self._snapshot, run_id)

    def neighbours(self, run_id: str) -> Neighbours:
        return neighbours.neighbours(self._snapshot, run_id)

    def usual(self, names: Collection[str]) -> Mapping[str, Usual]:
        return statistics.usual_durations(self._snapshot, names)

    def events(self, run_id: str, after: int | None, limit: int, types: frozenset[str] = frozenset()) -> Page[Event]:
        runs.demand(self._snapshot, run_id)
        return history.events(self._snapshot, run_id, after, limit, types)

    def event_types(self, run_id: str) -> tuple[tuple[str, int], ...]:
        runs.demand(self._snapshot, run_id)
        return history.types(self._snapshot, run_id)

    def logs(
        self,
        run_id: str,
        after: int | None,
        limit: int,
        levels: frozenset[str] = frozenset(),
        attempt: str = "",
    ) -> Page[LogLine]:
        runs.demand(self._snapshot, run_id)
        return logs.lines(self._snapshot, run_id, after, limit, levels, attempt)

    def extras(self, run_id: str) -> tuple[Section, ...]:
        runs.demand(self._snapshot, run_id)
        return extras.sections(self._snapshot, run_id)

    def raw(self, run_id: str, ordinal: int | None) -> tuple[Section, ...]:
        runs.demand(self._snapshot, run_id)
        return raw.raw(self._snapshot, run_id, ordinal)

    def payload(self, run_id: str, name: str) -> Body:
        runs.demand(self._snapshot, run_id)
        return bodies.body(self._snapshot, run_id, name)

    def digests(self, after: str, limit: int) -> Digests:
        return compared.digests(self._snapshot, after, limit)

    def marks(self, run_ids: Collection[str]) -> Mapping[str, tuple[Mark, ...]]:
        return compared.marks(self._snapshot, run_ids)

    def inputs(self, run_ids: Collection[str]) -> Mapping[str, Body]:
        return compared.inputs(self._snapshot, run_ids)

    def contents(self, run_id: str) -> Mapping[str, bytes]:
        return compared.contents(self._snapshot, run_id)

    def sections(self) -> tuple[Section, ...]:
        return sections.sections(self._snapshot)

    def configuration(self) -> tuple[Section, ...]:
        return sections.configuration(self._snapshot)

    def plan(self, run_id: str, options: Options) -> RetryPlan:
        return retry.plan(self._snapshot, run_id, options)

    def check_appended(self, plan: RetryPlan) -> None:
        appended.check(self.reader, plan)

    def trace(self, run_id: str, operation: Operation | None, moment: datetime) -> Trace:
        return trace.trace(self.reader, run_id, operation, moment)

    def follow(self, plan_run: str, new_run: str, appended_at: datetime) -> FollowUp:
        return following.follow(self._snapshot, new_run, appended_at)

    def held(self, new_run: str) -> Held | None:
        return held.held(self._snapshot, new_run)

    def check_released(self, run: str, new_run: str, changed: int) -> None:
        held.check_released(self.reader, run, new_run, changed)

    def check_withdrawn(self, new_run: str, changed: int) -> None:
        held.check_withdrawn(self.reader, new_run, changed)

    @staticmethod
    def replay(address: str, run_id: str) -> Verdict:
        return replay.ask(address, run_id)
