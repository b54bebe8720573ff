"""Reading two whole databases to compare them: in parts, each of them one short snapshot, so that no engine is disturbed.

Large ones are read at the same time by two processes, ``python -m runs.compare.reading``, each of which keeps what it read in a
file of our own (``readings``): it is not read again for other options, nor after a crash.
"""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import runs
from runs import clock, errors
from runs.catalogue import Database
from runs.compare.configuration import Described
from runs.compare.readings import keep, kept_at, load
from runs.digests import Digests, Mark, RunDigest, StepSample
from runs.engines.base import Engine
from runs.errors import DurascopeError, QueryTooSlow, Unreadable
from runs.filters import Filter
from runs.records import Body
from runs.sources.sqlite import SqliteSource

Progress = Callable[[str, int, int], None]  # stage, done, of how many (0: not known); raises to stop

FIRST, MOST = 500, 20_000  # runs of a part: the first, and the largest
PART_SECONDS = 0.4  # what a part should take; what reads longer than a query may is read in smaller ones
AT_ONCE = 500  # inputs that are asked for at once
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "runs.compare.reading")
_TICK = 0.1  # seconds between two looks at how far the processes are


@dataclass(frozen=True)
class Reading:
    """All runs of a database by id, and their steps by name. ``fingerprint`` is the file's when reading began.

    ``began_at``: microseconds since 1970. ``changed``: the file was written meanwhile; runs created since are left out.
    """

    fingerprint: str
    began_at: int
    changed: bool
    runs: Mapping[str, RunDigest]
    steps: Mapping[str, StepSample]

    @cached_property
    def first_at(self) -> int | None:
        """When the first run was created."""
        return min((run.created_at for run in self.runs.values()), default=None)

    @cached_property
    def last_at(self) -> int | None:
        """The newest instant recorded."""
        return max((max(run.last_at or run.created_at, run.created_at) for run in self.runs.values()), default=None)


@dataclass(slots=True)
class _Steps:
    """The steps of one name, while they are collected."""

    durations: "array[int]" = field(default_factory=lambda: array("q"))
    count: int = 0
    failed: int = 0
    retried: int = 0


def describe(database: Database, *, configuration: bool = True) -> tuple[str, str, Described]:
    """The engine's slug and label, and what the database says of itself, of its schema alone without ``configuration``. Raises
    Unreadable, UnknownSchema among it."""

    def work(engine: Engine) -> tuple[str, str, Described]:
        told = engine.configuration() if configuration else ()
        return engine.slug, engine.label, Described(engine.revision(), engine.reader.tables, told)

    with naming(database):
        return database.read(work)


@contextmanager
def naming(database: Database) -> Iterator[None]:
    """What went wrong says of which of the two it is true."""
    try:
        yield
    except Unreadable as problem:
        problem.detail = f"Database {database.slug}: {problem.detail}"
        raise


@contextmanager
def uncollected() -> Iterator[None]:
    """Without looking for circles: among millions of rows and records, which form none, that takes a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def read(database: Database, progress: Progress) -> Reading:
    """All of a small database, here and now: how much there is to read is not counted first. Raises Unreadable."""
    fingerprint, began_at = database.source.fingerprint(), _now()
    found: dict[str, RunDigest] = {}
    steps: dict[str, _Steps] = {}
    for part in parts(database):
        found.update((run.id, run) for run in part.runs)
        _collect(steps, part.steps)
        progress("reading", len(found), 0)
    changed = database.source.fingerprint() != fingerprint
    if changed:
        found = {run.id: run for run in found.values() if run.created_at <= began_at}
    return Reading(fingerprint, began_at, changed, found, _samples(steps))


def parts(database: Database) -> Iterator[Digests]:
    """All runs by id, each part of a snapshot of its own. Raises Unreadable."""
    after, limit, more = "", FIRST, True
    while more:
        try:
            part, seconds = database.read(lambda engine, after=after, limit=limit: _timed(engine, after, limit))  # type: ignore[misc]
        except QueryTooSlow:
            if limit == 1:
                raise
            limit = max(limit // 8, 1)
            continue
        yield part
        more = part.more and bool(part.runs)
        if more:
            after = part.runs[-1].id
            limit = max(min(int(limit * min(PART_SECONDS / max(seconds, 0.001), 4)), MOST), 1)


def read_both(a: Database, b: Database, folder: Path, progress: Progress) -> tuple[Reading, Reading]:
    """Both sides at the same time, each by a process of its own; what was read before is not read again. Raises Unreadable."""
    sides = {database.source.place: database for database in (a, b)}
    files = {place: kept_at(folder, place, database.source.fingerprint()) for place, database in sides.items()}
    children = [_Child(sides[place], file) for place, file in files.items() if not file.exists()]
    try:
        while any(child.working for child in children):
            progress("reading", sum(child.done for child in children), sum(child.total for child in children))
            time.sleep(_TICK)
    finally:
        for child in children:
            child.stop()
    for child in children:
        child.check()
    first = _loaded(files[a.source.place], None)
    same = a.source.place == b.source.place
    return first, first if same else _loaded(files[b.source.place], first)


def marks(database: Database, run_ids: Sequence[str]) -> Mapping[str, tuple[Mark, ...]]:
    """The unchanging events of these runs, in one snapshot where it is not too slow; runs that are gone by now are absent. Raises
    Unreadable."""
    try:
        return database.read(lambda engine: engine.marks(run_ids))
    except QueryTooSlow:
        if len(run_ids) == 1:
            raise
        half = len(run_ids) // 2
        return {**marks(database, run_ids[:half]), **marks(database, run_ids[half:])}


def inputs(database: Database, run_ids: Sequence[str]) -> Iterator[tuple[str, Body]]:
    """The inputs of these runs. Raises Unreadable."""
    for start in range(0, len(run_ids), AT_ONCE):
        some = run_ids[start : start + AT_ONCE]
        yield from database.read(lambda engine, some=some: engine.inputs(some)).items()  # type: ignore[misc]


def _timed(engine: Engine, after: str, limit: int) -> tuple[Digests, float]:
    began = time.monotonic()
    part = engine.digests(after, limit)
    return part, time.monotonic() - began


def _total(database: Database) -> int:
    """How many runs there are, for the progress: 0 where that takes too long to count."""
    try:
        return sum(database.read(lambda engine: engine.counts(Filter())).values())
    except QueryTooSlow:
        return 0


def _collect(steps: dict[str, _Steps], part: Mapping[str, StepSample]) -> None:
    for name, sample in part.items():
        kept = steps.setdefault(name, _Steps())
        kept.durations.extend(sample.durations)
        kept.count += sample.count
        kept.failed += sample.failed
        kept.retried += sample.retried


def _samples(steps: Mapping[str, _Steps]) -> dict[str, StepSample]:
    return {name: StepSample(kept.durations, kept.count, kept.failed, kept.retried) for name, kept in steps.items()}


def _loaded(file: Path, like: Reading | None) -> Reading:
    fingerprint, began_at, changed, found, steps = load(file, like.runs if like else {})
    return Reading(fingerprint, began_at, changed, found, steps)


def _now() -> int:
    return clock.to_epoch_us(clock.now())


class _Child:
    """A process that reads one database into a file. It ends by itself where nobody listens any more."""

    def __init__(self, database: Database, file: Path) -> None:
        self.done, self.total = 0, 0
        self._problem: dict[str, str] | None = None
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [*COMMAND, database.source.place, database.slug, os.fspath(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": module_path()},
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def working(self) -> bool:
        return self._listener.is_alive()

    def stop(self) -> None:
        """Ends it, if it has not ended."""
        if self._process.poll() is None and self.working:
            self._process.kill()
        self._process.wait()
        self._listener.join()
        if self._process.stdout:
            self._process.stdout.close()

    def check(self) -> None:
        """Raises what kept it from its end."""
        if self._problem:
            raise as_raised(self._problem)
        if self._process.returncode:
            raise Unreadable("The process that read it ended early.", remedy="Compare again.")

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            said = json.loads(line)
            if "error" in said:
                self._problem = said
            else:
                self.done, self.total = said["done"], said["total"]


def module_path() -> str:
    """Where a process of ours finds this package, wherever it is started."""
    home = str(Path(runs.__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))


def as_said(problem: DurascopeError) -> dict[str, str]:
    """An error as one process tells it another."""
    return {"error": type(problem).__name__, "detail": problem.detail, "remedy": problem.remedy}


def as_raised(said: Mapping[str, str]) -> DurascopeError:
    """The error that another process told."""
    error: DurascopeError = getattr(errors, said["error"])(said["detail"], remedy=said["remedy"])
    return error


def main(place: str, slug: str, file: str) -> int:
    """The process: reads one database into a file, and says on standard output how far it is."""

    def say(_stage: str, done: int, total: int) -> None:
        print(json.dumps({"done": done, "total": total}), flush=True)

    database = Database(SqliteSource(Path(place), slug))
    try:
        # Not held as a Reading: each part is written as soon as it is read.
        with naming(database), uncollected():
            _read_into(database, Path(file), say)
    except DurascopeError as problem:
        print(json.dumps(as_said(problem)), flush=True)
        return 1
    return 0


def _read_into(database: Database, file: Path, progress: Progress) -> None:
    fingerprint, began_at = database.source.fingerprint(), _now()
    steps: dict[str, _Steps] = {}
    total = _total(database)

    def each() -> Iterator[RunDigest]:
        done = 0
        for part in parts(database):
            yield from part.runs
            _collect(steps, part.steps)
            done += len(part.runs)
            progress("reading", done, max(total, done))

    with keep(file) as kept:
        kept.add_runs(each())
        kept.add_steps(_samples(steps))
        kept.end(fingerprint, began_at, changed=database.source.fingerprint() != fingerprint)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
