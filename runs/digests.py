"""Runs as comparing two databases sees them: digests of what is recorded, samples of steps, and the events that decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from runs.records import ErrorSummary, Status


class RunDigest(NamedTuple):
    """A run as comparing two databases sees it: small, so that all runs of two databases fit into memory, and soon made.

    Instants and ``duration`` (as Run.duration) are microseconds, instants since 1970. ``history`` (16 bytes) is a digest of the
    part that an engine never changes once it is written: two runs with equal ones have equal ``Mark``s; ``events`` counts these
    and ``last_at`` is the newest of them. ``content`` (16 bytes) leaves out clocks, the ids of runs and what else differs
    between two machines: runs with equal ones took the same steps with the same results. ``input`` is a digest of the stored
    input, empty where there is none. ``ordinal`` is the place within the parent: a step's ordinal, or a join set and an index.
    ``dedup`` is what the caller gave to tell the run from others (a deduplication id, an idempotency key). ``scheduled``:
    started by the clock.
    """

    id: str
    workflow: str
    status: Status
    created_at: int
    finished_at: int | None
    duration: int | None
    events: int
    last_at: int | None
    history: bytes
    content: bytes
    input: bytes
    parent: str | None = None
    ordinal: str = ""
    dedup: str = ""
    version: str = ""
    forked_from: str | None = None
    scheduled: bool = False
    error: ErrorSummary | None = None


@dataclass(frozen=True, slots=True)
class StepSample:
    """The finished steps of one name: how long they took, in microseconds, where that is known, and how many failed or were tried
    more than once, of ``count``."""

    durations: Sequence[int]
    count: int
    failed: int
    retried: int


@dataclass(frozen=True, slots=True)
class Digests:
    """Some runs by id, in the order of its UTF-8 bytes, with samples of their steps by name. ``more``: the last one is not the
    end."""

    runs: tuple[RunDigest, ...]
    steps: Mapping[str, StepSample]
    more: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """An event of a run that the engine never changes. ``position`` is unique within the run and the same in every copy of the
    database: ``created``, ``7``, ``response 3``, ``end``. ``digest`` (16 bytes) is of everything recorded, the instant included."""

    position: str
    at: datetime | None
    name: str
    digest: bytes
