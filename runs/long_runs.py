"""The steps of very long runs, kept until their file changes: a person leafs through them, opens one, and comes back.

Reading ten thousand children of an Obelisk run takes half a second. The steps of few runs are kept, those asked for last; each
process keeps its own. Once the file has changed, an engine takes of them what is settled and reads the rest. What an unfinished
run waits for becomes due without a write, and so does a run that a finished one started and did not wait for: steps with such
a one are kept for a moment.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar, cast

from runs import clock
from runs.catalogue import Database
from runs.counting import STAYS_TRUE
from runs.engines.base import Engine, Settled
from runs.records import Run, Status, Step

T = TypeVar("T")

LONG = 1_000  # steps of a run that is worth it
MOST = 20_000  # steps that are kept in all: about 2 kB each
DERIVED = 4  # things that follow from the steps of one run
LONGEST = 200  # characters that their names have on an average: steps of a run with longer ones are not kept


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: str
    moment: int | None  # when they were read, where they do not follow from the file alone
    steps: tuple[Step, ...]
    settled: Settled
    derived: dict[Hashable, object] = field(default_factory=dict)


_kept: dict[tuple[str, str], _Kept] = {}
_lock = threading.Lock()


def steps(database: Database, engine: Engine, run: Run) -> tuple[Step, ...]:
    """The steps of a run in the engine's snapshot. ``database`` is as it was seen before that was opened (Database.seen).
    Raises RunNotFound."""
    key = database.source.place, run.id
    moment = int(clock.now().timestamp()) // STAYS_TRUE
    kept = _kept.get(key)
    # Looked at within the snapshot: a file that is now as it was then is so in the snapshot too.
    if kept is not None and kept.moment in (moment, None) and kept.fingerprint == database.source.seen().fingerprint():
        return kept.steps
    settled = dict(kept.settled) if kept is not None else {}
    found = engine.steps(run.id, settled)
    if kept is not None or len(found) >= LONG:
        with _lock:
            _kept.pop(key, None)
            if LONG <= len(found) <= MOST and sum(map(_length, found)) <= LONGEST * len(found):
                still = run.status.finished and not any(map(_may_become_due, found))
                _kept[key] = _Kept(database.source.fingerprint(), None if still else moment, found, settled)
            while sum(len(each.steps) for each in _kept.values()) > MOST:
                _kept.pop(next(iter(_kept)))
    return found


def derived(steps: tuple[Step, ...], what: Hashable, make: Callable[[], T]) -> T:
    """What follows from those steps and ``what`` alone: made once where they are kept."""
    kept = next((each.derived for each in list(_kept.values()) if each.steps is steps), None)
    if kept is None:
        return make()
    with _lock:
        if what in kept:
            return cast(T, kept[what])
    made = make()
    with _lock:
        while len(kept) >= DERIVED:
            del kept[next(iter(kept))]
        kept[what] = made
    return made


def _may_become_due(step: Step) -> bool:
    return step.child is not None and Status.SCHEDULED.value in step.detail


def _length(step: Step) -> int:
    return len(step.name) + len(step.detail)
