"""Comparisons that are kept: each in one SQLite file of our own, written once, read by pages in parts.

They lie in the folder of our state, or, where that can't be written, in a temporary one that only this account may look into.
The oldest go when there are too many.
"""

import json
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from runs import home
from runs.clock import from_epoch_us, to_epoch_us
from runs.compare.encoding import decode, encode
from runs.compare.records import Cause, Comparison, Lone, Pair, Presence, Rung, Verdict
from runs.errors import Unreadable
from runs.records import Status
from runs.sources import own
from runs.sources.base import Params, Value

FOLDER = "comparisons"
SUFFIX = ".comparison"
FORMAT = 3  # of these files: one more where it changes
MOST_FILES, MOST_BYTES = 200, 2_000_000_000  # of comparisons and of what was read for them

_SCHEMA = """
CREATE TABLE summary (comparison TEXT NOT NULL);
CREATE TABLE facet (kind TEXT NOT NULL, name TEXT NOT NULL, runs INTEGER NOT NULL);
CREATE TABLE pair (
    number INTEGER PRIMARY KEY, rung TEXT NOT NULL, key TEXT, workflow TEXT NOT NULL, a_run TEXT NOT NULL, b_run TEXT,
    a_status TEXT NOT NULL, b_status TEXT NOT NULL, a_took INTEGER, b_took INTEGER, a_events INTEGER NOT NULL,
    b_events INTEGER NOT NULL, created_at INTEGER NOT NULL, verdict TEXT NOT NULL, position TEXT NOT NULL, cause TEXT NOT NULL,
    nth INTEGER NOT NULL, alike INTEGER NOT NULL
);
CREATE TABLE lone (
    number INTEGER PRIMARY KEY, side TEXT NOT NULL, presence TEXT NOT NULL, run TEXT NOT NULL, workflow TEXT NOT NULL,
    status TEXT NOT NULL, created_at INTEGER NOT NULL, took INTEGER
);
"""
# After the rows: an index that is made at once is made faster. What most pairs have needs none to be found soon.
_INDEXES = """
CREATE INDEX pair_verdict ON pair (verdict) WHERE verdict <> 'same';
CREATE INDEX pair_cause ON pair (cause) WHERE cause <> '';
CREATE INDEX pair_workflow ON pair (workflow);
CREATE INDEX lone_presence ON lone (side, presence);
"""
_ADD_PAIR = f"INSERT INTO pair VALUES ({', '.join('?' * 18)})"  # noqa: S608
_ADD_LONE = f"INSERT INTO lone VALUES ({', '.join('?' * 8)})"  # noqa: S608
_made = cast(Callable[..., Pair], Pair)
# What a run of an id has in common with that run is not stored three times.
_PAIRS = (
    "SELECT number, rung, coalesce(key, a_run), workflow, a_run, coalesce(b_run, a_run), a_status, b_status, a_took, b_took,"
    " a_events, b_events, created_at, verdict, position, cause, nth, alike FROM pair WHERE number > :after{where}"
    " ORDER BY number LIMIT :limit"
)
_LONE = (
    "SELECT number, side, presence, run, workflow, status, created_at, took FROM lone"
    " WHERE side = :side AND presence = :presence AND number > :after ORDER BY number LIMIT :limit"
)
_COUNT_LONE = "SELECT side, presence, count(*) FROM lone GROUP BY side, presence"
_REMEDY = "Name a folder with DURASCOPE_STATE."
_FACETS = ("verdict", "cause", "workflow", "rung")


@dataclass(frozen=True, slots=True)
class PairFilter:
    """Which pairs are wanted; an empty text is any. ``q`` is a part of an id or of what they have in common."""

    verdict: str = ""
    cause: str = ""
    workflow: str = ""
    rung: str = ""
    a_status: str = ""
    b_status: str = ""
    q: str = ""

    def condition(self) -> tuple[str, dict[str, Value]]:
        """As SQL, to follow another condition, and its parameters."""
        named = {name: value for name in (*_FACETS, "a_status", "b_status") if (value := str(getattr(self, name)))}
        parts = [f"{name} = :{name}" for name in named]
        # Without it SQLite could not know that the partial index holds all that is asked for.
        parts += ["verdict <> 'same'"] if self.verdict not in ("", Verdict.SAME) else []
        parts += ["cause <> ''"] if self.cause else []
        if self.q:
            parts.append("(instr(a_run, :q) OR instr(b_run, :q) OR instr(key, :q))")
        return "".join(f" AND {part}" for part in parts), {**named, "q": self.q} if self.q else {**named}


class Kept:
    """One comparison, read as it is needed. ``changed``: one of its files has been written since.

    Raises Unreadable where its own file is gone.
    """

    def __init__(self, path: Path, *, changed: bool = False, made: Comparison | None = None) -> None:
        self.path = path
        self.changed = changed
        self._made = made

    @cached_property
    def comparison(self) -> Comparison:
        if self._made is not None:
            return self._made
        with own.opened(self.path) as file:
            ((text,),) = file.rows("SELECT comparison FROM summary")
        return decode(Comparison, json.loads(str(text)))

    def pairs(self, where: PairFilter, after: int, limit: int) -> tuple[Pair, ...]:
        """Newest first by number, from the one after ``after``."""
        condition, params = where.condition()
        sql = _PAIRS.format(where=condition)
        return tuple(_pair(row) for row in self._rows(sql, {**params, "after": after, "limit": limit}))

    def count_pairs(self, where: PairFilter) -> int:
        condition, params = where.condition()
        ((count,),) = self._rows(f"SELECT count(*) FROM pair WHERE number > 0{condition}", params)  # noqa: S608
        return cast(int, count)

    def facets(self) -> Mapping[str, Mapping[str, int]]:
        """How many pairs have each verdict, cause, workflow and rung; most frequent first."""
        found: dict[str, dict[str, int]] = {kind: {} for kind in _FACETS}
        for kind, name, count in self._rows("SELECT kind, name, runs FROM facet ORDER BY runs DESC, name", {}):
            found[str(kind)][str(name)] = cast(int, count)
        return found

    def lone(self, side: str, presence: Presence, after: int, limit: int) -> tuple[Lone, ...]:
        """Newest first by number, from the one after ``after``."""
        params = {"side": side, "presence": presence.value, "after": after, "limit": limit}
        return tuple(_lone(row) for row in self._rows(_LONE, params))

    def missing(self, most: int) -> tuple[Lone, ...]:
        """The runs that only one side has though both cover their time, those of A first, at most so many of each."""
        return tuple(run for side in "ab" for run in self.lone(side, Presence.ONLY, 0, most))

    def count_lone(self) -> Mapping[tuple[str, Presence], int]:
        """How many runs of each side have no counterpart, by why; without those of which there are none."""
        return {
            (str(side), Presence(str(presence))): cast(int, count)
            for side, presence, count in self._rows(_COUNT_LONE, {})
        }

    def _rows(self, sql: str, params: Params) -> list[tuple[Value, ...]]:
        with own.opened(self.path) as file:
            return list(file.rows(sql, params))


def keep(path: Path, comparison: Comparison, pairs: Iterable[Pair], lone: Iterable[Lone]) -> Kept:
    """Writes a comparison. Raises Unreadable where it can't be."""
    with own.written(path) as file:
        file.run(_SCHEMA)
        text = json.dumps(encode(comparison), ensure_ascii=True)
        file.add("INSERT INTO summary VALUES (?)", iter([(text,)]))
        file.add(_ADD_PAIR, map(_pair_row, pairs))
        file.add(_ADD_LONE, map(_lone_row, lone))
        for kind in _FACETS:
            file.run(f"INSERT INTO facet SELECT '{kind}', {kind}, count(*) FROM pair GROUP BY 2")  # noqa: S608
        file.run(_INDEXES)
    return Kept(path, made=comparison)


def folder() -> Path:
    """Where comparisons are kept, made where it is not there. Raises Unreadable."""
    kept = home.folder() / FOLDER
    with suppress(OSError):
        home.folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        kept.mkdir(mode=0o700, exist_ok=True)
        if os.access(kept, os.W_OK):
            return kept
    return _temporary()


def prune(kept: Path) -> None:
    """Removes the oldest where there are too many, or too large ones."""
    found = sorted(_files(kept), key=lambda each: each[0], reverse=True)
    size = 0
    for number, (_, length, path) in enumerate(found):
        size += length
        if number >= MOST_FILES or (number and size > MOST_BYTES):
            with suppress(OSError):
                path.unlink()


def _files(kept: Path) -> Iterator[tuple[float, int, Path]]:
    with os.scandir(kept) as scan:
        for entry in scan:
            with suppress(OSError):
                about = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(about.st_mode):
                    yield about.st_mtime, about.st_size, Path(entry.path)


def _temporary() -> Path:
    """One for all processes of this account, so that one can show what another compared. Nobody else may have made it."""
    path = Path(tempfile.gettempdir()) / f"durascope-{os.geteuid()}-{FOLDER}"
    try:
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        about = path.lstat()
    except OSError as problem:
        raise Unreadable(
            f"Comparisons can't be kept in {path}: {problem.strerror}.", remedy="Name a folder with DURASCOPE_STATE."
        ) from None
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
        raise Unreadable(f"{path} belongs to somebody else.", remedy=_REMEDY)
    return path


def _pair_row(pair: Pair) -> Sequence[Value]:
    return (
        pair.number, pair.rung, None if pair.key == pair.a_run else pair.key, pair.workflow, pair.a_run,
        None if pair.b_run == pair.a_run else pair.b_run, pair.a_status, pair.b_status, pair.a_took, pair.b_took, pair.a_events,
        pair.b_events, to_epoch_us(pair.created_at), pair.verdict, pair.position, pair.cause or "", pair.nth, pair.alike,
    )  # fmt: skip


def _lone_row(lone: Lone) -> Sequence[Value]:
    return (
        lone.number, lone.side, lone.presence, lone.run, lone.workflow, lone.status, to_epoch_us(lone.created_at), lone.took,
    )  # fmt: skip


def _pair(row: Sequence[Any]) -> Pair:
    number, rung, key, workflow, a_run, b_run, a_status, b_status, *numbers, created_at, verdict, position, cause = row[
        :16
    ]
    return _made(
        number, Rung(rung), key, workflow, a_run, b_run, Status(a_status), Status(b_status), *numbers,
        from_epoch_us(created_at), Verdict(verdict), position, Cause(cause) if cause else None, *row[16:],
    )  # fmt: skip


def _lone(row: Sequence[Any]) -> Lone:
    number, side, presence, run, workflow, status, created_at, took = row
    return Lone(number, side, Presence(presence), run, workflow, Status(status), from_epoch_us(created_at), took)
