"""Lists of runs: rows of t_state with what a list shows of their logs, newest first."""

import re
from collections.abc import Mapping, Sequence

from runs import clock
from runs.engines.obelisk import recovery
from runs.engines.obelisk.failures import TIMED_OUT, attempt_error, cut, value_words
from runs.engines.obelisk.history import in_chunks
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import text, whole
from runs.engines.obelisk.states import COLUMNS, Row, run_of
from runs.errors import RunNotFound
from runs.filters import Filter
from runs.records import Cursor, ErrorSummary, Page, Run, Status
from runs.sources.base import Params, Value

_DIGEST = re.compile(r"(?:sha256:)?((?:[0-9a-f]{2}){2,32})")

# What the log adds for a list: first taken up, last event, steps, attempts. An activity is tried once for each lease;
# anything else once, and again after each failure for now.
_LOG_COLUMNS = """
    (SELECT min(l.created_at) FROM {schema}t_execution_log l
     WHERE l.execution_id = s.execution_id AND l.variant = 'locked'),
    (SELECT max(l.created_at) FROM {schema}t_execution_log l WHERE l.execution_id = s.execution_id
        AND l.version = (SELECT max(m.version) FROM {schema}t_execution_log m WHERE m.execution_id = s.execution_id)),
    (SELECT count(*) FROM {schema}t_execution_log l
     WHERE l.execution_id = s.execution_id AND l.variant = 'history_event'
        AND $event_type IN ('join_set_request', 'persist', 'schedule', 'stub')),
    CASE $component_type WHEN 'activity_stub' THEN NULL
        WHEN 'activity' THEN (SELECT count(DISTINCT CASE WHEN $valid(l.json_value) THEN $lease END)
            FROM {schema}t_execution_log l WHERE l.execution_id = s.execution_id AND l.variant = 'locked')
        ELSE (SELECT count(*) FROM {schema}t_execution_log l
              WHERE l.execution_id = s.execution_id AND l.variant IN ($temporary))
            + COALESCE((SELECT CASE l.variant WHEN 'locked' THEN 1 ELSE 0 END FROM {schema}t_execution_log l
              WHERE l.execution_id = s.execution_id AND l.variant IN ('locked', $temporary)
              ORDER BY l.version DESC LIMIT 1), 0) END"""

_LIST = """SELECT $columns, $log_columns
FROM {schema}t_state s WHERE $where ORDER BY $created_at DESC, s.execution_id DESC LIMIT :limit"""

_SOME = "SELECT $columns, $log_columns FROM {schema}t_state s WHERE s.execution_id IN ($ids)"

_COUNTS = "SELECT $status, count(*) FROM {schema}t_state s WHERE $where GROUP BY 1"

_EXISTS = "SELECT s.execution_id FROM {schema}t_state s WHERE s.execution_id = :id"

_LONG = "SELECT s.execution_id FROM {schema}t_state s WHERE octet_length(s.execution_id) > :longer_than"

# The parts of an error, cut: of a return value its `err` or its failure's reason, of a failed attempt both its texts.
_ERROR_PARTS = """CASE WHEN $valid(l.json_value) THEN $retval->'execution_failure'->>'kind' END,
    CASE WHEN $valid(l.json_value) THEN substr(COALESCE($retval->'execution_failure'->>'reason',
        $retval->'execution_failure'->>'detail', $failed->>'reason'), 1, 600) END,
    CASE WHEN $valid(l.json_value) THEN substr(COALESCE($retval->'err'->>'value',
        $failed->>'detail'), 1, 600) END"""

_ERRORS = """SELECT l.execution_id, l.variant, $parts
FROM {schema}t_execution_log l
WHERE l.execution_id IN ($ids) AND l.variant IN ('finished', $temporary) ORDER BY l.execution_id, l.version"""

_HAS_ERROR = """EXISTS (SELECT 1 FROM {schema}t_execution_log l
    WHERE l.execution_id = s.execution_id AND l.variant IN ('finished', $temporary)
    AND l.version = (SELECT max(m.version) FROM {schema}t_execution_log m
        WHERE m.execution_id = s.execution_id AND m.variant IN ('finished', $temporary))
    AND CASE WHEN $valid(l.json_value) THEN lower(COALESCE($retval->'err'->>'value', '') || ' '
        || COALESCE($retval->'execution_failure'->>'kind', '') || ' '
        || COALESCE($retval->'execution_failure'->>'reason', '') || ' '
        || COALESCE($retval->'execution_failure'->>'detail', '') || ' '
        || COALESCE($failed->>'reason', '') || ' '
        || COALESCE($failed->>'detail', '')) ELSE '' END LIKE lower(:text) ESCAPE '\\')"""

_HAS_PREFIX = "(s.execution_id >= :prefix AND s.execution_id < :prefix_end)"
_MAY_HAVE_ERROR = "$status IN ('failed', 'cancelled', 'retrying')"

_BEGUN = """($component_type = 'activity_stub' OR EXISTS (SELECT 1 FROM {schema}t_execution_log l
    WHERE l.execution_id = s.execution_id AND l.variant = 'locked' AND l.created_at <= :active_at))"""


def page(snapshot: Snapshot, where: Filter, after: Cursor | None, limit: int) -> Page[Run]:
    """One page of the list. Obelisk has no queues: a filter by queue finds nothing."""
    if where.queue:
        return Page()
    condition, params = conditions(snapshot, where, statuses=True)
    if after is not None:
        condition += " AND ($created_at, s.execution_id) < (:cursor_at, :cursor_id)"
        params |= {"cursor_at": after.at, "cursor_id": after.id}
    rows = _rows(snapshot, _LIST, params | {"limit": limit + 1}, where=condition)
    shown = rows[:limit]
    last = Cursor(at=text(shown[-1].created_at), id=shown[-1].id) if len(rows) > limit and shown else None
    return Page(rows=tuple(with_errors(snapshot, shown)), next=last)


def counts(snapshot: Snapshot, where: Filter) -> Mapping[Status, int]:
    """Runs by status, the filter's own statuses aside."""
    if where.queue:
        return {}
    condition, params = conditions(snapshot, where, statuses=False)
    return {Status(text(word)): whole(number) or 0 for word, number in snapshot.rows(_COUNTS, params, where=condition)}


def some(snapshot: Snapshot, run_ids: Sequence[str]) -> list[Run]:
    """The runs of these ids that there are, oldest first."""
    rows: list[Row] = []
    for names, params in in_chunks(run_ids):
        rows += _rows(snapshot, _SOME, params | present(snapshot), ids=names)
    rows.sort(key=lambda row: (text(row.created_at), row.id))
    return with_errors(snapshot, rows)


def one(snapshot: Snapshot, run_id: str) -> tuple[Run, Row]:
    """A run as lists show it, and its row. Raises RunNotFound."""
    rows = _rows(snapshot, _SOME, {"id": run_id} | present(snapshot), ids=":id")
    if not rows:
        raise RunNotFound(f"{run_id!r} is not in it.")
    return with_errors(snapshot, rows)[0], rows[0]


def demand(snapshot: Snapshot, run_id: str) -> None:
    """Raises RunNotFound unless there is such a run."""
    if not snapshot.rows(_EXISTS, {"id": run_id}):
        raise RunNotFound(f"{run_id!r} is not in it.")


def long_ids(snapshot: Snapshot, longer_than: int) -> list[str]:
    """The ids with more UTF-8 bytes than that."""
    return [text(run_id) for (run_id,) in snapshot.rows(_LONG, {"longer_than": longer_than})]


def _rows(snapshot: Snapshot, sql: str, params: Params, **parts: str) -> list[Row]:
    found = snapshot.rows(sql, params, columns=COLUMNS, log_columns=_LOG_COLUMNS, **parts)
    return [Row(*values) for values in found]


def present(snapshot: Snapshot) -> dict[str, Value]:
    """The present instant as the parameter that ``$status`` compares with."""
    return {"now": snapshot.reader.instant(clock.now())}


def conditions(snapshot: Snapshot, where: Filter, *, statuses: bool) -> tuple[str, dict[str, Value]]:
    """The filter as a condition on ``s`` and its parameters, ``:now`` among them."""
    parts = ["s.execution_id IS NOT NULL"]
    params = present(snapshot)
    if statuses and where.statuses:
        params |= {f"status{number}": status.value for number, status in enumerate(sorted(where.statuses))}
        parts.append(f"$status IN ({', '.join(f':status{number}' for number in range(len(where.statuses)))})")
    if where.workflow:
        parts.append("s.ffqn = :workflow")
        params["workflow"] = where.workflow
    if where.root is not None:
        parts.append("$top" if where.root else "NOT ($top)")
    for name, sign, moment in (("since", ">=", where.since), ("until", "<", where.until)):
        if moment is not None:
            parts.append(f"$created_at {sign} :{name}")
            params[name] = snapshot.reader.instant(moment)
    if where.active_at is not None:
        parts += [
            "$created_at <= :active_at",
            "($state <> 'finished' OR s.pending_expires_finished > :active_at)",
            _BEGUN,
        ]
        params["active_at"] = snapshot.reader.instant(where.active_at)
    if where.recovered is not None:
        term, more = recovery.condition(snapshot, recovered=where.recovered)
        parts.append(term)
        params |= more
    if where.version:
        _add_version(where.version, parts, params)
    if where.q:
        parts.append(f"({_HAS_PREFIX} OR ({_MAY_HAVE_ERROR} AND {_HAS_ERROR}))")
        params |= {"prefix": where.q, "prefix_end": where.q + "\U0010ffff", "text": f"%{escaped(where.q)}%"}
    return " AND ".join(parts), params


def _add_version(version: str, parts: list[str], params: dict[str, Value]) -> None:
    """A version is the beginning of a component's digest, or a whole deployment id."""
    if match := _DIGEST.fullmatch(version):
        prefix = bytes.fromhex(match[1])
        parts.append("($digest >= :digest_from AND $digest <= :digest_to)")
        params |= {"digest_from": prefix.ljust(32, b"\0"), "digest_to": prefix.ljust(32, b"\xff")}
    else:
        parts.append("$deployment = :deployment_id")
        params["deployment_id"] = version


def escaped(words: str) -> str:
    """The words for LIKE with ESCAPE '\\'."""
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def with_errors(snapshot: Snapshot, rows: Sequence[Row]) -> list[Run]:
    """Records of rows of COLUMNS and the log's columns; errors come with one statement more for all that have one."""
    wanted = [row.id for row in rows if row.our_status in (Status.FAILED, Status.CANCELLED, Status.RETRYING)]
    errors: dict[str, ErrorSummary | None] = {}
    for names, params in in_chunks(wanted):
        for run_id, variant, kind, reason, words in snapshot.rows(_ERRORS, params, ids=names, parts=_ERROR_PARTS):
            errors[text(run_id)] = _error(variant == "finished", text(kind), text(reason), words)
    again = recovery.retries_of(snapshot, rows, snapshot.reader.instant(clock.now()))
    return [run_of(row, errors.get(row.id), again.get(row.id, ())) for row in rows]


def _error(finished: bool, kind: str, reason: str, words: Value) -> ErrorSummary | None:
    if not finished:
        return attempt_error({"reason": reason, "detail": words}) if reason else TIMED_OUT  # fmt: skip
    if kind == "cancelled" and not reason:
        return None
    if kind:
        return ErrorSummary("execution failure", cut(f"{kind}: {reason}" if reason else kind))
    return ErrorSummary("error", value_words(words))
