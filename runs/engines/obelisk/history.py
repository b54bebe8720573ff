"""Rows of t_execution_log: read with the large payloads left out, and the same rows as events."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from runs.engines.obelisk import relations
from runs.engines.obelisk.failures import outcome
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import NOTHING, Unparsed, instant, mapping, parse, snake, text, whole
from runs.errors import Damaged
from runs.records import Cursor, ErrorSummary, Event, Page, Payload, Status
from runs.sources.base import Params, Value

CHUNK = 400  # ids in one statement

# What most rows are read for, without reading their JSON in Python: of a lock whose it is, and of an end whether it was a
# success of which nothing more is told.
_COLUMNS = """l.execution_id, l.version, l.created_at, l.variant, $json, octet_length($body),
    CASE WHEN octet_length(l.json_value) > $small AND $valid(l.json_value) THEN
        substr(COALESCE($retval->'err'->>'value', $retval->'execution_failure'->>'detail', $failed->>'detail'), 1, 600) END,
    CASE WHEN $is_lock THEN $lease END, CASE WHEN $is_lock THEN $executor END,
    CASE WHEN l.variant = 'finished' AND $valid(l.json_value) THEN $succeeded AND NOT $traced END"""
_IS_LOCK = "l.variant IN ('locked', 'Locked') AND $valid(l.json_value)"

# History events only bound an attempt of a workflow: their JSON isn't needed for that, nor any that another follows.
_LIFE = """SELECT $columns
FROM {schema}t_execution_log l WHERE l.execution_id IN ($ids) AND l.variant IS NOT :without
    AND (l.variant <> 'history_event' OR NOT EXISTS (SELECT 1 FROM {schema}t_execution_log n
        WHERE n.execution_id = l.execution_id AND n.version = l.version + 1 AND n.variant = 'history_event'))
ORDER BY l.execution_id, l.version"""

_STEPS = """SELECT $columns
FROM {schema}t_execution_log l
WHERE l.execution_id = :id AND l.variant = 'history_event'
    AND $event_type IN ('join_set_request', 'persist', 'schedule', 'stub')
ORDER BY l.version"""

_ONE = """SELECT $columns
FROM {schema}t_execution_log l WHERE l.execution_id = :id AND l.version = :version"""

_EVENTS = """SELECT l.version,
    CASE WHEN octet_length(l.json_value) <= $small THEN l.json_value END, octet_length(l.json_value)
FROM {schema}t_execution_log l WHERE l.execution_id = :id AND l.version IN ($versions) ORDER BY l.version"""

_INPUT_SIZES = """SELECT l.execution_id, octet_length($body) FROM {schema}t_execution_log l
WHERE l.execution_id IN ($ids) AND l.variant IN ('created', 'Created') ORDER BY l.execution_id, l.version"""

_SHORT = "CASE WHEN octet_length($slim) <= $largest THEN $slim END"
_LIFE_BODY = "CASE WHEN l.variant IN ('created', 'finished') THEN $body END"
_LIFE_ONLY = "CASE WHEN l.variant <> 'history_event' AND octet_length($slim) <= $largest THEN $slim END"


class _Told(NamedTuple):
    """What a row's columns say. ``body_size`` is the size in bytes of the payload it holds; ``clipped`` the beginning of an error
    too large to read; the next two are of a lock. ``plain``: it ended a run with success, and nothing else is in its JSON.
    """

    run_id: str
    version: int
    at: datetime | None
    variant: str
    source: Value
    body_size: int | None
    clipped: str
    lease: str
    executor: str
    plain: bool


class LogRow(_Told):
    """One row. Its JSON is read when something in it is asked for: of most children's rows nothing is."""

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """The object under the variant's name, empty where it can't be read or was left out."""
        try:
            found = parse(self.source)
        except Unparsed:
            return NOTHING
        return mapping(next(iter(found.values()), None)) if isinstance(found, dict) and len(found) == 1 else NOTHING

    @property
    def outcome(self) -> tuple[Status, ErrorSummary | None]:
        """How the run ended, for a ``finished`` row."""
        return (Status.SUCCEEDED, None) if self.plain else outcome(self.retval, self.clipped)

    @property
    def retval(self) -> Mapping[str, Any]:
        """The return value of a ``finished`` row; ``result`` until 0.35."""
        return mapping(self.content.get("retval", self.content.get("result")))

    @cached_property
    def kind(self) -> str:
        """Which event it is, for a ``history_event`` row: ``join_set_request``."""
        return snake(self.event.get("type"))

    @property
    def event(self) -> Mapping[str, Any]:
        """What happened, for a ``history_event`` row."""
        return mapping(self.content.get("event"))

    @property
    def request(self) -> Mapping[str, Any]:
        """What a join set was asked for."""
        return mapping(self.event.get("request"))


def lives(snapshot: Snapshot, run_ids: Iterable[str], without: str | None = None) -> dict[str, list[LogRow]]:
    """Of each run the rows by version, but those of one variant; of history events that follow one another the last alone,
    without content: that is when the attempt around them was last seen."""
    found: dict[str, list[LogRow]] = {run_id: [] for run_id in run_ids}
    for names, params in in_chunks(list(found)):
        rows = _rows(snapshot, _LIFE, params | {"without": without}, ids=names, json=_LIFE_ONLY, body=_LIFE_BODY)
        for row in map(log_row_of, rows):
            found.setdefault(row.run_id, []).append(row)
    return found


def input_sizes(snapshot: Snapshot, run_ids: Sequence[str]) -> dict[str, int | None]:
    """How many bytes the parameters of these runs have, of those that there are."""
    found: dict[str, int | None] = {}
    for names, params in in_chunks(run_ids):
        for run_id, size in snapshot.rows(_INPUT_SIZES, params, ids=names):
            found.setdefault(text(run_id), whole(size))
    return found


def step_rows(snapshot: Snapshot, run_id: str) -> list[LogRow]:
    """The rows that are steps, by version."""
    return [log_row_of(values) for values in step_values(snapshot, run_id)]


def step_values(snapshot: Snapshot, run_id: str) -> list[tuple[Value, ...]]:
    """The same rows as the values of their columns, of which the second is the version."""
    return _rows(snapshot, _STEPS, {"id": run_id}, json=_SHORT)


def log_row(snapshot: Snapshot, run_id: str, version: int) -> LogRow | None:
    """One row by its key."""
    found = _rows(snapshot, _ONE, {"id": run_id, "version": version}, json=_SHORT)
    return log_row_of(found[0]) if found else None


def in_chunks(ids: Sequence[str]) -> Iterator[tuple[str, dict[str, Value]]]:
    """The ids as lists of parameter names for ``IN``, with their values, a few hundred at a time."""
    for start in range(0, len(ids), CHUNK):
        params: dict[str, Value] = {f"id{number}": run_id for number, run_id in enumerate(ids[start : start + CHUNK])}
        yield ", ".join(f":{name}" for name in params), params


def _rows(snapshot: Snapshot, sql: str, params: Params, **parts: str) -> list[tuple[Value, ...]]:
    return snapshot.rows(sql, params, **parts, is_lock=_IS_LOCK, columns=_COLUMNS)


def log_row_of(values: tuple[Value, ...]) -> LogRow:
    """The row that these values of its columns are."""
    run_id, version, created_at, variant, source, body_size, clipped, lease, executor, plain = values
    return LogRow(
        text(run_id),
        whole(version) or 0,
        instant(created_at),
        relations.variant_of(variant),
        source,
        whole(body_size),
        text(clipped),
        text(lease),
        text(executor),
        bool(plain),
    )


# Our words for what happened. "run_id" of the engine is one lock lease: an attempt.
_WORDS = {
    "created": "created",
    "locked": "attempt started",
    "unlocked": "attempt given back",
    "temporarily_failed": "attempt failed",
    "temporarily_timed_out": "attempt timed out",
    "finished": "finished",
    "paused": "paused",
    "unpaused": "resumed",
    "cancellation_requested": "cancelling",
    "component_upgrade_finished": "upgrade",
    "history_event/persist": "value recorded",
    "history_event/join_set_create": "join set created",
    "history_event/join_set_request": "child requested",
    "history_event/join_next": "awaited",
    "history_event/join_next_try": "looked for a result",
    "history_event/join_next_too_many": "nothing left to await",
    "history_event/schedule": "run scheduled",
    "history_event/stub": "child answered",
}


def events(
    snapshot: Snapshot, run_id: str, after: int | None, limit: int, wanted: frozenset[str] = frozenset()
) -> Page[Event]:
    """The rows of the log, one event each, by version; where types are wanted, only those. ``data`` is the row's JSON
    where it is small and readable."""
    entries = relations.index(snapshot, run_id)
    related = relations.related(snapshot, run_id, entries)
    later = [entry for entry in entries if after is None or entry.version > after]
    versions = [entry.version for entry in later if not wanted or _word(entry) in wanted]
    known = {entry.version: entry for entry in later}
    found: list[Event] = []
    for start in range(0, len(versions[:limit]), CHUNK):
        chunk = ", ".join(str(version) for version in versions[start : min(start + CHUNK, limit)])
        for values in snapshot.rows(_EVENTS, {"id": run_id}, versions=chunk):
            version = whole(values[0]) or 0
            if version not in known:
                raise Damaged("An index of t_execution_log and its rows do not agree.")
            found.append(_event(run_id, known[version], values, related.get(version, ())))
    more = len(versions) > limit and found
    return Page(rows=tuple(found), next=Cursor(at=found[-1].position, id=run_id) if more else None)


def types(snapshot: Snapshot, run_id: str) -> tuple[tuple[str, int], ...]:
    """The types of a run's events, each with their number, most frequent first."""
    counted = Counter(_word(entry) for entry in relations.index(snapshot, run_id))
    return tuple(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def _event(run_id: str, entry: relations.Entry, values: tuple[Value, ...], related: tuple[int, ...]) -> Event:
    _, source, size = values
    try:
        data, payload = parse(source), None
    except Unparsed:
        data, payload = None, Payload(run_id, f"event.{entry.version}.data", "json", whole(size) or 0)
    return Event(entry.version, entry.at, _word(entry), entry.native, data, payload, related)


def _word(entry: relations.Entry) -> str:
    """Our type of an event, else the engine's own words."""
    if entry.sleep:
        return "sleep requested"
    known = entry.variant + (f"/{entry.event}" if entry.event else "")
    return _WORDS.get(known, entry.native)
