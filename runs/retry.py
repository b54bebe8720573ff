"""A retry, planned: what would be appended to an engine's own log, why it may be, and what will run again. Nothing here writes.

A plan is made from one snapshot by the engine (``Retryable.plan``), shown, and confirmed by its digest. The append (runs.appending)
makes the plan again inside its own transaction: only where that second plan has the same digest is anything written. So every fact
that the plan relied on is a guard, without a list of guards to keep.

Instants that are only known at the append are ``Now``; a digest leaves them out. What is copied is named by its key, never carried.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeAlias, runtime_checkable

from runs.clock import to_epoch_ms
from runs.sources.base import Reader, Value


class Operation(StrEnum):
    """What a retry is, in the engines' own words."""

    FORK = "fork"
    RUN_AGAIN = "run_again"
    RETRY_NOW = "retry_now"
    UNPAUSE = "unpause"
    SKIP_DELAY = "skip_delay"


class Clock(StrEnum):
    """How a table writes an instant."""

    EPOCH_MS = "epoch_ms"  # 1795352849866
    COLUMN = "column"  # 2026-11-22 14:58:34.632819+00:00, as Obelisk's columns
    SECONDS = "seconds"  # 2026-11-22 14:58:34, as SQLite's CURRENT_TIMESTAMP
    TEXT = "text"  # every ``{now}`` of ``template`` becomes 2026-11-22T14:58:34.632819Z, as inside Obelisk's JSON


@dataclass(frozen=True, slots=True)
class Now:
    """The instant of the append, ``later`` added to it."""

    clock: Clock
    template: str = ""
    later: timedelta = timedelta()

    def at(self, moment: datetime) -> Value:
        """The value to store."""
        moment += self.later
        match self.clock:
            case Clock.EPOCH_MS:
                return to_epoch_ms(moment)
            case Clock.COLUMN:
                return f"{moment:%Y-%m-%d %H:%M:%S.%f}+00:00"
            case Clock.SECONDS:
                return f"{moment:%Y-%m-%d %H:%M:%S}"
            case Clock.TEXT:
                return self.template.replace("{now}", f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z")


Cell: TypeAlias = Value | Now


@dataclass(frozen=True, slots=True)
class Insert:
    """One new row. Columns that are not named keep the table's default."""

    table: str
    values: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Copy:
    """One new row, made from the row that ``key`` names (exactly one), of the same table or of ``source``: ``columns`` are copied
    as they are, ``changed`` replaces some, ``replaced`` exchanges a text inside those of ``within`` (old, new)."""

    table: str
    key: Mapping[str, Value]
    columns: tuple[str, ...]
    changed: Mapping[str, Cell] = field(default_factory=dict)
    within: tuple[str, ...] = ()
    replaced: tuple[str, str] = ("", "")
    source: str = ""


@dataclass(frozen=True, slots=True)
class Copies:
    """A new row for each of several rows, in one statement: of those that ``key`` names, the ones whose column ``between[0]`` lies
    between two values, both among them (None: all of them). They must be as many as ``each``, which holds the rest of each one's
    key: the values of the columns ``names``. ``within`` and ``replaced`` as of a Copy."""

    table: str
    key: Mapping[str, Value]
    names: tuple[str, ...]
    each: tuple[tuple[Value, ...], ...]
    columns: tuple[str, ...]
    changed: Mapping[str, Cell]
    between: tuple[str, Value, Value] | None = None
    within: tuple[str, ...] = ()
    replaced: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Update:
    """Exactly one row, named by ``where``, gets new values. Only where an engine's own tables have no append for it."""

    table: str
    where: Mapping[str, Value]
    values: Mapping[str, Cell]


Change: TypeAlias = Insert | Copy | Copies | Update


def count(changes: Iterable[Change]) -> int:
    """How many rows they change."""
    return sum(len(change.each) if isinstance(change, Copies) else 1 for change in changes)


def count_by_table(changes: Iterable[Change]) -> Counter[str]:
    """How many rows of each table they change."""
    found: Counter[str] = Counter()
    for change in changes:
        found[change.table] += count([change])
    return found


@dataclass(frozen=True, slots=True)
class Part:
    """A step that runs again, or is kept."""

    ordinal: int | None
    name: str
    run: str


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose. ``start``: ``auto``, ``failed-only`` or a step's ordinal; ``children``: ``deep`` runs only a failed
    leaf again, ``whole`` the whole child; ``pin`` names the version that must take the run up. ``held`` is chosen by whether the
    engine's server is known: what goes on with a recorded history is then appended paused, until its replay has followed that."""

    operation: Operation | None = None
    start: str = "auto"
    children: str = "deep"
    pin: str = ""
    held: bool = False


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """``eligible`` or, in words, why not and what to do instead (``reason``). ``new_run`` is the id of the run that will go on (the
    run's own for an operation that appends to it). ``earlier`` is an unfinished or succeeded retry that stands in the way.
    ``held``: it is appended paused, for the engine's replay to check before it is released."""

    run: str
    operation: Operation | None
    eligible: bool
    reason: str = ""
    new_run: str = ""
    changes: tuple[Change, ...] = ()
    again: tuple[Part, ...] = ()
    kept: tuple[Part, ...] = ()
    guards: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    earlier: str = ""
    held: bool = False

    @property
    def digest(self) -> str:
        """Of the changes and the guards, clocks left out: whatever else the plan rests on, the engine puts into its guards."""
        facts = [self.run, self.operation, self.new_run, [_plain(change) for change in self.changes], self.guards]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _plain(change: Change) -> list[object]:
    def cell(value: Cell) -> object:
        if isinstance(value, Now):
            return ["now", value.clock.value, value.template, value.later.total_seconds()]
        return ["bytes", value.hex()] if isinstance(value, bytes) else value

    def row(values: Mapping[str, Cell]) -> dict[str, object]:
        return {name: cell(value) for name, value in values.items()}

    match change:
        case Insert(table, values):
            return ["insert", table, row(values)]
        case Update(table, where, values):
            return ["update", table, row(where), row(values)]
        case Copy(table, key, columns, changed, within, replaced, source):
            return ["copy", table, source, row(key), list(columns), row(changed), list(within), list(replaced)]
        case Copies(table, key, names, each, columns, changed, between, within, replaced):
            keys = [list(map(cell, rest)) for rest in each]
            exchanged = [list(within), list(replaced)]
            return ["copies", table, row(key), list(names), keys, list(columns), row(changed), between, *exchanged]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What became of an appended retry. ``taken_up_after`` is None until the engine took it up; ``why_not`` then says in words
    what it seems to wait for."""

    taken_up_after: timedelta | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """What the rows tell of a retry whose process was ended before it could say what it did. ``new_run``: the run that goes on,
    where it was appended, and by which ``operation``; ``unsure``: why that can't be told, in words. Neither: nothing is there."""

    new_run: str = ""
    operation: Operation | None = None
    unsure: str = ""


@runtime_checkable
class Retryable(Protocol):
    """An engine whose log can be appended to. An engine without it is only read."""

    reader: Reader

    def plan(self, run_id: str, options: Options) -> RetryPlan:
        """No write. Raises RunNotFound; everything else that speaks against a retry is a plan that is not eligible."""

    def check_appended(self, plan: RetryPlan) -> None:
        """Called inside the transaction after the changes, before COMMIT: raises AppendRefused where a row is malformed or a state
        combination illegal. That no other number of rows was changed is seen by whoever calls it."""

    def trace(self, run_id: str, operation: Operation | None, moment: datetime) -> Trace:
        """Whether what such a retry of the run appends is there with that very moment, which no other retry has: somebody else's,
        another Durascope's among them, has its own. ``operation`` is None where it isn't known: then it may be any."""

    def follow(self, plan_run: str, new_run: str, appended_at: datetime) -> FollowUp:
        """How the appended run fares, read from its rows."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Exactly one row, named by ``where``, is deleted. Only of a run that was appended held back, and that nobody took up."""

    table: str
    where: Mapping[str, Value]


class Outcome(StrEnum):
    """What an engine's replay says of a recorded history."""

    FITS = "fits"
    DIVERGES = "diverges"
    UNKNOWN = "unknown"  # it was not asked, or its answer says nothing of the history


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome with the server's own words, or why there are none."""

    outcome: Outcome
    words: str


@dataclass(frozen=True, slots=True)
class Held:
    """A run that was appended paused, and that nobody has touched since.

    ``rows``: all of its rows, by table and key. ``replays``: the ids whose history the engine's replay must follow. ``guard``: what
    a verdict of the replay is good for. ``release`` lets it go on; ``withdrawal`` deletes it.
    """

    rows: tuple[tuple[str, Mapping[str, Value]], ...]
    replays: tuple[str, ...]
    guard: str
    release: tuple[Change, ...]
    withdrawal: tuple[Delete, ...]


@runtime_checkable
class Holding(Protocol):
    """An engine to which a run can be appended paused, and whose server says whether it can go on with it."""

    reader: Reader

    def held(self, new_run: str) -> Held | None:
        """None where the run is not there, or is not held back any more."""

    def check_released(self, run: str, new_run: str, changed: int) -> None:
        """Called inside the transaction, before COMMIT: raises AppendRefused where it can't go on, or anything else changed."""

    def check_withdrawn(self, new_run: str, changed: int) -> None:
        """Called inside the transaction, before COMMIT: raises AppendRefused where any of it is left, or anything else changed."""

    @staticmethod
    def replay(address: str, run_id: str) -> Verdict:
        """Asks the engine's server at this address. Reads no file, raises nothing."""
