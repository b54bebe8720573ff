"""Stored backtraces: which line of the program wrote which rows of a history, and its text where that was kept."""

from runs.addresses import encode
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import Unparsed, hexadecimal, mapping, parse, text, whole
from runs.records import Cell, Payload, Section
from runs.sources.base import Value

MOST_FRAMES = 2_000
MOST_JSON = 1024 * 1024

_TRACES = """SELECT b.version_min_including, b.version_max_excluding, b.component_id,
    CASE WHEN octet_length(w.wasm_backtrace) <= :most THEN w.wasm_backtrace END
FROM {schema}t_execution_backtrace b JOIN {schema}t_wasm_backtrace w ON w.backtrace_hash = b.backtrace_hash
WHERE b.execution_id = :id ORDER BY b.version_min_including, b.version_max_excluding"""

_COMPONENT = """SELECT b.component_id FROM {schema}t_execution_backtrace b
WHERE b.execution_id = :id AND b.version_min_including = :version LIMIT 1"""

# Sources by content: in t_file since schema V11, in t_source_file before.
_SOURCES = """SELECT c.frame_key, c.is_suffix, f.digest, octet_length(f.content)
FROM {schema}t_component_source c JOIN {schema}t_file f ON f.digest = c.digest WHERE c.component_digest = :component"""
_SOURCES_BEFORE = """SELECT c.frame_key, c.is_suffix, f.content_hash, octet_length(f.content)
FROM {schema}t_component_source c JOIN {schema}t_source_file f ON f.content_hash = c.content_hash
WHERE c.component_digest = :component"""
_TEXT = "SELECT substr(f.content, 1, :limit), octet_length(f.content) FROM {schema}t_file f WHERE f.digest = :digest"
_TEXT_BEFORE = """SELECT substr(f.content, 1, :limit), octet_length(f.content)
FROM {schema}t_source_file f WHERE f.content_hash = :digest"""

_Source = tuple[str, bool, Value, int]  # path or end of a path, whether it is an end, key of the content, size


def section(snapshot: Snapshot, run_id: str) -> Section | None:
    """The frames, innermost first, for each range of the history. None where no backtrace is stored."""
    if not {"t_execution_backtrace", "t_wasm_backtrace"} <= snapshot.tables.keys():
        return None
    traces = snapshot.rows(_TRACES, {"id": run_id, "most": MOST_JSON})
    if not traces:
        return None
    rows: list[tuple[Cell, ...]] = []
    known: dict[str, list[_Source]] = {}
    for first, end, component, trace in traces:
        digest = _digest(component)
        if digest not in known:
            known[digest] = _sources(snapshot, digest)
        rows += _frames(run_id, whole(first) or 0, whole(end) or 0, trace, known[digest])
    note = f"The first {MOST_FRAMES:,} of {len(rows):,} frames." if len(rows) > MOST_FRAMES else ""
    columns = ("events", "function", "file", "line", "source")
    return Section("backtraces", "Backtraces", columns, tuple(rows[:MOST_FRAMES]), note)


def source_text(snapshot: Snapshot, run_id: str, version: int, file: str, limit: int) -> tuple[bytes, int] | None:
    """The text of a file that a backtrace names, and its size; None where none is stored, or several may be it."""
    if "t_execution_backtrace" not in snapshot.tables:
        return None
    found = snapshot.rows(_COMPONENT, {"id": run_id, "version": version})
    match = _match(_sources(snapshot, _digest(found[0][0])), file) if found else None
    if match is None:
        return None
    sql = _TEXT if "t_file" in snapshot.tables else _TEXT_BEFORE
    rows = snapshot.rows(sql, {"digest": match[2], "limit": limit})
    if not rows:
        return None
    content, size = rows[0]
    return content if isinstance(content, bytes) else text(content).encode(), whole(size) or 0


def _digest(component: Value) -> str:
    try:
        return hexadecimal(mapping(parse(component)).get("component_digest"))
    except Unparsed:
        return ""


def _sources(snapshot: Snapshot, digest: str) -> list[_Source]:
    if "t_component_source" not in snapshot.tables:
        return []
    try:
        component = bytes.fromhex(digest)
    except ValueError:
        return []
    if "t_file" in snapshot.tables and "digest" in snapshot.tables["t_component_source"]:
        rows = snapshot.rows(_SOURCES, {"component": component})
    elif "t_source_file" in snapshot.tables:
        rows = snapshot.rows(_SOURCES_BEFORE, {"component": component})
    else:
        return []
    return [(text(key), bool(is_end), content, whole(size) or 0) for key, is_end, content, size in rows]


def _match(sources: list[_Source], file: str) -> _Source | None:
    """The engine's rule: the whole path, else one single end of it."""
    exact = [source for source in sources if not source[1] and source[0] == file]
    ends = exact or [source for source in sources if source[1] and file.endswith(source[0])]
    return ends[0] if len(ends) == 1 else None


def _frames(run_id: str, first: int, end: int, trace: Value, sources: list[_Source]) -> list[tuple[Cell, ...]]:
    try:
        frames = mapping(parse(trace)).get("frames")
    except Unparsed:
        return [(f"{first}–{end - 1}", "its backtrace can't be read", None, None, None)]
    events = str(first) if end - first <= 1 else f"{first}–{end - 1}"
    rows: list[tuple[Cell, ...]] = []
    for frame in frames if isinstance(frames, list) else ():
        symbols = mapping(frame).get("symbols")
        if not isinstance(symbols, list) or not symbols:
            rows.append((events, text(mapping(frame).get("func_name")), text(mapping(frame).get("module")), None, None))
            continue
        for symbol in symbols:
            place = mapping(symbol)
            file = text(place.get("file"))
            source = _match(sources, file) if file else None
            payload = Payload(run_id, f"source.{first}.{encode(file)}", "text", source[3]) if source else None
            name = text(place.get("func_name")) or text(mapping(frame).get("func_name"))
            rows.append((events, name, file or None, whole(place.get("line")), payload))
    return rows
