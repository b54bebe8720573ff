"""What was read of one database, kept in a file of our own by the file's fingerprint: digests of runs, durations of steps."""

import hashlib
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import runs
from runs.digests import RunDigest, StepSample
from runs.records import ErrorSummary, Status
from runs.sources import own
from runs.sources.base import Value

FORMAT = 2  # of these files, and of what digests are made of: one more where either changes
SUFFIX = ".reading"

_PLAIN = RunDigest._fields[:-1]  # all but the error
_SCHEMA = f"""
CREATE TABLE run ({", ".join(_PLAIN)}, error_type, error_message);
CREATE TABLE step (name, count, failed, retried, durations);
CREATE TABLE reading (fingerprint, began_at, changed);
"""
_ADD_RUN = f"INSERT INTO run VALUES ({', '.join('?' * (len(_PLAIN) + 2))})"  # noqa: S608
_RUNS = f"SELECT {', '.join(_PLAIN)}, error_type, error_message FROM run ORDER BY rowid"  # noqa: S608
_made = RunDigest._make

Kept = tuple[str, int, bool, dict[str, RunDigest], dict[str, StepSample]]


class Keeping:
    """A reading that is being kept."""

    def __init__(self, file: own.Writer) -> None:
        self._file = file

    def add_runs(self, found: Iterable[RunDigest]) -> None:
        self._file.add(_ADD_RUN, map(_row, found))

    def add_steps(self, steps: Mapping[str, StepSample]) -> None:
        self._file.add(
            "INSERT INTO step VALUES (?, ?, ?, ?, ?)",
            (
                (name, each.count, each.failed, each.retried, array("q", each.durations).tobytes())
                for name, each in steps.items()
            ),
        )

    def end(self, fingerprint: str, began_at: int, *, changed: bool) -> None:
        self._file.add("INSERT INTO reading VALUES (?, ?, ?)", iter([(fingerprint, began_at, changed)]))


def kept_at(folder: Path, place: str, fingerprint: str) -> Path:
    """Where the reading of a database lies, or would lie."""
    text = "\n".join((runs.__version__, str(FORMAT), place, fingerprint))
    return folder / f"{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}{SUFFIX}"


@contextmanager
def keep(path: Path) -> Iterator[Keeping]:
    """A reading that is there once the block has ended well. Raises Unreadable."""
    with own.written(path) as file:
        file.run(_SCHEMA)
        yield Keeping(file)


def load(path: Path, like: Mapping[str, RunDigest]) -> Kept:
    """Fingerprint, beginning, whether it changed, runs by id, steps by name. Runs that are the same in ``like`` are those very
    objects: two copies of one database take the memory of one. Raises Unreadable."""
    with own.opened(path) as file:
        ((fingerprint, began_at, changed),) = file.rows("SELECT fingerprint, began_at, changed FROM reading")
        until = cast(int, began_at) if changed else sys.maxsize
        found = dict(_runs(file.rows(_RUNS), like, until))
        steps = {
            str(name): StepSample(_numbers(durations), cast(int, count), cast(int, failed), cast(int, retried))
            for name, count, failed, retried, durations in file.rows(
                "SELECT name, count, failed, retried, durations FROM step ORDER BY rowid"
            )
        }
    return str(fingerprint), cast(int, began_at), bool(changed), found, steps


def _row(run: RunDigest) -> tuple[Value, ...]:
    error = run.error
    return (*cast(tuple[Value, ...], run[:-1]), *((error.type, error.message) if error else (None, None)))


def _runs(
    rows: Iterator[tuple[Any, ...]], like: Mapping[str, RunDigest], until: int
) -> Iterator[tuple[str, RunDigest]]:
    statuses = {status.value: status for status in Status}
    intern = sys.intern
    for row in rows:
        run_id, workflow, status, created_at, *rest, version, forked_from, scheduled, kind, message = row
        if created_at > until:
            continue
        known = like.get(run_id)
        if known is not None and _row(known) == row:
            yield known.id, known
            continue
        error = None if kind is None else ErrorSummary(intern(kind), message)
        yield (
            run_id,
            _made((
                run_id, intern(workflow), statuses[status], created_at, *rest, intern(version), forked_from,
                bool(scheduled), error,
            )),
        )  # fmt: skip


def _numbers(data: Value) -> "array[int]":
    found = array("q")
    found.frombytes(cast(bytes, data))
    return found
