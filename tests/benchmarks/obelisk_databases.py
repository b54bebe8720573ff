"""Large Obelisk databases for benchmarks: the executions of a real file, multiplied; and one run of very many steps."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.benchmarks.databases import filling

SPACING_S = 120  # between two copies of the file, whose runs began within 85 seconds
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# A ULID has 26 characters, ten of them a time: of those of a copy, the three after the time are its number.
_ID = "replace({name}, substr({of}, 3, 26), substr({of}, 3, 10) || :number || substr({of}, 16, 13))"
_TABLES = {
    "t_execution_log": "execution_id",
    "t_state": "execution_id",
    "t_join_set_response": "execution_id",
    "t_delay": "execution_id",
    "t_execution_backtrace": "execution_id",
    "t_log": "execution_id",
}
_IDS = ("execution_id", "child_execution_id", "delay_id", "json_value")
_INSTANTS = ("created_at", "updated_at", "first_scheduled_at", "pending_expires_finished", "expires_at")
_OWN_KEYS = {"t_join_set_response": "id", "t_log": "id"}

MODEL = "shop:warehouse/workflow.restock"  # a workflow whose children are all like one another
CHILD = "n:restock_1"


def multiply(real: Path, target: Path, copies: int) -> Path:
    """A real file, and ``copies`` more of everything that happened in it, each two minutes before the one after it."""
    shutil.copyfile(real, target)
    with _filling(target) as connection:
        for table in _TABLES:
            connection.execute(f"CREATE TEMP TABLE model_{table} AS SELECT * FROM {table}")
        for number in range(1, copies + 1):
            values = {"number": _number(number), "seconds": f"-{SPACING_S * number} seconds"}
            for table, of in _TABLES.items():
                _copy(connection, table, of, values)
    return target


def long_run(real: Path, target: Path, children: int) -> tuple[Path, str]:
    """A copy of a real file in which a run of MODEL has started and awaited that many children more; and the run's id.

    A child is a request, an answer and a step; its own log is a copy of that of the run's first child.
    """
    shutil.copyfile(real, target)
    with _filling(target) as connection:
        run, end = connection.execute(
            "SELECT s.execution_id, s.corresponding_version FROM t_state s WHERE s.ffqn = ? AND s.state = 'finished'"
            " ORDER BY s.corresponding_version DESC LIMIT 1",
            (MODEL,),
        ).fetchone()
        already = connection.execute(
            "SELECT count(*) FROM t_state s WHERE s.execution_id LIKE ? || '.n:restock%'", (run,)
        ).fetchone()[0]
        connection.execute(
            "CREATE TEMP TABLE numbers AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"
            " SELECT n FROM c",
            (children,),
        )
        values = {"run": run, "child": f"{run}.{CHILD}", "end": end, "already": already, "children": children}
        # Its end makes room for what comes before it.
        connection.execute(
            "UPDATE t_execution_log SET version = version + 2 * :children WHERE execution_id = :run AND version = :end",
            values,
        )
        connection.execute(
            "UPDATE t_state SET corresponding_version = corresponding_version + 2 * :children WHERE execution_id = :run",
            values,
        )
        for sql in _LONG_RUN:
            connection.execute(sql, {name: value for name, value in values.items() if f":{name}" in sql})
    return target, run


_NEW_CHILD = "replace({name}, '.n:restock_1', '.n:restock_' || (:already + n))"
_LONG_RUN = (
    # The requests, then what takes the answers, in the order of the numbers.
    f"""INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant, join_set_id)
    SELECT m.execution_id, m.created_at, {_NEW_CHILD.format(name="m.json_value")}, :end - 1 + n, m.variant, m.join_set_id
    FROM t_execution_log m, numbers WHERE m.execution_id = :run AND m.version = (SELECT l.version FROM t_execution_log l
      WHERE l.execution_id = :run AND l.history_event_type = 'join_set_request' AND l.json_value LIKE '%.n:restock_1"%')""",
    """INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant, join_set_id)
    SELECT m.execution_id, m.created_at, m.json_value, :end - 1 + :children + n, m.variant, m.join_set_id
    FROM t_execution_log m, numbers WHERE m.execution_id = :run AND m.version = (SELECT min(l.version) FROM t_execution_log l
      WHERE l.execution_id = :run AND l.history_event_type = 'join_next' AND l.join_set_id = 'n:restock')""",
    f"""INSERT INTO t_join_set_response (created_at, execution_id, join_set_id, child_execution_id, finished_version, seq)
    SELECT m.created_at, m.execution_id, m.join_set_id, {_NEW_CHILD.format(name="m.child_execution_id")}, m.finished_version,
      (SELECT max(x.seq) FROM t_join_set_response x WHERE x.execution_id = :run) + n
    FROM t_join_set_response m, numbers WHERE m.execution_id = :run AND m.child_execution_id = :child""",
    f"""INSERT INTO t_execution_log (execution_id, created_at, json_value, version, variant, join_set_id)
    SELECT {_NEW_CHILD.format(name="m.execution_id")}, m.created_at, m.json_value, m.version, m.variant, m.join_set_id
    FROM t_execution_log m, numbers WHERE m.execution_id = :child""",
    f"""INSERT INTO t_state (execution_id, is_top_level, corresponding_version, ffqn, created_at, component_id_input_digest,
      component_type, first_scheduled_at, deployment_id, pending_expires_finished, state, updated_at, intermittent_event_count,
      result_kind, lifecycle)
    SELECT {_NEW_CHILD.format(name="m.execution_id")}, m.is_top_level, m.corresponding_version, m.ffqn, m.created_at,
      m.component_id_input_digest, m.component_type, m.first_scheduled_at, m.deployment_id, m.pending_expires_finished, m.state,
      m.updated_at, m.intermittent_event_count, m.result_kind, m.lifecycle
    FROM t_state m, numbers WHERE m.execution_id = :child""",
)


def _copy(connection: sqlite3.Connection, table: str, of: str, values: dict[str, str]) -> None:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != _OWN_KEYS.get(table)]
    own = {name: _ID.format(name=f"m.{name}", of=f"m.{of}") for name in _IDS}
    own |= {
        name: f"CASE WHEN m.{name} IS NOT NULL THEN strftime('%Y-%m-%d %H:%M:%S', substr(m.{name}, 1, 19), :seconds)"
        f" || substr(m.{name}, 20) END"
        for name in _INSTANTS
    }
    selected = ", ".join(own.get(name, f"m.{name}") for name in columns)
    used = {name: value for name, value in values.items() if f":{name}" in selected}
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) SELECT {selected} FROM model_{table} AS m", used)


def _number(number: int) -> str:
    """Three of the 32 characters that a ULID is written with, the first one that no ULID of the file has there."""
    return "Z" + "".join(_DIGITS[number >> place & 31] for place in (5, 0))


@contextmanager
def _filling(target: Path) -> Iterator[sqlite3.Connection]:
    """What the real rows passed is not checked again; the file is left in WAL mode, as the engine leaves it."""
    with filling(target) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        for _, sql in triggers:
            connection.execute(sql)
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
