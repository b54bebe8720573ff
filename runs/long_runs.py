"""The steps of very long runs, kept until their file changes: a person leafs through them, opens one, and comes back.

Reading ten thousand children of an Obelisk run takes most of a second. The steps of few runs are kept, those asked for last;
each process keeps its own.
"""

import threading
from dataclasses import dataclass

from runs.catalogue import Database
from runs.engines.base import Engine
from runs.records import Step

LONG = 1_000  # steps of a run that is worth it
MOST = 20_000  # steps that are kept in all: about 2 kB each


@dataclass(frozen=True, slots=True)
class _Kept:
    fingerprint: str
    steps: tuple[Step, ...]


_kept: dict[tuple[str, str], _Kept] = {}
_lock = threading.Lock()


def steps(database: Database, engine: Engine, run_id: str) -> tuple[Step, ...]:
    """The steps of a run in the engine's snapshot. ``database`` is as it was seen before that was opened (Database.seen).
    Raises RunNotFound."""
    key = database.source.place, run_id
    kept = _kept.get(key)
    # Looked at within the snapshot: a file that is now as it was then is so in the snapshot too.
    if kept is not None and kept.fingerprint == database.source.seen().fingerprint():
        return kept.steps
    found = engine.steps(run_id)
    if kept is not None or len(found) >= LONG:
        with _lock:
            _kept.pop(key, None)
            if LONG <= len(found) <= MOST:
                _kept[key] = _Kept(database.source.fingerprint(), found)
            while sum(len(each.steps) for each in _kept.values()) > MOST:
                _kept.pop(next(iter(_kept)))
    return found
