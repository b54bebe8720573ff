"""Which Obelisk wrote this file, told by its columns, and what that means for our SQL. It must not read runs.

Statements in this package hold ``$name`` where schemas differ; ``Snapshot.rows`` puts the words of the layout found.
There are two families: schema V1 to V17 of release 0.38 and later (table refinery_schema_history), and ``t_metadata``
of 0.37 and earlier, whose JSON has other keys and whose columns partly lack: that one is read as well as it can be.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template

from runs.records import Revision
from runs.sources.base import Columns, Params, Reader, Value

NEWEST = 17
LAYOUTS_KEPT = 64
STATEMENTS_KEPT = 2000  # of one layout; a list of ids makes one for each of its lengths
SMALL = 16 * 1024  # bytes of a row's JSON that are read whole, and shown with its event
LARGEST = 1024 * 1024  # bytes of a row's JSON, its payloads left out, that are read at most

_STATE = {"execution_id", "ffqn", "state", "pending_expires_finished", "result_kind", "join_set_id", "run_id"}
_LOG = {"execution_id", "created_at", "json_value", "version", "variant"}

_RELEASES = (
    (2, "0.38.0 to 0.38.2"),
    (3, "0.38.3"),
    (10, "0.39.3"),
    (11, "0.39.4"),
    (13, "0.39.5 to 0.41.0"),
    (17, "0.41.1 to 0.41.4"),
)
_METADATA_RELEASES = {
    1: "0.25",
    2: "0.26 to 0.29",
    3: "0.30",
    4: "0.31",
    5: "0.32 to 0.34",
    6: "0.35",
    7: "0.36 or 0.37",
}

# What a run is doing, in our words. `s` is t_state, `:now` the present in the columns' format. In LIKE an underscore
# stands for any character: here for braces, which are a source's marks.
_STATUS = """CASE
    WHEN $state = 'finished' THEN CASE
        WHEN $result_kind = '"ok"' OR $result_kind LIKE '_"ok":null_' THEN 'succeeded'
        WHEN $result_kind LIKE '_"err":_"execution_%":"cancelled"__' THEN 'cancelled'
        WHEN $result_kind LIKE '_"err":%' THEN 'failed'
        ELSE 'unknown' END
    WHEN $lifecycle = 'paused' THEN 'paused'
    WHEN $state = 'locked' THEN 'running'
    WHEN $state = 'blocked_by_join_set' THEN 'waiting'
    WHEN $state = 'pending_at' THEN CASE
        WHEN $component_type = 'activity_stub' THEN 'waiting'
        WHEN (SELECT l.variant FROM {schema}t_execution_log l
              WHERE l.execution_id = s.execution_id
                AND l.variant NOT IN ('paused', 'unpaused', 'cancellation_requested')
              ORDER BY l.version DESC LIMIT 1) IN ($temporary) THEN 'retrying'
        WHEN s.pending_expires_finished > :now THEN 'scheduled'
        ELSE 'queued' END
    ELSE 'unknown' END"""

# A row's payload as stored: the params of `created` and of a child request, a persisted value, the return value of
# `finished`.
_BODY = """CASE WHEN $valid(l.json_value) THEN CASE l.variant
        WHEN 'created' THEN $created->'params'
        WHEN 'finished' THEN $retval
        WHEN 'history_event' THEN COALESCE($asked, $event->'value') END END"""

# The run in whose place one began: a retry of ours notes it in the metadata.
_RETRY_OF = "CASE WHEN $valid(l.json_value) THEN $created->'metadata'->>'retry-of' END"

# A row's JSON with null for the payloads that make it large, in both families; a path that isn't there does no harm.
_SLIM = """CASE WHEN octet_length(l.json_value) <= $small THEN l.json_value
    WHEN $valid(l.json_value) THEN json_replace(l.json_value, $large) END"""
_LARGE = (
    "created.params",
    "finished.retval.ok",
    "finished.retval.err",
    "finished.retval.execution_failure.detail",
    "finished.result.ok",
    "finished.result.err",
    "temporarily_failed.detail",
    "history_event.event.request.params",
    "history_event.event.value",
    "Created.params",
    "Finished.result.Ok",
    "Finished.result.Err",
    "HistoryEvent.event.request.params",
    "HistoryEvent.event.value",
)

_DELAY_DUE = """(SELECT min(d.expires_at) FROM {schema}t_delay d
    WHERE d.execution_id = s.execution_id AND d.join_set_id = s.join_set_id AND NOT $delay_paused)"""

_FIRST_ROW = """(SELECT f.created_at FROM {schema}t_execution_log f
    WHERE f.execution_id = s.execution_id AND f.version = 0)"""

_PAUSED = "CASE WHEN s.is_paused THEN 'paused' ELSE 'active' END"

# Words of 0.37 and earlier: JSON keys in either spelling, states in capitals until 0.30.
_OLD = {
    "temporary": "'temporarily_failed', 'temporarily_timed_out', 'intermittently_failed', 'intermittently_timed_out'",
    "state": """CASE s.state WHEN 'PendingAt' THEN 'pending_at' WHEN 'BlockedByJoinSet' THEN 'blocked_by_join_set'
        WHEN 'Locked' THEN 'locked' WHEN 'Finished' THEN 'finished' ELSE s.state END""",
    "created": "COALESCE(l.json_value->'created', l.json_value->'Created')",
    "retval": """COALESCE(l.json_value->'finished'->'retval', l.json_value->'finished'->'result',
        l.json_value->'Finished'->'retval', l.json_value->'Finished'->'result')""",
    "event": "COALESCE(l.json_value->'history_event'->'event', l.json_value->'HistoryEvent'->'event')",
    "succeeded": "FALSE",  # not known without reading it
    "asked": """COALESCE(l.json_value->'$.history_event.event.request.params',
        l.json_value->'$.HistoryEvent.event.request.params')""",
    "lease": "COALESCE(l.json_value->>'$.locked.run_id', l.json_value->>'$.Locked.run_id')",
    "executor": "COALESCE(l.json_value->>'$.locked.executor_id', l.json_value->>'$.Locked.executor_id')",
    "held_until": "COALESCE(l.json_value->>'$.locked.lock_expires_at', l.json_value->>'$.Locked.lock_expires_at')",
    "failed": "COALESCE(l.json_value->'temporarily_failed', l.json_value->'TemporarilyFailed')",
    "event_type": """CASE COALESCE($event->>'type', '') WHEN 'JoinSetRequest' THEN 'join_set_request'
        WHEN 'Persist' THEN 'persist' WHEN 'Schedule' THEN 'schedule' WHEN 'Stub' THEN 'stub'
        ELSE $event->>'type' END""",
}

_MIGRATED = "SELECT max(h.version) FROM {schema}refinery_schema_history h"

_METADATA = "SELECT max(m.schema_version) FROM {schema}t_metadata m"


@dataclass(frozen=True, slots=True)
class Layout:
    """The words that a schema's differences put into our statements."""

    words: Mapping[str, str]
    _made: dict[tuple[str, ...], str] = field(default_factory=dict, compare=False, repr=False)

    def sql(self, text: str, **parts: str) -> str:
        """The statement with every ``$name`` replaced; ``parts`` are for this call and may hold names before them."""
        key = (text, *parts, *parts.values())
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= STATEMENTS_KEPT:
                self._made.clear()
            made = self._made[key] = self._sql(text, parts)
        return made

    def _sql(self, text: str, parts: Mapping[str, str]) -> str:
        known = dict(self.words)
        for name, part in parts.items():
            known[name] = Template(part).substitute(known)
        return Template(text).substitute(known)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A reader and the layout of what it reads: what every function of this package takes."""

    reader: Reader
    layout: Layout

    @property
    def tables(self) -> Mapping[str, Columns]:
        return self.reader.tables

    def rows(self, sql: str, params: Params | None = None, **parts: str) -> list[tuple[Value, ...]]:
        """All rows of a statement with ``$names``; ``parts`` as in Layout.sql. Raises Unreadable and its children."""
        return self.reader.rows(self.layout.sql(sql, **parts), params)


_layouts: dict[int, tuple[Mapping[str, Columns], Layout]] = {}


def recognises(tables: Mapping[str, Columns]) -> bool:
    """Whether an Obelisk server made these tables, of whatever release."""
    return tables.get("t_state", {}).keys() >= _STATE and tables.get("t_execution_log", {}).keys() >= _LOG


def layout(tables: Mapping[str, Columns]) -> Layout:
    """The words for the columns that are there. A reader gives the same tables for the same schema; while they are kept
    here, nothing else has their identity."""
    known = _layouts.get(id(tables))
    if known is None or known[0] is not tables:
        if len(_layouts) >= LAYOUTS_KEPT:
            _layouts.clear()
        known = _layouts[id(tables)] = tables, _layout(tables)
    return known[1]


def _layout(tables: Mapping[str, Columns]) -> Layout:
    state, log = tables["t_state"], tables["t_execution_log"]
    responses, delays = tables.get("t_join_set_response", {}), tables.get("t_delay", {})

    def column(name: str, otherwise: str) -> str:
        return f"s.{name}" if name in state else otherwise

    words = {
        "small": str(SMALL),
        "largest": str(LARGEST),
        "valid": "json_valid",
        "large": ", ".join(f"'$.{path}', NULL" for path in _LARGE),
        "temporary": "'temporarily_failed', 'temporarily_timed_out'",
        "result_kind": "replace(CAST(s.result_kind AS TEXT), ' ', '')",
        "component_type": column("component_type", "''"),
        "digest": column("component_id_input_digest", "NULL"),
        "deployment": column("deployment_id", "NULL"),
        "incompatible": column("incompatible_digest", "NULL"),
        "updated_at": column("updated_at", "NULL"),
        "top": column("is_top_level", "(s.execution_id NOT LIKE '%.%')"),
        "created_at": column("created_at", _FIRST_ROW),
        "lifecycle": column("lifecycle", _PAUSED if "is_paused" in state else "'active'"),
        "closing": column("join_set_closing", "NULL"),
        "sequence": "r.seq" if "seq" in responses else "r.id",
        "delay_success": "r.delay_success" if "delay_success" in responses else "NULL",
        "delay_paused": "d.is_paused" if "is_paused" in delays else "FALSE",
        "delay_due": _DELAY_DUE if delays else "NULL",
        "state": "s.state",
        # One path each: SQLite then reads a row's JSON once, and writes none of it anew for the next arrow.
        "created": "(l.json_value->'$.created')",
        "retval": "(l.json_value->'$.finished.retval')",
        "succeeded": "(l.json_value->'$.finished.retval.ok' IS NOT NULL)",
        "traced": "(l.json_value->>'$.finished.http_client_traces' IS NOT NULL)",
        "event": "(l.json_value->'$.history_event.event')",
        "asked": "(l.json_value->'$.history_event.event.request.params')",
        "lease": "(l.json_value->>'$.locked.run_id')",
        "executor": "(l.json_value->>'$.locked.executor_id')",
        "held_until": "(l.json_value->>'$.locked.lock_expires_at')",
        "failed": "(l.json_value->'$.temporarily_failed')",
        "event_type": "l.history_event_type" if "history_event_type" in log else "NULL",
    }
    if is_old(tables):
        words |= _OLD
    for name, text in ("event_type", words["event_type"]), ("delay_due", words["delay_due"]):
        words[name] = Template(text).substitute(words)
    for name, text in ("status", _STATUS), ("body", _BODY), ("slim", _SLIM), ("retry_of", _RETRY_OF):
        words[name] = Template(text).substitute(words)
    return Layout(words)


def is_old(tables: Mapping[str, Columns]) -> bool:
    """Whether release 0.37 or an earlier one wrote the file. One that a later release opened again has both tables."""
    return "refinery_schema_history" not in tables


def revision(snapshot: Snapshot) -> Revision:
    """``V17`` with the releases that write it, or ``metadata 7`` with what is not understood of it."""
    tables = snapshot.tables
    if "version" in tables.get("refinery_schema_history", {}):
        return _migrated(snapshot.rows(_MIGRATED)[0][0])
    number = snapshot.rows(_METADATA)[0][0] if "schema_version" in tables.get("t_metadata", {}) else None
    release = _METADATA_RELEASES.get(number, "") if isinstance(number, int) else ""
    return Revision(
        text=f"metadata {number}" if isinstance(number, int) else "unknown",
        label=release,
        problem="Written by Obelisk 0.37 or earlier: what is shown is what was understood of it.",
    )


def _migrated(number: Value) -> Revision:
    if not isinstance(number, int) or number < 1:
        return Revision("V?", "schema of no number", "No schema migration is recorded: it is read by its columns.")
    if number > NEWEST:
        problem = f"Schema V{number} is newer than V{NEWEST}, the newest known: it is read by its columns."
        return Revision(f"V{number}", f"V{number}, newer than 0.41.4", problem)
    releases = next(words for highest, words in _RELEASES if number <= highest)
    return Revision(f"V{number}", f"V{number}, {releases}")
