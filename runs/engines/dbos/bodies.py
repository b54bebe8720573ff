"""Where payloads lie, and one body when it is asked for.

Names, with keys and message ids encoded as in addresses:

    run.input|output|error            step.<function_id>.output|error      event.<position>.data
    value.<function_id>.<key>         what a published value was set to    (workflow_events_history)
    published.<key>                   what it is                           (workflow_events)
    stream.<offset>.<key>             streams
    message.<message_uuid>            sent to the run                      (notifications)
"""

from dataclasses import dataclass
from functools import lru_cache

from runs import addresses, payloads
from runs.engines.base import BODY_LIMIT
from runs.engines.dbos.snapshot import Snapshot, composed
from runs.engines.dbos.values import optional, text, whole
from runs.errors import PayloadNotFound
from runs.records import Body, ErrorSummary, Payload, Payloads
from runs.sources.base import Value

HEAD = 64  # characters of a body that tell its encoding
REMEMBERED = 4096  # bytes of an error whose summary is kept: there are as many as 1,024

_OF_RUN = composed("""
SELECT s.serialization, octet_length({input}), substr({input}, 1, 64), octet_length({output}), substr({output}, 1, 64),
  octet_length({error}), substr({error}, 1, 64)
FROM {schema}workflow_status s
LEFT JOIN {schema}workflow_input i ON i.workflow_uuid = s.workflow_uuid
LEFT JOIN {schema}workflow_output r ON r.workflow_uuid = s.workflow_uuid
WHERE s.workflow_uuid = :run
""")

_RUN = """
SELECT s.serialization, octet_length({slot}), substr(CAST({slot} AS BLOB), 1, :limit)
FROM {schema}workflow_status s
LEFT JOIN {schema}workflow_input i ON i.workflow_uuid = s.workflow_uuid
LEFT JOIN {schema}workflow_output r ON r.workflow_uuid = s.workflow_uuid
WHERE s.workflow_uuid = :run
"""
_STEP = """
SELECT o.serialization, octet_length({slot}), substr(CAST({slot} AS BLOB), 1, :limit)
FROM {schema}operation_outputs o WHERE o.workflow_uuid = :run AND o.function_id = :number
"""
_VALUE_KEYS = (
    "SELECT h.key FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run AND h.function_id = :number"
)
_VALUE = """
SELECT h.serialization, octet_length(h.value), substr(CAST(h.value AS BLOB), 1, :limit)
FROM {schema}workflow_events_history h WHERE h.workflow_uuid = :run AND h.function_id = :number AND h.key = :key
"""
_PUBLISHED_KEYS = "SELECT v.key FROM {schema}workflow_events v WHERE v.workflow_uuid = :run"
_PUBLISHED = """
SELECT v.serialization, octet_length(v.value), substr(CAST(v.value AS BLOB), 1, :limit)
FROM {schema}workflow_events v WHERE v.workflow_uuid = :run AND v.key = :key
"""
_STREAM_KEYS = 'SELECT DISTINCT t.key FROM {schema}streams t WHERE t.workflow_uuid = :run AND t."offset" = :number'
_STREAM = """
SELECT t.serialization, octet_length(t.value), substr(CAST(t.value AS BLOB), 1, :limit)
FROM {schema}streams t WHERE t.workflow_uuid = :run AND t.key = :key AND t."offset" = :number
"""
_MESSAGE_KEYS = "SELECT n.message_uuid FROM {schema}notifications n WHERE n.destination_uuid = :run"
_MESSAGE = """
SELECT n.serialization, octet_length(n.message), substr(CAST(n.message AS BLOB), 1, :limit)
FROM {schema}notifications n WHERE n.destination_uuid = :run AND n.message_uuid = :key
"""

_RUN_SLOTS = {slot: composed(_RUN.replace("{slot}", f"{{{slot}}}")) for slot in ("input", "output", "error")}
_STEP_SLOTS = {
    "output": _STEP.replace("{slot}", "o.output"),
    "error": _STEP.replace("{slot}", "NULLIF(o.error, '')"),
}


@dataclass(frozen=True, slots=True)
class _Keyed:
    """Rows that a run has under a key: the table, how its keys are found, and one row of it."""

    table: str
    keys: str
    row: str
    numbered: bool


_KEYED = {
    "value": _Keyed("workflow_events_history", _VALUE_KEYS, _VALUE, True),
    "published": _Keyed("workflow_events", _PUBLISHED_KEYS, _PUBLISHED, False),
    "stream": _Keyed("streams", _STREAM_KEYS, _STREAM, True),
    "message": _Keyed("notifications", _MESSAGE_KEYS, _MESSAGE, False),
}


def reference(run_id: str, name: str, serialization: Value, size: Value, head: Value) -> Payload | None:
    """Where a body lies; None where nothing is stored. ``head`` is its beginning, or None where the serialization
    says enough.
    """
    if size is None:
        return None
    encoding = payloads.sniff(optional(serialization), text(head))
    return Payload(run_id=run_id, name=name, encoding=encoding, size_bytes=whole(size) or 0)


def of_run(snapshot: Snapshot, run_id: str) -> Payloads:
    """The payloads of a run that exists."""
    row = snapshot.rows(_OF_RUN, {"run": run_id})[0]
    return Payloads(
        input=reference(run_id, "run.input", row[0], row[1], row[2]),
        output=reference(run_id, "run.output", row[0], row[3], row[4]),
        error=reference(run_id, "run.error", row[0], row[5], row[6]),
    )


def summary(serialization: Value, body: Value, size: Value) -> ErrorSummary | None:
    """An error in one line from its first bytes as stored; None where none is stored. What can't be read says so."""
    if body is None or body in ("", b""):
        return None
    data = body if isinstance(body, bytes) else text(body).encode("utf-8", "surrogatepass")
    said = _summary if len(data) <= REMEMBERED else _summary.__wrapped__
    return said(optional(serialization), data, whole(size) or len(data))


@lru_cache(maxsize=1024)
def _summary(serialization: str | None, data: bytes, size: int) -> ErrorSummary:
    """Lists show the same errors again and again."""
    encoding = payloads.sniff(serialization, text(data[:HEAD]))
    return payloads.summarise_error(encoding, data) or ErrorSummary(
        "error", f"{size:,} bytes that can't be read as {encoding}"
    )


def name_of(kind: str, key: str, number: int | None = None) -> str:
    """The payload name of a row under a key: ``value.3.progress``."""
    parts = [kind, addresses.encode(key)] if number is None else [kind, str(number), addresses.encode(key)]
    return ".".join(parts)


def read(snapshot: Snapshot, run_id: str, name: str) -> Body:
    """The body of that name. The run is known to exist. Raises PayloadNotFound."""
    match name.split("."):
        case ["run", slot] if slot in _RUN_SLOTS:
            rows = snapshot.rows(_RUN_SLOTS[slot], {"run": run_id, "limit": BODY_LIMIT})
        case ["step", number, slot] if slot in _STEP_SLOTS and (ordinal := _number(number)) is not None:
            rows = snapshot.rows(_STEP_SLOTS[slot], {"run": run_id, "number": ordinal, "limit": BODY_LIMIT})
        case [kind, segment] if kind in _KEYED and not _KEYED[kind].numbered:
            rows = _under_key(snapshot, _KEYED[kind], run_id, segment, None)
        case [kind, number, segment] if kind in _KEYED and _KEYED[kind].numbered:
            rows = _under_key(snapshot, _KEYED[kind], run_id, segment, _number(number))
        case _:
            rows = []
    if not rows or rows[0][1] is None:
        raise PayloadNotFound(f"{run_id[:200]!r} has no payload {name[:200]!r}.")
    serialization, size, body = rows[0]
    data = body if isinstance(body, bytes) else text(body).encode("utf-8", "surrogatepass")
    payload = reference(run_id, name, serialization, size, text(data[:HEAD]))
    assert payload is not None  # noqa: S101  its size is known
    return Body(payload=payload, data=data, truncated=payload.size_bytes > len(data))


def _number(digits: str) -> int | None:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def _under_key(
    snapshot: Snapshot, keyed: _Keyed, run_id: str, segment: str, number: int | None
) -> list[tuple[Value, ...]]:
    # The segment may be a digest of a long key, so keys are compared as they are written, not decoded.
    if not snapshot.schema.has(keyed.table) or (keyed.numbered and number is None):
        return []
    params: dict[str, Value] = {"run": run_id} | ({"number": number} if keyed.numbered else {})
    for (key,) in snapshot.rows(keyed.keys, params):
        if addresses.encode(text(key)) == segment:
            return snapshot.rows(keyed.row, params | {"key": key, "limit": BODY_LIMIT})
    return []
