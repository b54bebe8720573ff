"""Runs by the beginning of their id or by any part of their error's text, still newest first and page by page.

Errors are pickled, so their text is searched after decoding: failed runs are read newest first in batches, up to a
bound. Where the bound is reached, the page ends at the last failure that was read and says so; the next page goes on
from there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from runs.engines.dbos import listing
from runs.engines.dbos.conditions import Condition, prefixed
from runs.engines.dbos.listing import RunRow
from runs.engines.dbos.snapshot import Snapshot
from runs.records import Cursor, Status

CANDIDATES = 5000  # failed runs whose errors one answer reads at most
BATCH = 250

_FAILED = frozenset({Status.FAILED})


@dataclass(frozen=True, slots=True)
class Found:
    """Rows in the order of the list; ``next`` leads on; ``partial`` says in words that not everything was searched."""

    rows: list[RunRow]
    next: Cursor | None = None
    partial: str = ""


def search(
    snapshot: Snapshot, found: Condition, q: str, statuses: frozenset[Status], after: Cursor | None, limit: int
) -> Found:
    """The next page of what matches the condition, the statuses and q."""
    by_id = listing.page(snapshot, prefixed(found, q), statuses, after, limit + 1)
    by_error: list[RunRow] = []
    stopped: Cursor | None = None
    if not statuses or Status.FAILED in statuses:
        read = 0
        for batch in _failed(snapshot, found, after):
            by_error.extend(_matching(snapshot, batch, q))
            read += len(batch)
            enough = len(by_id) > limit and listing.place(batch[-1].at) <= listing.place(by_id[-1].at)
            if enough or len(by_error) > limit:
                break
            if read >= CANDIDATES:
                stopped = batch[-1].at
                break
    rows = listing.newest_first({row.id: row for row in (*by_id, *by_error)}.values())
    if stopped is not None:
        rows = [row for row in rows if listing.place(row.at) >= listing.place(stopped)]
    if len(rows) > limit:
        return Found(rows[:limit], rows[limit - 1].at)
    if stopped is None:
        return Found(rows)
    return Found(
        rows,
        stopped,
        f"The errors of {CANDIDATES:,} failed runs were searched so far; the next page searches older ones.",
    )


def matches(snapshot: Snapshot, found: Condition, q: str) -> list[RunRow]:
    """The failed runs whose error matches but whose id does not, for counting; the newest CANDIDATES failures are
    read.
    """
    rows: list[RunRow] = []
    read = 0
    for batch in _failed(snapshot, found, None):
        rows.extend(row for row in _matching(snapshot, batch, q) if not row.id.startswith(q))
        read += len(batch)
        if read >= CANDIDATES:
            break
    return rows


def _failed(snapshot: Snapshot, found: Condition, after: Cursor | None) -> Iterator[list[RunRow]]:
    while batch := listing.page(snapshot, found, _FAILED, after, BATCH):
        yield batch
        if len(batch) < BATCH:
            return
        after = batch[-1].at


def _matching(snapshot: Snapshot, batch: list[RunRow], q: str) -> list[RunRow]:
    wanted = q.casefold()
    errors = listing.errors(snapshot, batch)
    return [
        row
        for row in batch
        if row.id in errors and wanted in f"{errors[row.id].type}: {errors[row.id].message}".casefold()
    ]
