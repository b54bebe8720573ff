"""The rows that a retry appends, column by column. ``history_event_type`` is generated: it is never named."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile

from runs.engines.obelisk.consumed import Response
from runs.engines.obelisk.deployed import Deployment, Export
from runs.engines.obelisk.executions import Execution
from runs.engines.obelisk.shapes import Unparsed, compact, mapping, parse, text
from runs.retry import Cell, Change, Clock, Copies, Copy, Insert, Now, Update
from runs.sources.base import Reader, Value

LOG, STATE, RESPONSE, DELAY = "t_execution_log", "t_state", "t_join_set_response", "t_delay"

LOG_COLUMNS = ("execution_id", "created_at", "json_value", "version", "variant", "join_set_id")
STATE_COLUMNS = (
    "execution_id",
    "is_top_level",
    "corresponding_version",
    "ffqn",
    "created_at",
    "component_id_input_digest",
    "component_type",
    "first_scheduled_at",
    "deployment_id",
    "pending_expires_finished",
    "state",
    "updated_at",
    "intermittent_event_count",
    "max_retries",
    "retry_exp_backoff_millis",
    "last_lock_version",
    "executor_id",
    "run_id",
    "join_set_id",
    "join_set_closing",
    "result_kind",
    "incompatible_digest",
    "lifecycle",
)
RESPONSE_COLUMNS = (
    "created_at",
    "execution_id",
    "join_set_id",
    "delay_id",
    "delay_success",
    "child_execution_id",
    "finished_version",
    "seq",
)
DELAY_COLUMNS = ("execution_id", "join_set_id", "delay_id", "expires_at", "is_paused")

# As of V13 to V17: a table with other columns is one that we don't know how to write.
COLUMNS: Mapping[str, frozenset[str]] = {
    LOG: frozenset((*LOG_COLUMNS, "history_event_type")),
    STATE: frozenset(STATE_COLUMNS),
    RESPONSE: frozenset(("id", *RESPONSE_COLUMNS)),
    DELAY: frozenset(DELAY_COLUMNS),
}

# Where an execution's id, or one derived from it, lies.
WITHIN_LOG = ("execution_id", "json_value")
WITHIN_STATE = ("execution_id",)
WITHIN_RESPONSE = ("execution_id", "delay_id", "child_execution_id")

NOW = Now(Clock.COLUMN)
TODAY = Now(Clock.SECONDS)
MARK = "{now}"
_UNMARKED = "\\u007bnow}"  # the same text inside JSON, which no instant takes the place of

TOOL = {"retry-tool": "durascope"}

_METADATA = """SELECT l.json_value->'$.created.metadata' FROM {schema}t_execution_log l
WHERE l.execution_id = :id AND l.version = 0 AND l.variant = 'created'"""

# Everything but what is set stays as it was written, parameters to the byte.
_FROM_ROW = " FROM {schema}t_execution_log l WHERE l.execution_id = :id AND l.version = 0 AND l.variant = 'created'"
_TOP = (
    """SELECT json_set(replace(l.json_value, :mark, :unmarked), '$.created.parent', NULL,
    '$.created.scheduled_at', :mark, '$.created.component_id', json(:component), '$.created.deployment_id', :deployment,
    '$.created.metadata', json(:metadata), '$.created.scheduled_by', NULL)"""
    + _FROM_ROW
)
_FRESH = (
    """SELECT json_set(replace(replace(l.json_value, :mark, :unmarked), :old, :new), '$.created.scheduled_at', :mark,
    '$.created.component_id', json(:component), '$.created.deployment_id', :deployment,
    '$.created.metadata', json(:metadata))"""
    + _FROM_ROW
)
_CONTINUED = "SELECT json_set(replace(l.json_value, :old, :new), '$.created.metadata', json(:metadata))" + _FROM_ROW


def log_row(run_id: str, version: int, variant: str, content: Cell) -> Insert:
    """A row of the log that is written now, and belongs to no join set."""
    return Insert(LOG, {
        "execution_id": run_id,
        "created_at": NOW,
        "json_value": content,
        "version": version,
        "variant": variant,
        "join_set_id": None,
    })  # fmt: skip


def next_row(run: Execution, variant: str, content: Cell, **values: Cell) -> tuple[Insert, Update]:
    """The next row of an execution's log, and its t_state row brought there from exactly where the plan found it."""
    where: dict[str, Value] = {
        "execution_id": run.id,
        "corresponding_version": run.version,
        "state": run.state,
        "lifecycle": run.lifecycle,
    }
    changed: dict[str, Cell] = {"corresponding_version": run.version + 1, "updated_at": TODAY}
    return (
        log_row(run.id, run.version + 1, variant, content),
        Update(STATE, where | {"pending_expires_finished": run.due}, changed | values),
    )


def top_level(reader: Reader, source: Execution, run_id: str, export: Export, deployment: Deployment) -> list[Insert]:
    """A new top-level execution with the source's parameters, due now."""
    params = _params(reader, source, export, deployment)
    content = text(reader.rows(_TOP, params)[0][0])
    return [
        log_row(run_id, 0, "created", Now(Clock.TEXT, content)),
        _state(run_id, source, export, deployment, top=True),
    ]


def fresh_child(
    reader: Reader, source: Execution, ulids: tuple[str, str], export: Export, deployment: Deployment
) -> list[Insert]:
    """The source's place below the new run, to be executed from its beginning."""
    run_id = source.id.replace(*ulids)
    params = _params(reader, source, export, deployment) | {"old": ulids[0], "new": ulids[1]}
    content = text(reader.rows(_FRESH, params)[0][0])
    created = log_row(run_id, 0, "created", Now(Clock.TEXT, content))
    # Of a derived execution this column names the join set of its parent.
    join_set = run_id.rpartition(".")[2].rpartition("_")[0]
    return [
        Insert(LOG, dict(created.values) | {"join_set_id": join_set}),
        _state(run_id, source, export, deployment, top=False),
    ]


def continued(reader: Reader, source: Execution, ulids: tuple[str, str], cut: int) -> Copy:
    """The first row of an execution whose history goes on in the new run, marked as a retry."""
    metadata = merged_metadata(reader, source.id, {"retry-of": source.id, "retry-cut": str(cut)})
    params = {"id": source.id, "old": ulids[0], "new": ulids[1], "metadata": metadata}
    content = text(reader.rows(_CONTINUED, params)[0][0])
    return copied_log_row(source.id, 0, ulids, {"json_value": content}, ("execution_id",))


def copied_log_row(
    run_id: str,
    version: int,
    ulids: tuple[str, str],
    changed: Mapping[str, Cell] | None = None,
    within: tuple[str, ...] = WITHIN_LOG,
) -> Copy:
    """One row of the log, the new run's ULID in the place of the old one's."""
    return Copy(LOG, {"execution_id": run_id, "version": version}, LOG_COLUMNS, changed or {}, within, ulids)


def copied_log(run_id: str, last: int, ulids: tuple[str, str]) -> Copies:
    """The rows of the log after the first one, up to and with ``last``."""
    each = tuple((version,) for version in range(1, last + 1))
    key = {"execution_id": run_id}
    return Copies(LOG, key, ("version",), each, LOG_COLUMNS, {}, ("version", 1, last), WITHIN_LOG, ulids)


def held_back(run_id: str, version: int) -> Insert:
    """The row after which nobody takes the execution up, until it is unpaused."""
    return log_row(run_id, version, "paused", '"paused"')


def paused(made: list[Insert]) -> list[Insert]:
    """A created execution, held back from its beginning."""
    created, state = made
    changed: dict[str, Cell] = {"corresponding_version": 1, "lifecycle": "paused"}
    return [created, held_back(str(state.values["execution_id"]), 1), Insert(STATE, dict(state.values) | changed)]


def copied_state(run_id: str, ulids: tuple[str, str], changed: Mapping[str, Cell] | None = None) -> Copy:
    """A row of t_state."""
    return Copy(STATE, {"execution_id": run_id}, STATE_COLUMNS, changed or {}, WITHIN_STATE, ulids)


def copied_response(key: int, ulids: tuple[str, str], number: int) -> Copy:
    """A response with its number among its execution's; its own key is a new one."""
    return Copy(RESPONSE, {"id": key}, RESPONSE_COLUMNS, {"seq": number}, WITHIN_RESPONSE, ulids)


def copied_responses(run_id: str, found: Sequence[Response], ulids: tuple[str, str]) -> Iterator[Change]:
    """Some of an execution's responses, numbered anew in their order. Those at the beginning keep their numbers: they are one
    statement."""
    first = [each.key for _, each in takewhile(lambda one: one[1].number == one[0], enumerate(found, 1))]
    if first:
        ids, key = tuple((key,) for key in first), {"execution_id": run_id}
        between = "seq", 1, len(first)
        yield Copies(RESPONSE, key, ("id",), ids, RESPONSE_COLUMNS, {}, between, WITHIN_RESPONSE, ulids)
    for number, each in enumerate(found[len(first) :], len(first) + 1):
        yield copied_response(each.key, ulids, number)


def merged_metadata(reader: Reader, run_id: str, added: Mapping[str, str]) -> str:
    """The execution's metadata as JSON with ours added. Only texts: any other value would stop its executor."""
    rows = reader.rows(_METADATA, {"id": run_id})
    try:
        found = mapping(parse(rows[0][0])) if rows and rows[0][0] is not None else {}
    except Unparsed:
        found = {}
    return compact({key: value for key, value in found.items() if isinstance(value, str)} | TOOL | dict(added))


def _params(reader: Reader, source: Execution, export: Export, deployment: Deployment) -> dict[str, str]:
    metadata = merged_metadata(reader, source.id, {"retry-of": source.id})
    return {
        "id": source.id,
        "mark": MARK,
        "unmarked": _UNMARKED,
        "component": export.component_id,
        "deployment": deployment.id,
        "metadata": metadata.replace(MARK, _UNMARKED),
    }


def _state(run_id: str, source: Execution, export: Export, deployment: Deployment, *, top: bool) -> Insert:
    return Insert(STATE, {
        "execution_id": run_id,
        "is_top_level": int(top),
        "corresponding_version": 0,
        "ffqn": source.ffqn,
        "created_at": NOW,
        "component_id_input_digest": export.digest,
        "component_type": export.component_type,
        "first_scheduled_at": NOW,
        "deployment_id": deployment.id,
        "pending_expires_finished": NOW,
        "state": "pending_at",
        "updated_at": TODAY,
        "intermittent_event_count": 0,
        "lifecycle": "active",
    })  # fmt: skip
