"""What both engines' digests are made of, for comparing: hashes of stored values, rows gathered by run, samples of steps.

Digests are compared with one another, and kept for as long as a comparison is; they are no format.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from marshal import dumps
from operator import itemgetter
from typing import Any

from runs.clock import to_epoch_us
from runs.digests import StepSample
from runs.errors import Unreadable
from runs.records import Status
from runs.sources.base import Value

SIZE = 16  # bytes of a digest
INLINE = (
    16 * 1024
)  # bytes of a value that is fetched with its row; a larger one comes alone, and only its digest is kept
SLICE = 6_000  # rows in one statement, and in one piece of a run's digest
PART = 6_000  # rows of a part, but for the rest of its last run
RUNS = 1_000  # of a part, whatever its limit
EVER = b""  # SQLite sorts every text before it

_MARSHAL = 2  # its last form without references to equal objects
_END_OF_TIME = 253_402_300_800_000  # milliseconds since 1970: beyond, Python has no instants

Row = tuple[Value, ...]
_RUN_OF = itemgetter(0)


def written(values: Any) -> bytes:
    """Values as SQLite hands them out, and tuples of them, as bytes that no other values make: a text, a number and bytes are never
    equal. Python's marshal does it fastest, in a form without references, which is the same for equal values."""
    return dumps(values, _MARSHAL)


def digest_of(*values: Value | Row) -> bytes:
    """Of values as SQLite hands them out: equal ones have equal digests."""
    return sha256(written(values)).digest()[:SIZE]


def digest_of_bytes(value: Value) -> bytes:
    """Of a stored value's bytes, text as UTF-8: the same wherever they are stored."""
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return sha256(data).digest()[:SIZE]


class Digester:
    """A digest that takes what it is of in pieces."""

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, values: Any) -> None:
        self._hash.update(written(values))

    def digest(self) -> bytes:
        return self._hash.digest()[:SIZE]


def by_run(read: Callable[[Row | None], list[Row]]) -> Iterator[tuple[Value, list[Row]]]:
    """Rows in the order of their runs, their first column, as (run, rows): a run with more than SLICE rows comes in several pieces,
    which are the same whatever part it is read in.

    ``read`` gives at most SLICE rows after the one it is called with, None for the first ones.
    """
    last, kept = None, list[Row]()
    while True:
        rows = read(last)
        last = rows[-1] if rows else None
        for run, group in groupby(rows, _RUN_OF):
            if kept and kept[0][0] != run:
                yield kept[0][0], kept
                kept = []
            kept.extend(group)
            if len(kept) >= SLICE:
                yield run, kept[:SLICE]
                kept = kept[SLICE:]
        if len(rows) < SLICE:
            break
    if kept:
        yield kept[0][0], kept


def advancing(ids: Sequence[str], after: str) -> None:
    """Raises Unreadable where the next part would begin before this one: an id that is no UTF-8, or not in its place."""
    if ids and ids[0].encode("utf-8", "surrogatepass") <= after.encode("utf-8", "surrogatepass"):
        raise Unreadable(f"The ids of its runs are not in order after {after[:200]!r}: it can't be compared.")


def since_1970(moment: datetime | None) -> int | None:
    """Microseconds."""
    return None if moment is None else to_epoch_us(moment)


def milliseconds(value: Value) -> int | None:
    """A stored value as milliseconds since 1970, where an instant can be made of it."""
    return value if type(value) is int and -_END_OF_TIME < value < _END_OF_TIME else None


def plausible(values: Iterable[Value]) -> list[int]:
    """The milliseconds since 1970 among stored values that an instant can be made of."""
    return [value for value in values if type(value) is int and -_END_OF_TIME < value < _END_OF_TIME]


def extent(values: Sequence[Any]) -> tuple[int, int] | None:
    """The first and the last of the instants among stored values, in milliseconds since 1970; None without any."""
    try:
        first, last = min(values), max(values)
        if type(first) is int and type(last) is int and first > -_END_OF_TIME and last < _END_OF_TIME:
            return first, last  # they are numbers all: most often so
    except TypeError:
        pass
    found = plausible(values)
    return (min(found), max(found)) if found else None


class Samples:
    """Steps by name, while they are gathered."""

    def __init__(self) -> None:
        # The durations in microseconds, and [count, failed, retried], to be added to.
        self.found: defaultdict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], [0, 0, 0]))

    def add(self, name: str, duration: int | None, status: Status, *, retried: bool = False) -> None:
        durations, numbers = self.found[name]
        if duration is not None:
            durations.append(duration)
        numbers[0] += 1
        numbers[1] += status is Status.FAILED
        numbers[2] += retried

    def all(self) -> dict[str, StepSample]:
        return {
            name: StepSample(durations, *numbers)
            for name, (durations, numbers) in sorted(self.found.items())
            if numbers[0]
        }
