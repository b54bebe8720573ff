"""Rows of t_execution_log: read with the large payloads left out, and the same rows as events."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import NOTHING, Unparsed, instant, mapping, parse, snake, text, whole
from runs.records import Cursor, Event, Page, Payload
from runs.sources.base import Value

CHUNK = 400  # ids in one statement

_COLUMNS = """l.execution_id, l.version, l.created_at, l.variant,
    $json, octet_length($body), CASE WHEN octet_length(l.json_value) > $small AND $valid(l.json_value) THEN
        substr(COALESCE($retval->'err'->>'value', $retval->'execution_failure'->>'detail',
            $failed->>'detail'), 1, 600) END"""

# History events only bound an attempt of a workflow: their JSON isn't needed for that.
_LIFE = """SELECT $columns
FROM {schema}t_execution_log l WHERE l.execution_id IN ($ids) ORDER BY l.execution_id, l.version"""

_STEPS = """SELECT $columns
FROM {schema}t_execution_log l
WHERE l.execution_id = :id AND l.variant = 'history_event'
    AND $event_type IN ('join_set_request', 'persist', 'schedule', 'stub')
ORDER BY l.version"""

_ONE = """SELECT $columns
FROM {schema}t_execution_log l WHERE l.execution_id = :id AND l.version = :version"""

_EVENTS = """SELECT l.version, l.created_at, l.variant, $event_type,
    CASE WHEN octet_length(l.json_value) <= $small THEN l.json_value END, octet_length(l.json_value)
FROM {schema}t_execution_log l WHERE l.execution_id = :id AND l.version > :after ORDER BY l.version LIMIT :limit"""

_SHORT = "CASE WHEN octet_length($slim) <= $largest THEN $slim END"
_LIFE_ONLY = "CASE WHEN l.variant <> 'history_event' AND octet_length($slim) <= $largest THEN $slim END"


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row. ``content`` is the object under the variant's name, empty where it can't be read or was left out.

    ``body_size`` is the size in bytes of the payload it holds; ``clipped`` the beginning of an error too large to read.
    """

    run_id: str
    version: int
    at: datetime | None
    variant: str
    content: Mapping[str, Any]
    body_size: int | None
    clipped: str

    @property
    def retval(self) -> Mapping[str, Any]:
        """The return value of a ``finished`` row; ``result`` until 0.35."""
        return mapping(self.content.get("retval", self.content.get("result")))

    @property
    def event(self) -> Mapping[str, Any]:
        """What happened, for a ``history_event`` row."""
        return mapping(self.content.get("event"))

    @property
    def request(self) -> Mapping[str, Any]:
        """What a join set was asked for."""
        return mapping(self.event.get("request"))


def lives(snapshot: Snapshot, run_ids: Iterable[str]) -> dict[str, list[LogRow]]:
    """Of each run all rows by version; those of history events without content."""
    found: dict[str, list[LogRow]] = {run_id: [] for run_id in run_ids}
    for names, params in in_chunks(list(found)):
        for values in snapshot.rows(_LIFE, params, ids=names, json=_LIFE_ONLY, columns=_COLUMNS):
            row = _row(values)
            found.setdefault(row.run_id, []).append(row)
    return found


def step_rows(snapshot: Snapshot, run_id: str) -> list[LogRow]:
    """The rows that are steps, by version."""
    return [_row(values) for values in snapshot.rows(_STEPS, {"id": run_id}, json=_SHORT, columns=_COLUMNS)]


def log_row(snapshot: Snapshot, run_id: str, version: int) -> LogRow | None:
    """One row by its key."""
    found = snapshot.rows(_ONE, {"id": run_id, "version": version}, json=_SHORT, columns=_COLUMNS)
    return _row(found[0]) if found else None


def in_chunks(ids: Sequence[str]) -> Iterator[tuple[str, dict[str, Value]]]:
    """The ids as lists of parameter names for ``IN``, with their values, a few hundred at a time."""
    for start in range(0, len(ids), CHUNK):
        params: dict[str, Value] = {f"id{number}": run_id for number, run_id in enumerate(ids[start : start + CHUNK])}
        yield ", ".join(f":{name}" for name in params), params


def _row(values: tuple[Value, ...]) -> LogRow:
    run_id, version, created_at, variant, source, body_size, clipped = values
    try:
        found = parse(source)
    except Unparsed:
        found = None
    content = mapping(next(iter(found.values()), None)) if isinstance(found, dict) and len(found) == 1 else NOTHING
    return LogRow(
        run_id=text(run_id),
        version=whole(version) or 0,
        at=instant(created_at),
        variant=_variant(variant),
        content=content,
        body_size=whole(body_size),
        clipped=text(clipped),
    )


def _variant(name: Value) -> str:
    return snake(name).replace("intermittently_", "temporarily_")


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


def events(snapshot: Snapshot, run_id: str, after: int | None, limit: int) -> Page[Event]:
    """The rows of the log, one event each, by version. ``data`` is the row's JSON where it is small and readable."""
    params: dict[str, Value] = {"id": run_id, "after": -1 if after is None else after, "limit": limit + 1}
    rows = snapshot.rows(_EVENTS, params)
    found = tuple(_event(run_id, values) for values in rows[:limit])
    return Page(rows=found, next=Cursor(at=found[-1].position, id=run_id) if found and len(rows) > limit else None)


def _event(run_id: str, values: tuple[Value, ...]) -> Event:
    version, created_at, variant, event_type, source, size = values
    position = whole(version) or 0
    native = text(variant) + (f"/{text(event_type)}" if event_type else "")
    known = _variant(variant) + (f"/{snake(event_type)}" if event_type else "")
    word = _WORDS.get(known, native)
    try:
        data, payload = parse(source), None
    except Unparsed:
        data, payload = None, Payload(run_id, f"event.{position}.data", "json", whole(size) or 0)
    if known == "history_event/join_set_request" and isinstance(data, dict) and _is_sleep(data):
        word = "sleep requested"
    return Event(position=position, at=instant(created_at), type=word, native=native, data=data, payload=payload)


def _is_sleep(data: Mapping[str, Any]) -> bool:
    return "delay_id" in mapping(mapping(mapping(next(iter(data.values()), None)).get("event")).get("request"))
