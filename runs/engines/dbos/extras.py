"""What else is recorded of one run: the values it published, its streams, the messages sent to it."""

from runs.engines.dbos import bodies
from runs.engines.dbos.snapshot import Snapshot
from runs.engines.dbos.values import instant, optional, text, whole
from runs.engines.dbos.vocabulary import NO_TOPIC, STREAM_CLOSED
from runs.records import Cell, Section

MOST = 500  # rows of a section

_HISTORY = """
SELECT h.key, h.function_id, h.serialization, octet_length(h.value), substr(h.value, 1, 64)
FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run ORDER BY h.function_id, h.key LIMIT :limit
"""
_PUBLISHED = """
SELECT v.key, v.serialization, octet_length(v.value), substr(v.value, 1, 64)
FROM {schema}workflow_events v WHERE v.workflow_uuid = :run ORDER BY v.key LIMIT :limit
"""
_STREAMS = """
SELECT t.key, t."offset", t.function_id, t.serialization, octet_length(t.value), substr(t.value, 1, 64)
FROM {schema}streams t WHERE t.workflow_uuid = :run ORDER BY t.key, t."offset" LIMIT :limit
"""
_MESSAGES = """
SELECT n.message_uuid, n.topic, n.created_at_epoch_ms, n.consumed, n.consumed_by_function_id, n.serialization,
  octet_length(n.message), substr(n.message, 1, 64)
FROM {schema}notifications n WHERE n.destination_uuid = :run ORDER BY n.created_at_epoch_ms, n.message_uuid LIMIT :limit
"""


def extras(snapshot: Snapshot, run_id: str) -> tuple[Section, ...]:
    """The sections that have rows."""
    found = [read(snapshot, run_id) for table, read in _SECTIONS if snapshot.schema.has(table)]
    return tuple(section for section in found if section.rows)


def _published(snapshot: Snapshot, run_id: str) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for key, serialization, size, head in snapshot.rows(_PUBLISHED, {"run": run_id, "limit": MOST + 1}):
        name = bodies.name_of("published", text(key))
        rows.append((text(key), bodies.reference(run_id, name, serialization, size, head)))
    return _section("values", "Published values", ("key", "value"), rows, "Their current values (workflow_events).")


def _history(snapshot: Snapshot, run_id: str) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for key, number, serialization, size, head in snapshot.rows(_HISTORY, {"run": run_id, "limit": MOST + 1}):
        name = bodies.name_of("value", text(key), whole(number))
        rows.append((whole(number), text(key), bodies.reference(run_id, name, serialization, size, head)))
    note = "All they were set to (workflow_events_history)."
    return _section("settings", "Published values over time", ("step", "key", "value"), rows, note)


def _streams(snapshot: Snapshot, run_id: str) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for key, offset, number, serialization, size, head in snapshot.rows(_STREAMS, {"run": run_id, "limit": MOST + 1}):
        name = bodies.name_of("stream", text(key), whole(offset))
        value: Cell = bodies.reference(run_id, name, serialization, size, head)
        rows.append((text(key), whole(offset), whole(number), "closed" if text(head) == STREAM_CLOSED else value))
    return _section("streams", "Streams", ("stream", "offset", "step", "value"), rows)


def _messages(snapshot: Snapshot, run_id: str) -> Section:
    rows: list[tuple[Cell, ...]] = []
    for row in snapshot.rows(_MESSAGES, {"run": run_id, "limit": MOST + 1}):
        key, topic, at, consumed, consumer, serialization, size, head = row
        name = bodies.name_of("message", text(key))
        shown = "" if topic == NO_TOPIC else optional(topic)
        taken = None if consumed is None else "yes" if consumed else "no"
        value = bodies.reference(run_id, name, serialization, size, head)
        rows.append((shown, instant(at), taken, whole(consumer), value))
    columns = ("topic", "arrived", "received", "by step", "message")
    return _section("messages", "Messages sent to this run", columns, rows)


_SECTIONS = (
    ("workflow_events", _published),
    ("workflow_events_history", _history),
    ("streams", _streams),
    ("notifications", _messages),
)


def _section(key: str, title: str, columns: tuple[str, ...], rows: list[tuple[Cell, ...]], note: str = "") -> Section:
    if len(rows) > MOST:
        note = f"{note} The first {MOST:,} are shown.".strip()
    return Section(key=key, title=title, columns=columns, rows=tuple(rows[:MOST]), note=note)
