"""The vocabulary of comparing: how two databases are related, how their runs were matched, what differs."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from runs.records import ErrorSummary, Status


class Relation(StrEnum):
    """How two files are related. Precedence: rewritten, forked, extends, same; independent where no run is in both."""

    SAME = "same"
    A_EXTENDS_B = "a_extends_b"
    B_EXTENDS_A = "b_extends_a"
    FORKED = "forked"
    INDEPENDENT = "independent"
    REWRITTEN = "rewritten"


class Rung(StrEnum):
    """What two runs were matched by, surest first."""

    ID = "id"
    ORDINAL = "ordinal"
    DEDUP = "dedup"
    PATH = "path"
    INPUT = "input"


class Verdict(StrEnum):
    """What became of a pair. The first five are of runs with one id, by their unchanging histories; ``differs`` and ``timing`` of
    runs matched in another way: their contents differ, or nothing but their durations do, beyond the tolerance."""

    SAME = "same"
    A_AHEAD = "a_ahead"
    B_AHEAD = "b_ahead"
    DIVERGED = "diverged"
    REWRITTEN = "rewritten"
    DIFFERS = "differs"
    TIMING = "timing"


class Cause(StrEnum):
    """Why two runs part where they first do, decided by rule, in this order."""

    INPUT = "different_input"
    RESULT = "different_result"
    CODE = "different_code"
    NONDETERMINISM = "non_deterministic_code"
    TIMING = "only_timing"
    PROGRESS = "one_went_on"
    REWRITTEN = "rewritten"


class Presence(StrEnum):
    """Why a run has no counterpart. ``only``: it began inside the window that both files cover; ``outside``: before or after it;
    ``ambiguous``: several could be it; ``scheduled``: started by the clock, and not counted as missing."""

    ONLY = "only"
    OUTSIDE = "outside"
    AMBIGUOUS = "ambiguous"
    SCHEDULED = "scheduled"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A duration differs where it does so by more than both."""

    ratio: float = 0.2
    floor: timedelta = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose. ``match``: ``auto`` climbs down the whole ladder, a rung uses that one alone. ``path`` leads
    into the input (``$.order_id``). ``ignore`` are paths into payloads that do not count (``$.created_at``, ``$..id``)."""

    match: str = "auto"
    path: str = ""
    ignore: tuple[str, ...] = ()
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two databases, as it was read. ``first_at`` and ``last_at`` bound what it recorded."""

    slug: str
    engine: str
    label: str
    revision: str
    fingerprint: str
    runs: int
    events: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Runs, never events. ``by`` has every rung; ``verdicts`` every verdict; ``ambiguous`` and ``scheduled`` count runs of both
    sides. ``pasts`` are of the runs that both files recorded, however runs were matched: what became of the past that they
    share; empty where none is in both."""

    matched: int
    by: dict[Rung, int]
    verdicts: dict[Verdict, int]
    only_a: int
    only_b: int
    outside_a: int
    outside_b: int
    ambiguous: int
    scheduled: int
    pasts: dict[Verdict, int]


@dataclass(frozen=True, slots=True)
class Lead:
    """How far one side is ahead: runs that are only there, runs that went on there, events more, and time between the last
    events."""

    new_runs: int
    went_on: int
    events: int
    time: timedelta | None


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A run whose recorded past differs: the first position, and what each side has there in words (empty: nothing)."""

    run: str
    workflow: str
    position: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Rate:
    """Failures of finished runs with the 95 % Wilson interval; fractions of 1."""

    failed: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float | None:
        return self.failed / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Spread:
    """Durations in microseconds: how many, half at most ``p50``, 95 % at most ``p95``; None without any."""

    count: int
    p50: int | None
    p95: int | None


class Change(StrEnum):
    """What a difference of two samples is worth. ``too_few``: below 20 on a side, nothing is said."""

    BETTER = "better"  # in B
    WORSE = "worse"  # in B
    SAME = "same"
    TOO_FEW = "too_few"


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one workflow, or steps of one name, on both sides. Durations are of what succeeded. ``evidence`` says in words what a
    change rests on; ``retried`` counts steps that were tried more than once."""

    name: str
    a_count: int
    b_count: int
    matched: int
    a_failed: Rate
    b_failed: Rate
    a_took: Spread
    b_took: Spread
    failures: Change
    durations: Change
    evidence: str
    a_retried: int = 0
    b_retried: int = 0


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Failed runs with one error, numbers and ids in its message left out. ``example`` of each side is a run's id."""

    fingerprint: str
    workflow: str
    error: ErrorSummary
    a_count: int
    b_count: int
    a_example: str
    b_example: str
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Errors:
    """By error, most frequent first. ``more`` and ``fewer`` only where the difference is no noise; ``same`` is the rest."""

    new: tuple[ErrorGroup, ...] = ()
    gone: tuple[ErrorGroup, ...] = ()
    more: tuple[ErrorGroup, ...] = ()
    fewer: tuple[ErrorGroup, ...] = ()
    same: tuple[ErrorGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing of schema or configuration on both sides, as text; empty where a side has none."""

    kind: str
    name: str
    a: str
    b: str

    @property
    def same(self) -> bool:
        return self.a == self.b


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two databases, compared. ``alike_until`` is the newest instant up to which both recorded the same; ``evidence`` are
    sentences for the relation; ``notes`` say what was not compared, and why. ``all_runs`` sums up the workflows. ``incomparable``
    says why only distributions can be compared, of two engines or an unknown schema; empty where more can."""

    a: Side
    b: Side
    options: Options
    relation: Relation
    evidence: tuple[str, ...]
    alike_until: datetime | None
    a_lead: Lead
    b_lead: Lead
    counts: Counts
    rewritten: tuple[Rewrite, ...]
    all_runs: Group
    workflows: tuple[Group, ...]
    steps: tuple[Group, ...]
    errors: Errors
    settings: tuple[Setting, ...]
    notes: tuple[str, ...]
    incomparable: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs that were matched. ``key`` is what they have in common, in words; ``nth`` of ``alike`` where several had the same.
    ``position`` and ``cause`` of the first difference are empty where they have not been looked for. Durations are microseconds."""

    number: int
    rung: Rung
    key: str
    workflow: str
    a_run: str
    b_run: str
    a_status: Status
    b_status: Status
    a_took: int | None
    b_took: int | None
    a_events: int
    b_events: int
    created_at: datetime
    verdict: Verdict
    position: str = ""
    cause: Cause | None = None
    nth: int = 1
    alike: int = 1


@dataclass(frozen=True, slots=True)
class Lone:
    """A run without a counterpart."""

    number: int
    side: str  # a or b
    presence: Presence
    run: str
    workflow: str
    status: Status
    created_at: datetime
    took: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """A comparison that is being made. ``done`` of ``total`` are runs; ``total`` is 0 while it is not known."""

    stage: str
    done: int
    total: int
    cancelled: bool = False
    problem: str = ""
