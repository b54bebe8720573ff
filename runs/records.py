"""The vocabulary: what every engine's rows become. Frozen, without payload bodies, without behaviour of any engine.

A *run* is one execution; its *steps* are the units recorded inside it; an *attempt* is one try; an *event* is a fact with
a position and a time; a *payload* says where a body lies and how large it is, never what is in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Status(StrEnum):
    """What a run or a step is doing, in our words; the engine's own word always stands beside it."""

    FAILED = "failed"
    RETRYING = "retrying"
    RUNNING = "running"
    WAITING = "waiting"
    QUEUED = "queued"
    SCHEDULED = "scheduled"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    SUCCEEDED = "succeeded"
    UNKNOWN = "unknown"

    @property
    def finished(self) -> bool:
        """Nothing more will happen by itself."""
        return self in FINISHED


FINISHED = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
UNSUCCESSFUL = frozenset({Status.FAILED, Status.CANCELLED})


class StepKind(StrEnum):
    ACTIVITY = "activity"
    CHILD_RUN = "child_run"
    SLEEP = "sleep"
    MESSAGE = "message"
    VALUE = "value"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class ErrorSummary:
    """An error in one line: its type (``TimeoutError``, ``execution failure``) and its message, cut to 500 characters."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Payload:
    """Where a body lies. ``name`` is unique within the run and safe in an address: ``run.input``, ``step.14.output``.

    ``size_bytes`` is the size as stored. ``encoding`` names a decoder of runs.payloads, or an unknown serializer as recorded.
    """

    run_id: str
    name: str
    encoding: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Body:
    """One payload, read: the bytes as stored, cut after a limit (``truncated``)."""

    payload: Payload
    data: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Payloads:
    """The three slots of a run or a step; None where nothing is stored."""

    input: Payload | None = None
    output: Payload | None = None
    error: Payload | None = None


NO_PAYLOADS = Payloads()


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One HTTP request that an attempt made: ``outcome`` is the status code or the error in words."""

    method: str
    uri: str
    sent_at: datetime | None
    finished_at: datetime | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. ``until`` is when the engine will try, or tried, again: the end of the back-off after a failure."""

    started_at: datetime | None
    finished_at: datetime | None
    status: Status
    error: ErrorSummary | None = None
    until: datetime | None = None
    native_id: str = ""  # Obelisk's run_id (a lock lease): log lines name it
    executor: str = ""
    http: tuple[HttpCall, ...] = ()


@dataclass(frozen=True, slots=True)
class RunRef:
    """Another run of the same database."""

    id: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One labelled value of a run, in the engine's own words, for its header: ``queue q1``, ``executor local``."""

    label: str
    value: "Cell"


@dataclass(frozen=True, slots=True)
class Retried:
    """A run that was forked from another or began anew in its place, or in that of one of its retries: how it fares."""

    id: str
    status: Status


@dataclass(frozen=True, slots=True)
class Run:
    """One execution. Lists leave ``tries``, ``facts`` and ``payloads`` empty; ``Engine.run`` fills them.

    ``duration`` is the time from the first to the last recorded instant of the run (copied steps of a fork do not count,
    projected sleeps are cut at the end); None while unfinished. ``started_at`` is when it was first (Obelisk) or last
    (DBOS, all it records) taken up. ``due_at`` is when a scheduled, retrying or sleeping run goes on.
    ``coarse``: its own instants are cut to whole seconds, while those of its steps are finer.
    ``reason`` says in a few words what an unfinished run waits for, or a notable fact of a finished one.
    ``retries`` are read from the engine's own rows, whoever began them: newest first, some at most, one that succeeded
    among them.
    """

    id: str
    workflow: str
    status: Status
    native_status: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: timedelta | None = None
    last_event_at: datetime | None = None
    due_at: datetime | None = None
    attempts: int | None = None
    steps: int | None = None
    error: ErrorSummary | None = None
    reason: str = ""
    parent: str | None = None
    forked_from: str | None = None
    retries: tuple[Retried, ...] = ()
    version: str | None = None
    queue: str | None = None
    cancelling: bool = False
    coarse: bool = False
    tries: tuple[Attempt, ...] = ()
    facts: tuple[Fact, ...] = ()
    payloads: Payloads = NO_PAYLOADS

    @property
    def retried(self) -> Retried | None:
        """The retry that tells how it ended: one that succeeded, else the newest."""
        succeeded = [retry for retry in self.retries if retry.status is Status.SUCCEEDED]
        return next(iter((*succeeded, *self.retries)), None)

    @property
    def recovered(self) -> bool:
        """Whether it failed or was cancelled, and a retry has succeeded since."""
        return self.status in UNSUCCESSFUL and self.retried is not None and self.retried.status is Status.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Step:
    """One recorded unit inside a run.

    ``finished_at`` may lie in the future for a projected sleep; it is then ``projected``. ``inherited`` steps were copied from the
    run this one was forked from, with that run's times. ``folded_into`` is the ordinal of the step whose row shows this one (a
    child's getResult, a recv's timeout). ``branch`` is the join set it belongs to. ``detail`` is a short
    word for beside the bar: a message topic, the key of a value.
    """

    ordinal: int
    kind: StepKind
    name: str
    status: Status
    native_status: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    duration: timedelta | None = None
    projected: bool = False
    attempts: tuple[Attempt, ...] = ()
    attempt_count: int | None = None
    error: ErrorSummary | None = None
    child: str | None = None
    inherited: bool = False
    folded_into: int | None = None
    branch: str = ""
    detail: str = ""
    payloads: Payloads = NO_PAYLOADS


@dataclass(frozen=True, slots=True)
class Event:
    """A fact of the run's history. ``type`` is our word, ``native`` the engine's; ``data`` is its JSON value where small.

    ``payload`` addresses the whole of it where ``data`` was left out for its size. ``related`` are the positions of
    events of the same run that belong to it: the request and the await that took its answer.
    """

    position: int
    at: datetime | None
    type: str
    native: str
    data: object = None
    payload: Payload | None = None
    related: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that the application wrote. ``stream`` is ``stdout``, ``stderr`` or empty for a levelled message."""

    position: int
    at: datetime | None
    level: str
    stream: str
    text: str
    attempt: str = ""


Cell = str | int | float | datetime | timedelta | RunRef | Payload | Status | ErrorSummary | None


@dataclass(frozen=True, slots=True)
class Section:
    """A small table in the engine's own words: queues, deployments, published values. ``key`` names it in addresses."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """The schema found. ``text`` is ``"125"`` or ``"V17"``; ``label`` says more; ``problem`` what is not understood."""

    text: str
    label: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """One database in numbers. ``failures`` counts the runs that failed in each of 24 equal parts of the window.

    ``newest_run_at`` is when the newest run was created; None where there is no run, or an instant that can't be read.
    """

    runs: Mapping[Status, int]
    newest_run_at: datetime | None
    last_event_at: datetime | None
    window_start: datetime
    window_end: datetime
    failures: tuple[int, ...]
    newest_error: Run | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Names:
    """What a filter can be set to, each with its number of runs, most frequent first."""

    workflows: tuple[tuple[str, int], ...] = ()
    versions: tuple[tuple[str, int], ...] = ()
    queues: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The runs of the same workflow that were created just before and just after a run."""

    previous: str | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Usual:
    """How long finished steps of one name took in this database: of the newest ``count`` of them, half at most ``p50``."""

    count: int
    p50: timedelta
    p95: timedelta


@dataclass(frozen=True, slots=True)
class Histogram:
    """Runs by creation in equal parts of a window: (all, failed) each. Empty where there are no runs."""

    start: datetime | None = None
    end: datetime | None = None
    parts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Relatives:
    """The runs that a run started, and those forked from it, oldest first."""

    children: tuple[Run, ...] = ()
    forks: tuple[Run, ...] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: the last row's raw sort value, as stored, and its id. Opaque outside."""

    at: str | int
    id: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows of a list. ``next`` leads on; ``partial`` says in words that not everything was searched, and then
    ``searched`` is when the last run that was looked at was created.
    """

    rows: tuple[T, ...] = field(default=())
    next: Cursor | None = None
    partial: str = ""
    searched: datetime | None = None
