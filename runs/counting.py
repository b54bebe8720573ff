"""Numbers over whole databases: counted once, kept until the file changes, never waited for where that takes long.

A small file is counted while its page waits. A large one is counted in a thread of its own: whoever asks waits a moment
for it, then gets the last answer, or none yet. One that changes all the time is counted as often as a page looks, not for each
that does, since an engine waits for whoever reads its file; and a large one a tenth of the time at most, or a hundredth where
it has no -wal, in which an engine could write meanwhile. The answers of one process are its own.
"""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from runs import clock
from runs.engines.base import Engine
from runs.errors import DurascopeError
from runs.sources.base import FileFacts

T = TypeVar("T")

SMALL = 16 * 1024 * 1024  # bytes of a file that is counted while its page waits
EVERY = 2.0  # seconds between two counts of a file that changes all the time: its pages look as often
BURST = 4  # changes of a small file that are counted as they come before that holds for it
AT_ONCE = 100  # small files that a page waits for; of more, the rest are counted as large ones are
PATIENCE = 0.05  # seconds that a page waits for the others together
RARELY = 9  # times as long as a count took, until the next of a file that has changed
SELDOM = 99  # the same, where only time went on, or whoever writes has to wait for those that read
STAYS_TRUE = 15  # seconds that counts of what is due stay true enough; of more files, as many times longer
KEPT = 8192  # answers
# A locked file is waited for; a few threads keep such files from delaying all that come after them. Where all are read this
# soon, in seconds, threads would only cost.
READ_TOGETHER = 4
QUICK = 0.1
COUNTED_TOGETHER = 2


class Readable(Protocol):
    """What is needed of a database to ask it something: catalogue.Database is one."""

    @property
    def slug(self) -> str: ...

    def read(self, work: Callable[[Engine], T]) -> T: ...


class Source(Protocol):
    """What tells that a file is another, or has changed."""

    @property
    def place(self) -> str: ...

    def fingerprint(self) -> str: ...

    def facts(self) -> FileFacts | None: ...


class Countable(Readable, Protocol):
    """A database of whose answers some are kept."""

    @property
    def source(self) -> Source: ...


@dataclass(frozen=True, slots=True)
class Counted(Generic[T]):
    """An answer, or why there is none. ``fresh``: it is of the file as it is now, and of the last quarter of a minute."""

    answer: T | DurascopeError
    at: datetime
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer, the state of the file that it is of, and by time.monotonic when it had been counted, and how long that took.
    ``left``: how many changes of a small file could then be counted as they come."""

    answer: object
    state: tuple[str, int]
    at: datetime
    ended: float
    took: float
    left: float = BURST


@dataclass(frozen=True, slots=True)
class _Begun:
    """A count: the state of the file that it was begun for, and when."""

    future: "Future[object]"
    state: tuple[str, int]
    at: datetime


_Key = tuple[str, Hashable]
_kept: dict[_Key, _Kept] = {}
_under_way: dict[_Key, _Begun] = {}
_lock = threading.Lock()
_threads: list[ThreadPoolExecutor] = []  # one, made by whoever needs it first: no thread lives through a fork


def counted(
    databases: Sequence[Countable], question: Hashable, work: Callable[[str, Engine], T], *, waits: bool = False
) -> tuple[Counted[T] | None, ...]:
    """What ``work(slug, engine)`` says of each database, in their order; None where that isn't counted yet. ``question``
    tells it from other work; ``waits``: however long it takes. Errors are never kept."""
    stays_true = STAYS_TRUE * max(1, len(databases) // AT_ONCE)
    # What is due, and the 24 hours of failures, move with the clock even where the file stays as it is.
    time_of_day = int(clock.now().timestamp()) // stays_true
    states = [(database.source.fingerprint(), time_of_day) for database in databases]
    with _lock:
        under_way = set(_under_way)  # before the answers: what ends in between is known, or told by _start
    keys: list[_Key] = [(database.source.place, question) for database in databases]
    found: list[Counted[T] | None] = [_known(key, state) for key, state in zip(keys, states, strict=True)]
    missing = [at for at, answer in enumerate(found) if answer is None or not answer.fresh]
    if not missing:
        return tuple(found)
    began, now = time.monotonic(), clock.now()
    if not waits:
        missing = [at for at in missing if _left(keys[at], began) >= 1]
    small = [at for at in missing if waits or (keys[at] not in under_way and _is_small(databases[at]))]
    if not waits:
        del small[AT_ONCE:]
    large = {at: _start(databases[at], keys[at], states[at], work) for at in set(missing).difference(small)}
    for at, answer in zip(small, read_each([databases[at] for at in small], work), strict=True):
        found[at] = Counted(answer, now)
        if not isinstance(answer, DurascopeError):
            _keep(keys[at], _Kept(answer, states[at], now, began, 0.0, max(_left(keys[at], began) - 1, 0)))
    # Where the file is as it was, and only time went on, nobody waits.
    pending = [begun.future for at, begun in large.items() if begun and not _is_same_file(keys[at], states[at])]
    wait(pending, max(PATIENCE - (time.monotonic() - began), 0))
    for at, begun in large.items():
        if begun is not None and begun.future.done():
            answer = begun.future.result()  # type: ignore[assignment]  # what ``work`` returned to this question
            found[at] = Counted(answer, begun.at, begun.state == states[at])
    return tuple(found)


def read_each(databases: Sequence[Readable], work: Callable[[str, Engine], T]) -> tuple[T | DurascopeError, ...]:
    """What ``work(slug, engine)`` returns for each database, in their order, or the error that kept it from that."""
    answers: list[T | DurascopeError] = []
    began = time.monotonic()
    for database in databases:
        answers.append(_read(database, work))
        if time.monotonic() - began > QUICK:
            break
    if rest := databases[len(answers) :]:
        with ThreadPoolExecutor(min(READ_TOGETHER, len(rest)), thread_name_prefix="reading") as threads:
            answers += threads.map(lambda database: _read(database, work), rest)
    return tuple(answers)


def _read(database: Readable, work: Callable[[str, Engine], T]) -> T | DurascopeError:
    try:
        return database.read(lambda engine: work(database.slug, engine))
    except DurascopeError as error:
        return error


def _is_small(database: Countable) -> bool:
    facts = database.source.facts()
    return facts is None or facts.size_bytes <= SMALL


def _holds_writers_up(database: Countable) -> bool:
    facts = database.source.facts()
    return facts is not None and not facts.has_wal


def _left(key: _Key, now: float) -> float:
    kept = _kept.get(key)
    return BURST if kept is None else min(BURST, kept.left + (now - kept.ended) / EVERY)


def _known(key: _Key, state: tuple[str, int]) -> Counted[T] | None:
    kept = _kept.get(key)
    return None if kept is None else Counted(kept.answer, kept.at, kept.state == state)  # type: ignore[arg-type]


def _is_same_file(key: _Key, state: tuple[str, int]) -> bool:
    kept = _kept.get(key)
    return kept is not None and kept.state[0] == state[0]


def _start(database: Countable, key: _Key, state: tuple[str, int], work: Callable[[str, Engine], T]) -> _Begun | None:
    """The count that is under way, be it of an earlier state, or a new one; None where it is too early for that."""
    with _lock:
        if key in _under_way:
            return _under_way[key]
        kept = _kept.get(key)
        if kept is not None and kept.state == state:  # by another thread, since it was looked for
            done: Future[object] = Future()
            done.set_result(kept.answer)
            return _Begun(done, kept.state, kept.at)
        pause = SELDOM if _is_same_file(key, state) or _holds_writers_up(database) else RARELY
        if kept is not None and time.monotonic() < kept.ended + max(pause * kept.took, EVERY):
            return None
        if not _threads:
            _threads.append(ThreadPoolExecutor(COUNTED_TOGETHER, thread_name_prefix="counting"))
        future = _threads[0].submit(_count, database, key, state, work)
        begun = _under_way[key] = _Begun(future, state, clock.now())
        return begun


def _count(database: Countable, key: _Key, state: tuple[str, int], work: Callable[[str, Engine], T]) -> object:
    began, now = time.monotonic(), clock.now()
    try:
        answer = _read(database, work)
        if not isinstance(answer, DurascopeError):
            ended = time.monotonic()
            _keep(key, _Kept(answer, state, now, ended, ended - began))
        return answer
    finally:
        with _lock:
            _under_way.pop(key, None)


def _keep(key: _Key, kept: _Kept) -> None:
    with _lock:
        _kept.pop(key, None)
        _kept[key] = kept
        while len(_kept) > KEPT:
            _kept.pop(next(iter(_kept)))
