"""Large databases for benchmarks: the rows of real files, multiplied, each copy with ids and instants of its own.

python databases.py REAL TARGET RUNS        DBOS, runs like one of a real file
"""

import shutil
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

STEPS = 6  # of each run
SPACING_MS = 13_000  # between two runs: 200,000 are a month
HOUR_MS = 3_600_000
_STATUS = "workflow_status"
_OF_RUN = (_STATUS, "workflow_input", "workflow_output")
_TABLES = (*_OF_RUN, "operation_outputs")

# What happens in a hundred runs, by the names that tests/databases/zoo-3.4.0.sqlite.xz gives them: 5 failures, one
# cancelled, one that waits in a queue, one that goes on, and ten parents, each with the child after it.
_ALONE = (
    *(["wf-happy"] * 5),
    *(["wf-payloads"] * 59),
    *(["wf-q2-0"] * 8),
    *(["wf-declined"] * 3),
    *(["wf-retry-exhausted"] * 2),
    *("wf-cancel", "wf-otherver", "wf-pending"),
)
MIXED = tuple(
    {8: "wf-parent", 9: "wf-parent-1"}.get(n % 10, _ALONE[(n // 10 * 8 + n % 10) * 37 % len(_ALONE)])
    for n in range(100)
)


def multiply(real: Path, target: Path, runs: int, models: Sequence[str] = ("ok",), steps: int = STEPS) -> Path:
    """A copy of a real DBOS file with only ``runs`` runs in it, the last of them as old as its model, the others before it.

    The n-th run is like the n-th of the models, begun again after the last. It has the model's steps, preceded by as many like
    its first as make it ``steps``; none where the model has none. A child's parent is the run before it.
    """
    shutil.copyfile(real, target)
    with filling(target) as connection:
        connection.execute("CREATE TEMP TABLE models (number INTEGER PRIMARY KEY, model TEXT)")
        connection.executemany("INSERT INTO models VALUES (?, ?)", enumerate(models))
        for table in _TABLES:
            connection.execute(
                f"CREATE TEMP TABLE model_{table} AS SELECT * FROM {table} WHERE workflow_uuid IN (SELECT model FROM models)"
            )
            connection.execute(f"DELETE FROM {table}")
        _empty_others(connection)
        connection.execute(
            "CREATE TEMP TABLE ids AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :runs)"
            " SELECT n, lower(hex(randomblob(4))) || printf('-0000-4000-8000-%012d', n) AS id, m.model,"
            " :spacing * (n - :runs) AS shift"
            " FROM c JOIN models m ON m.number = (n - 1) % :models",
            {"runs": runs, "spacing": SPACING_MS, "models": len(models)},
        )
        connection.execute("CREATE UNIQUE INDEX temp.ids_n ON ids (n)")
        for table in _OF_RUN:
            _copies(connection, table, "SELECT n, id, model, shift, 0 AS step FROM ids ORDER BY n")
        connection.execute(
            "CREATE TEMP TABLE kept AS SELECT workflow_uuid AS model, max(function_id) AS last, min(function_id) AS first"
            " FROM model_operation_outputs GROUP BY 1"
        )
        connection.execute(
            "CREATE TEMP TABLE places AS WITH RECURSIVE c(step) AS"
            f" (SELECT 1 UNION ALL SELECT step + 1 FROM c WHERE step < {steps})"
            f" SELECT model, step, max(first, last - ({steps} - step)) AS place FROM kept, c"
        )
        _copies(
            connection,
            "operation_outputs",
            "SELECT n, id, model, shift + 10 * step AS shift, step, place FROM ids JOIN places USING (model) ORDER BY n, step",
            " AND m.function_id = k.place",
        )
    return target


def go_on(database: Path, share: float) -> int:
    """Lets a share of the runs record one step more, as if they had gone on; how many."""
    with closing(sqlite3.connect(database)) as connection, connection:
        every = round(1 / share)
        own = {
            "function_id": str(STEPS + 1),
            "started_at_epoch_ms": "completed_at_epoch_ms + 5",
            "completed_at_epoch_ms": "completed_at_epoch_ms + 9",
        }
        columns = _columns(connection, "operation_outputs")
        found = connection.execute(
            f"INSERT INTO operation_outputs ({', '.join(columns)})"
            f" SELECT {', '.join(own.get(name, name) for name in columns)} FROM operation_outputs"
            f" WHERE function_id = {STEPS} AND CAST(substr(workflow_uuid, -12) AS INTEGER) % {every} = 0"
        )
        return found.rowcount


def _copies(connection: sqlite3.Connection, table: str, numbers: str, more: str = "") -> None:
    """One row for each of the numbers, like that of its model."""
    columns = _columns(connection, table)
    own = {
        "workflow_uuid": "k.id",
        "function_id": "k.step",
        "parent_workflow_id": "CASE WHEN m.parent_workflow_id IS NOT NULL THEN (SELECT id FROM ids i WHERE i.n = k.n - 1) END",
        "child_workflow_id": "CASE WHEN m.child_workflow_id IS NOT NULL THEN (SELECT id FROM ids i WHERE i.n = k.n + 1) END",
    }
    own |= {
        name: f"m.{name} + k.shift"
        for name in columns
        if name.endswith(("epoch_ms", "_at")) or name == "retention_timestamp"
    }
    values = ", ".join(own.get(name, f"m.{name}") for name in columns)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM ({numbers}) AS k"
        f" JOIN model_{table} AS m ON m.workflow_uuid = k.model{more}"
    )


def _empty_others(connection: sqlite3.Connection) -> None:
    """What belongs to runs that are gone, and the room that it took."""
    for table in ("notifications", "workflow_events", "workflow_events_history", "streams"):
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.execute("VACUUM")


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


@contextmanager
def filling(target: Path) -> Iterator[sqlite3.Connection]:
    """A connection for writing much: nothing of it must outlive a loss of power."""
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.executescript(
            "PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF; PRAGMA cache_size=-1000000; PRAGMA temp_store=MEMORY;"
            "PRAGMA foreign_keys=OFF"
        )
        yield connection


if __name__ == "__main__":
    multiply(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
