"""What the application wrote: levelled messages, and chunks of its standard output and error."""

from collections.abc import Sequence

from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import as_bytes, instant, text, whole
from runs.records import Cursor, LogLine, Page
from runs.sources.base import Value

LEVELS = {1: "trace", 2: "debug", 3: "info", 4: "warn", 5: "error"}
STREAMS = {1: "stdout", 2: "stderr"}
MOST = 64 * 1024  # bytes or characters of one entry that are shown

_COLUMNS = """g.id, g.created_at, g.run_id, g.level, g.stream_type, octet_length(COALESCE(g.message, g.payload)),
    CASE WHEN octet_length(g.message) <= :most THEN g.message ELSE substr(g.message, 1, :most) END,
    CASE WHEN octet_length(g.payload) <= :most THEN g.payload ELSE substr(g.payload, 1, :most) END"""

_LINES = """SELECT $columns
FROM {schema}t_log g WHERE g.execution_id = :id AND g.id > :after AND $chosen ORDER BY g.id LIMIT :limit"""

# The chunks of the same stream before or after one: a character's bytes, four at most, may lie in all of them.
_BEFORE = """SELECT substr(g.payload, -3) FROM {schema}t_log g
WHERE g.execution_id = :id AND g.run_id = :lease AND g.stream_type = :stream AND g.id < :position
ORDER BY g.id DESC LIMIT 3"""
_AFTER = """SELECT substr(g.payload, 1, 3) FROM {schema}t_log g
WHERE g.execution_id = :id AND g.run_id = :lease AND g.stream_type = :stream AND g.id > :position
ORDER BY g.id LIMIT 3"""


def lines(
    snapshot: Snapshot, run_id: str, after: int | None, limit: int, levels: frozenset[str], attempt: str
) -> Page[LogLine]:
    """Entries as they were stored, each by its id; only of some levels or streams, or of one attempt, where named.

    A chunk of a stream may hold several lines, or end within one. A character that two chunks share is whole in the
    later one. The engine writes entries in batches and may lose some.
    """
    if not {"stream_type", "payload", "message", "level"} <= snapshot.tables.get("t_log", {}).keys():
        return Page()
    params: dict[str, Value] = {"id": run_id, "after": -1 if after is None else after, "limit": limit + 1, "most": MOST}
    chosen, chosen_params = _chosen(levels, attempt)
    rows = snapshot.rows(_LINES, params | chosen_params, columns=_COLUMNS, chosen=chosen)
    found = tuple(_line(snapshot, run_id, row) for row in rows[:limit])
    return Page(rows=found, next=Cursor(at=found[-1].position, id=run_id) if found and len(rows) > limit else None)


def _chosen(levels: frozenset[str], attempt: str) -> tuple[str, dict[str, Value]]:
    """The entries wanted, as a condition and its parameters. A level or stream without a name is its number."""
    terms, params = ["TRUE"], dict[str, Value]()
    if attempt:
        terms.append("g.run_id = :attempt")
        params["attempt"] = attempt
    if levels:
        either = ["FALSE"]
        for column, known in (("level", LEVELS), ("stream_type", STREAMS)):
            names = {f"{column}{number}": word for number, word in enumerate(sorted(levels))}
            words = " ".join(f"WHEN {number} THEN '{word}'" for number, word in known.items())
            shown = f"CASE g.{column} {words} ELSE CAST(g.{column} AS TEXT) END"
            either.append(f"{shown} IN ({', '.join(f':{name}' for name in names)})")
            params |= names
        terms.append(f"({' OR '.join(either)})")
    return " AND ".join(terms), params


def _line(snapshot: Snapshot, run_id: str, row: Sequence[Value]) -> LogLine:
    position, created_at, lease, level, stream, size, message, payload = row
    words = _decoded(snapshot, run_id, row) if isinstance(payload, bytes) else text(message)
    if (whole(size) or 0) > MOST:
        words += f"… ({whole(size):,} bytes in all)"
    return LogLine(
        position=whole(position) or 0,
        at=instant(created_at),
        level="" if level is None else LEVELS.get(whole(level) or 0, str(level)),
        stream="" if stream is None else STREAMS.get(whole(stream) or 0, str(stream)),
        text=words.removesuffix("\n"),
        attempt=text(lease),
    )


def _decoded(snapshot: Snapshot, run_id: str, row: Sequence[Value]) -> str:
    position, _, lease, _, stream, _, _, payload = row
    data = payload if isinstance(payload, bytes) else b""
    key: dict[str, Value] = {"id": run_id, "lease": lease, "stream": stream, "position": position}
    if _leading(data):
        before = reversed(snapshot.rows(_BEFORE, key))
        data = _unfinished(b"".join(as_bytes(end) for (end,) in before)) + data
    if open_ended := _unfinished(data):
        after = b"".join(as_bytes(begin) for (begin,) in snapshot.rows(_AFTER, key))
        data = data[: -len(open_ended)] if _leading(after) else data
    return data.decode("utf-8", "replace")


def _leading(data: bytes) -> bool:
    """Whether the bytes begin within a character."""
    return bool(data) and data[0] & 0xC0 == 0x80


def _unfinished(data: bytes) -> bytes:
    """The beginning of a character that the bytes end with, or nothing."""
    for length in range(1, min(3, len(data)) + 1):
        lead = data[-length]
        if lead & 0xC0 == 0x80:
            continue
        wanted = 2 if lead & 0xE0 == 0xC0 else 3 if lead & 0xF0 == 0xE0 else 4 if lead & 0xF8 == 0xF0 else 1
        return data[-length:] if wanted > length else b""
    return b""
