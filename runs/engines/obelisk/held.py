"""A fork that was appended paused: what the server's replay must follow, what releases it, and what deletes it again.

It is held back for as long as every execution of it that has not ended is paused, by the very row that was appended with it:
whatever the engine, or somebody through its server, does with one of them, adds a row or takes one away.
"""

from runs.engines.obelisk import appended, consumed, deployed, executions, rows
from runs.engines.obelisk.appended_rows import demand
from runs.engines.obelisk.executions import Execution, Ineligible
from runs.engines.obelisk.rows import DELAY, LOG, RESPONSE, STATE
from runs.engines.obelisk.schema import Snapshot
from runs.engines.obelisk.shapes import text, whole
from runs.retry import Change, Clock, Delete, Held, Now, Update
from runs.sources.base import Reader, Value

_WHERE = " WHERE x.execution_id = :id OR (x.execution_id > :id || '.' AND x.execution_id < :id || '/') ORDER BY "

# What answers goes before what it answers for, everything of an execution before its state.
_KEYS: dict[str, tuple[str, ...]] = {
    RESPONSE: ("id",),
    DELAY: ("execution_id", "join_set_id", "delay_id"),
    LOG: ("execution_id", "version"),
    STATE: ("execution_id",),
}

_DELAYS = """SELECT d.join_set_id, d.delay_id, d.expires_at FROM {schema}t_delay d
WHERE d.execution_id = :id AND d.is_paused = 1 ORDER BY d.delay_id"""

_NEWEST = """SELECT l.variant FROM {schema}t_execution_log l
WHERE l.execution_id = :id ORDER BY l.version DESC LIMIT 1"""

_CHANGED = "SELECT total_changes()"


def held(snapshot: Snapshot, new_run: str) -> Held | None:
    """What is held back; None where the run is not there, or any of it is not held back any more."""
    reader = snapshot.reader
    tree = executions.tree(reader, new_run)
    waiting = [each for each in tree.values() if not each.finished]
    if new_run not in tree or tree[new_run].finished or not all(_is_paused(reader, each) for each in waiting):
        return None
    keys = tuple(_keys(reader, new_run))
    return Held(
        rows=keys,
        replays=tuple(each.id for each in waiting if each.component_type == "workflow" and each.version > 1),
        guard=_active(reader),
        release=tuple(_release(reader, waiting)),
        withdrawal=tuple(Delete(table, key) for table, key in keys),
    )


def check_released(reader: Reader, run: str, new_run: str, changed: int) -> None:
    """Raises AppendRefused unless, by that many changed rows and no more, all of it can be taken up now."""
    tree = executions.tree(reader, new_run)
    demand(new_run in tree, f"{new_run} is not there.")
    for each in tree.values():
        demand(each.lifecycle == "active", f"{each.id} would still be {each.lifecycle}.")
    appended.check_tree(reader, run, new_run)
    _demand_changed(reader, changed)


def check_withdrawn(reader: Reader, new_run: str, changed: int) -> None:
    """Raises AppendRefused unless, by that many deleted rows and no more, nothing of it is left."""
    demand(not list(_keys(reader, new_run)), f"Rows of {new_run} are left.")
    _demand_changed(reader, changed)


def _is_paused(reader: Reader, each: Execution) -> bool:
    newest = reader.rows(_NEWEST, {"id": each.id})
    return each.lifecycle == "paused" and each.version == each.newest and bool(newest) and newest[0][0] == "paused"


def _release(reader: Reader, waiting: list[Execution]) -> list[Change]:
    """Children first, the root last: no parent goes on before what it waits for can. Sleeps begin their full length now."""
    changes: list[Change] = []
    for each in sorted(waiting, key=lambda each: (-each.id.count("."), each.id)):
        lengths = {
            request.delay: request.length
            for request in consumed.read(reader, each.id).requests
            if request.delay and not request.paused
        }
        for join_set, delay, expires_at in reader.rows(_DELAYS, {"id": each.id}):
            if text(delay) in lengths:
                where: dict[str, Value] = {"execution_id": each.id, "join_set_id": join_set, "delay_id": delay}
                due = Now(Clock.COLUMN, later=lengths[text(delay)])
                found = where | {"is_paused": 1, "expires_at": expires_at}
                changes.append(Update(DELAY, found, {"is_paused": 0, "expires_at": due}))
        changes += rows.next_row(each, "unpaused", '"unpaused"', lifecycle="active")
    return changes


def _keys(reader: Reader, new_run: str) -> list[tuple[str, dict[str, Value]]]:
    found: list[tuple[str, dict[str, Value]]] = []
    for table, columns in _KEYS.items():
        names = ", ".join(f"x.{name}" for name in columns)
        sql = f"SELECT {names} FROM {{schema}}{table} x" + _WHERE + names  # noqa: S608 - names of our own
        found += [(table, dict(zip(columns, key, strict=True))) for key in reader.rows(sql, {"id": new_run})]
    return found


def _active(reader: Reader) -> str:
    """The active deployment, whose code the server's replay runs; empty where there is none."""
    try:
        return deployed.active(reader).id
    except Ineligible:
        return ""


def _demand_changed(reader: Reader, changed: int) -> None:
    found = whole(reader.rows(_CHANGED)[0][0])
    demand(found == changed, f"{found} rows were changed where {changed} were to be.")
