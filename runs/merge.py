"""The runs of many databases as one list, newest first: every run exactly once while paging.

The order is: newest created_at first; at the same instant by slug; within one database as its engine sorts. A cursor
names the last run shown, and from it follows what each database has left: one whose slug comes before the cursor's has
shown all of that instant, one whose slug comes after it none, and the cursor's own goes on after that run. So a cursor
is short for any number of databases, and one that is added, lost or unreadable between two pages disturbs no other.

Where a database did not search everything, a page ends where its search did, whatever the others hold that is older:
the next one goes on from there.
"""

import base64
import binascii
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from runs.addresses import decode, encode, is_digest
from runs.clock import EPOCH, FIRST, LAST
from runs.counting import Readable, read_each
from runs.engines.base import Engine
from runs.errors import BadCursor, DurascopeError
from runs.filters import Filter
from runs.records import Cursor, Page, Run

MAX_LENGTH = 4000
ASKED_TOGETHER = 32  # databases, before it is looked whether the others' turn has come
_READ_ON = 500  # rows a query, where one page did not reach past the runs of the cursor's own instant
_TICK = timedelta(microseconds=1)  # the finest difference between two created_at


@dataclass(frozen=True, slots=True)
class Merged:
    """Some runs, each with its database's slug, and the place to go on from.

    ``problems`` are the databases that could not be asked; ``partial`` says, by slug, which did not search everything.
    """

    rows: tuple[tuple[str, Run], ...]
    next: str | None
    problems: tuple[tuple[str, DurascopeError], ...]
    partial: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """The last run shown, or the last that was searched. ``segment`` is its id as addresses write it: short, however long
    the id is.
    """

    at: datetime
    slug: str
    segment: str


@dataclass(frozen=True, slots=True)
class _Remainder:
    """What one database has left to show: enough runs for a page, and whether there are more."""

    slug: str
    runs: tuple[Run, ...]
    more: bool
    partial: str
    stopped: "_Place | None"


def merged_runs(
    databases: Sequence[Readable],
    where: Filter,
    after: str | None,
    limit: int,
    newest: Mapping[str, datetime] | None = None,
) -> Merged:
    """At most ``limit`` runs of all the databases together, those after the cursor ``after``. Raises BadCursor.

    ``newest``: by slug, an instant after which a database has no run. One whose turn can't have come yet is not asked.
    """
    place = _read_place(after)
    answers: dict[str, _Remainder | DurascopeError] = {}
    ordered: list[tuple[str, Run]] = []
    for asked in _turns(databases, newest or {}):
        if len(ordered) >= limit and _is_older(asked, newest or {}, ordered[limit - 1][1]):
            break
        found = read_each(asked, lambda slug, engine: _remainder(slug, engine, where, place, limit))
        answers |= zip((database.slug for database in asked), found, strict=True)
        streams = [[(one.slug, run) for run in one.runs] for one in found if isinstance(one, _Remainder)]
        ordered = list(islice(heapq.merge(ordered, *streams, key=_order), limit + 1))
    remainders = [answer for answer in answers.values() if isinstance(answer, _Remainder)]
    more = len(ordered) > limit or len(answers) < len(databases) or any(remainder.more for remainder in remainders)
    stop = min((one.stopped for one in remainders if one.stopped is not None), key=_rank, default=None)
    if stop is not None:
        ordered = [row for row in ordered if _order(row) <= _rank(stop)]
    rows = tuple(ordered[:limit])
    last = stop
    if rows and more and (stop is None or len(rows) == limit):
        slug, run = rows[-1]
        last = _Place(run.created_at, slug, encode(run.id))
    return Merged(
        rows=rows,
        next=None if last is None else _write_place(last),
        problems=tuple(
            (database.slug, answer)
            for database in databases
            if isinstance(answer := answers.get(database.slug), DurascopeError)
        ),
        partial=tuple((remainder.slug, remainder.partial) for remainder in remainders if remainder.partial),
    )


def _order(row: tuple[str, Run]) -> tuple[timedelta, str]:
    return EPOCH - row[1].created_at, row[0]


def _rank(place: _Place) -> tuple[timedelta, str]:
    return EPOCH - place.at, place.slug


def _turns(databases: Sequence[Readable], newest: Mapping[str, datetime]) -> Iterator[Sequence[Readable]]:
    """The databases some at a time: first those of which nothing is known, then those with the newest runs."""
    known = sorted((one for one in databases if one.slug in newest), key=lambda one: newest[one.slug], reverse=True)
    unknown = [one for one in databases if one.slug not in newest]
    yield [*unknown, *known[:ASKED_TOGETHER]]
    for start in range(ASKED_TOGETHER, len(known), ASKED_TOGETHER):
        yield known[start : start + ASKED_TOGETHER]


def _is_older(databases: Sequence[Readable], newest: Mapping[str, datetime], last: Run) -> bool:
    """Whether all they have was created before the last run of the page."""
    return all(newest[database.slug] < last.created_at for database in databases)


def _remainder(slug: str, engine: Engine, where: Filter, place: _Place | None, limit: int) -> _Remainder:
    """The next ``limit`` runs of one database, at least; fewer only where it has no more, or did not search everything."""
    if place is not None:
        where = replace(where, until=_until(where.until, place, including=slug >= place.slug))
    own = place if place is not None and slug == place.slug else None
    page = engine.runs(where, None, limit if own is None else limit + 1)  # the place's own run is not shown again
    rows = list(page.rows)
    while page.next is not None and own is not None and not _passed(page, rows, own):
        page = _go_on(engine, where, page.next, rows)
    rows = _unseen(rows, own) if own is not None else rows
    while page.next is not None and len(rows) < limit and not page.partial:
        page = _go_on(engine, where, page.next, rows)
    stopped = _Place(page.searched, slug, encode(page.next.id)) if page.next and page.searched else None
    return _Remainder(slug, tuple(rows), page.next is not None, page.partial, stopped)


def _go_on(engine: Engine, where: Filter, after: Cursor, rows: list[Run]) -> Page[Run]:
    page = engine.runs(where, after, _READ_ON)
    rows.extend(page.rows)
    return page


def _until(until: datetime | None, place: _Place, *, including: bool) -> datetime | None:
    """The end, itself not included, of what a database may still show: before the place's instant, or with it."""
    end = place.at + _TICK if including else place.at
    return end if until is None else min(until, end)


def _passed(page: Page[Run], rows: Sequence[Run], place: _Place) -> bool:
    """Whether the rows reach the place's run, or an older instant: it is gone, or the filter leaves it out by now. A search
    that was bounded has to have come to an older instant itself.
    """
    if page.searched is not None:
        return page.searched < place.at
    return bool(rows) and (rows[-1].created_at < place.at or any(_is(run, place) for run in rows))


def _unseen(rows: Sequence[Run], place: _Place) -> list[Run]:
    """The rows after the place's run. Where that is gone, those that sort after it by their id."""
    for number, run in enumerate(rows):
        if _is(run, place):
            return list(rows[number + 1 :])
    if is_digest(
        place.segment
    ):  # an id that is gone can't be compared: rather the runs of one instant twice than never
        return list(rows)
    gone = _sortable(decode(place.segment))
    return [run for run in rows if run.created_at < place.at or _sortable(run.id) < gone]


def _is(run: Run, place: _Place) -> bool:
    return run.created_at == place.at and encode(run.id) == place.segment


def _sortable(run_id: str) -> bytes:
    return run_id.encode("utf-8", "surrogatepass")  # as SQLite compares text


def _write_place(place: _Place) -> str:
    raw = json.dumps([(place.at - EPOCH) // _TICK, place.slug, place.segment], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read_place(text: str | None) -> _Place | None:
    """The place that ``_write_place`` wrote; None for empty. Raises BadCursor for anything else."""
    if not text:
        return None
    try:
        if len(text) > MAX_LENGTH:
            raise ValueError("too long to be one of ours")
        at, slug, segment = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if type(at) is not int or not isinstance(slug, str) or not isinstance(segment, str):
            raise TypeError("not what a cursor holds")
        if not is_digest(segment):
            decode(segment)
        instant = EPOCH + at * _TICK
        if not FIRST <= instant <= LAST:
            raise ValueError("no run was created then")
        return _Place(instant, slug, segment)
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        raise BadCursor(remedy="Start again from the first page.") from None
