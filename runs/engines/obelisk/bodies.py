"""Payload bodies, read one at a time by their names."""

import re

from runs.addresses import decode
from runs.engines.base import BODY_LIMIT
from runs.engines.obelisk.backtraces import source_text
from runs.engines.obelisk.history import log_row
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import as_bytes, whole
from runs.engines.obelisk.steps import child_of
from runs.errors import PayloadNotFound
from runs.records import Body, Payload
from runs.sources.base import Params, Value

_NAME = re.compile(
    r"run\.(?P<run>input|output|error)|step\.(?P<ordinal>\d{1,18})\.(?P<slot>input|output|error)"
    r"|event\.(?P<event>\d{1,18})\.data|source\.(?P<version>\d{1,18})\.(?P<file>[A-Za-z0-9_~-]+)"
)

# A character is at least a byte: no less than the limit is read.
_PART = "SELECT substr($body, 1, :limit), octet_length($body) FROM {schema}t_execution_log l WHERE l.execution_id = :id"
_CREATED = "$part AND l.variant = 'created' ORDER BY l.version LIMIT 1"
_FINISHED = "$part AND l.variant = 'finished' ORDER BY l.version DESC LIMIT 1"
_RECORDED = "$part AND l.variant = 'history_event' AND l.version = :version"
_WHOLE = """SELECT substr(l.json_value, 1, :limit), octet_length(l.json_value) FROM {schema}t_execution_log l
WHERE l.execution_id = :id AND l.version = :version"""


def body(snapshot: Snapshot, run_id: str, name: str) -> Body:
    """The payload of that name, at most BODY_LIMIT bytes of it. Raises PayloadNotFound."""
    match = _NAME.fullmatch(name)
    found = None
    if match and match["run"]:
        found = _of_run(snapshot, run_id, match["run"])
    elif match and match["ordinal"]:
        found = _of_step(snapshot, run_id, int(match["ordinal"]), match["slot"])
    elif match and match["event"]:
        found = _read(snapshot, _WHOLE, "json", {"id": run_id, "version": int(match["event"])})
    elif match and match["file"]:
        found = _source(snapshot, run_id, int(match["version"]), match["file"])
    if found is None:
        raise PayloadNotFound(f"{name!r} is not one of its payloads.")
    encoding, data, size = found
    return Body(Payload(run_id, name, encoding, size), data[:BODY_LIMIT], truncated=size > BODY_LIMIT)


_Found = tuple[str, bytes, int]  # encoding, bytes, size as stored


def _of_run(snapshot: Snapshot, run_id: str, slot: str) -> _Found | None:
    if slot == "input":
        return _read(snapshot, _CREATED, "json", {"id": run_id})
    found = _read(snapshot, _FINISHED, "wit", {"id": run_id})
    succeeded = found is not None and found[1][:16].lower().startswith(b'{"ok"')
    return found if succeeded == (slot == "output") else None


def _of_step(snapshot: Snapshot, run_id: str, ordinal: int, slot: str) -> _Found | None:
    """A child's parameters are in its parent's request, its return value among the child's own rows."""
    row = log_row(snapshot, run_id, ordinal)
    if row is None or row.variant != "history_event":
        return None
    kind, child = row.kind, child_of(row)
    own = (kind, slot) in (("join_set_request", "input"), ("persist", "output"))
    if own:
        return _read(snapshot, _RECORDED, "json", {"id": run_id, "version": ordinal})
    if kind == "schedule":
        return _of_run(snapshot, child, slot) if child and slot == "input" else None
    return _of_run(snapshot, child, slot) if child and slot != "input" else None


def _source(snapshot: Snapshot, run_id: str, version: int, file: str) -> _Found | None:
    try:
        found = source_text(snapshot, run_id, version, decode(file), BODY_LIMIT)
    except ValueError:
        return None
    return ("text", *found) if found else None


def _read(snapshot: Snapshot, sql: str, encoding: str, params: Params) -> _Found | None:
    values: dict[str, Value] = {**params, "limit": BODY_LIMIT}
    rows = snapshot.rows(sql, values, part=_PART)
    if not rows or (size := whole(rows[0][1])) is None:
        return None
    return encoding, as_bytes(rows[0][0]), size
