"""A DBOS file in numbers, and what a filter can be set to."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from runs import clock
from runs.engines.base import latest
from runs.engines.dbos import listing, search
from runs.engines.dbos.conditions import Condition, arms, condition, prefixed
from runs.engines.dbos.snapshot import Snapshot, composed
from runs.engines.dbos.values import instant, text, whole
from runs.engines.dbos.vocabulary import status_of
from runs.filters import Filter
from runs.records import Names, Overview, Status
from runs.sources.base import Value

WINDOW = timedelta(hours=24)
PARTS = 24
MOST = 500  # names of one kind

_COUNTS = "SELECT s.status, count(*) FROM {schema}workflow_status s WHERE {where} GROUP BY s.status"
_BY_STATUS = composed("""
SELECT s.status, count(*), max(s.created_at), max(s.updated_at), max(s.started_at_epoch_ms), max({end})
FROM {schema}workflow_status s GROUP BY s.status
""")
# Steps newer than the newest run row belong to runs that go on, or to those that ended within that very second.
_NEWEST_STEP = """
SELECT max(o.started_at_epoch_ms), max(CASE WHEN o.function_name <> 'DBOS.sleep' THEN o.completed_at_epoch_ms END)
FROM {schema}workflow_status s JOIN {schema}operation_outputs o ON o.workflow_uuid = s.workflow_uuid
WHERE {which}
"""
_GOING_ON = _NEWEST_STEP.replace("{which}", "s.status = 'PENDING'")
_JUST_ENDED = _NEWEST_STEP.replace("{which}", "s.completed_at >= :since")
_JUST_CHANGED = _NEWEST_STEP.replace("{which}", "s.updated_at >= :since")
_NEWEST_MESSAGE = "SELECT max(n.created_at_epoch_ms) FROM {schema}notifications n"
_FAILURES = composed("""
SELECT ({end} - :start) / :width AS part, count(*) FROM {schema}workflow_status s
WHERE {which} AND {end} > :start AND {end} <= :stop GROUP BY part
""")
_NAMES = """
SELECT {column}, count(*) FROM {schema}workflow_status s WHERE {column} <> '' GROUP BY {column}
ORDER BY count(*) DESC, {column} LIMIT :limit
"""

_FAILED = frozenset({Status.FAILED})


def counts(snapshot: Snapshot, where: Filter) -> dict[Status, int]:
    """Runs by status under the filter without its statuses."""
    found = condition(where)
    counted: Counter[Status] = Counter()
    for native, number in _grouped(snapshot, prefixed(found, where.q) if where.q else found):
        counted[status_of(native)] += number
    if where.q:
        counted[Status.FAILED] += len(search.matches(snapshot, found, where.q))
    return {status: number for status, number in counted.items() if number}


def names(snapshot: Snapshot) -> Names:
    """The names in use, at most 500 of a kind, most frequent first."""
    return Names(
        workflows=_named(snapshot, "s.name"),
        versions=_named(snapshot, "s.application_version"),
        queues=_named(snapshot, "s.queue_name"),
    )


def overview(snapshot: Snapshot) -> Overview:
    """The whole file in numbers."""
    rows = snapshot.rows(_BY_STATUS)
    counted: Counter[Status] = Counter()
    for native, number, *_ in rows:
        counted[status_of(text(native))] += whole(number) or 0
    last = _last_event_at(snapshot, latest(*(instant(value) for row in rows for value in row[2:])))
    now = clock.now()
    end = now if last is None or timedelta() <= now - last < WINDOW else last
    failed = listing.page(snapshot, Condition(), _FAILED, None, 1)
    problem = snapshot.schema.revision(newest_migration(snapshot)).problem
    return Overview(
        runs=dict(counted),
        newest_run_at=_newest([row[2] for row in rows]),
        last_event_at=last,
        window_start=end - WINDOW,
        window_end=end,
        failures=_failures(snapshot, end),
        newest_error=listing.runs(snapshot, failed)[0] if failed else None,
        problems=(problem,) if problem else (),
    )


def _newest(created: Sequence[Value]) -> datetime | None:
    found = [instant(value) for value in created if value is not None]
    return None if None in found else latest(*found)


def newest_migration(snapshot: Snapshot) -> Value:
    """The highest number in dbos_migrations, or None."""
    return snapshot.rows("SELECT max(version) FROM {schema}dbos_migrations")[0][0]


def _grouped(snapshot: Snapshot, found: Condition) -> list[tuple[str, int]]:
    rows = snapshot.rows(_COUNTS.replace("{where}", found.sql), found.params)
    return [(text(native), whole(number) or 0) for native, number in rows]


def _named(snapshot: Snapshot, column: str) -> tuple[tuple[str, int], ...]:
    rows = snapshot.rows(_NAMES.replace("{column}", column), {"limit": MOST})
    return tuple((text(name), whole(number) or 0) for name, number in rows)


def _last_event_at(snapshot: Snapshot, runs: datetime | None) -> datetime | None:
    """The newest recorded instant; ``runs`` is the newest in workflow_status. A sleep's start counts, its projected
    end does not.
    """
    if runs is None:
        return None
    found: list[Mapping[str, Value] | None] = [None, {"since": clock.to_epoch_ms(runs) - 1000}]
    ended = _JUST_ENDED if snapshot.schema.has("workflow_status", "completed_at") else _JUST_CHANGED
    newest = [
        instant(value)
        for sql, params in zip((_GOING_ON, ended), found, strict=True)
        for row in snapshot.rows(sql, params)
        for value in row
    ]
    if snapshot.schema.has("notifications"):
        newest.append(instant(snapshot.rows(_NEWEST_MESSAGE)[0][0]))
    return latest(runs, *newest)


def _failures(snapshot: Snapshot, end: datetime) -> tuple[int, ...]:
    """The runs that failed in each part of the window, oldest part first: after its start, up to its end."""
    width = int(WINDOW.total_seconds() * 1000) // PARTS
    stop = clock.to_epoch_ms(end)
    counted = [0] * PARTS
    for arm in arms(_FAILED):
        params = {"start": stop - width * PARTS, "stop": stop, "width": width}
        for part, number in snapshot.rows(_FAILURES.replace("{which}", arm), params):
            counted[min(whole(part) or 0, PARTS - 1)] += whole(number) or 0
    return tuple(counted)
