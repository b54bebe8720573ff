"""Large DBOS databases for benchmarks: the rows of a run of a real file, multiplied.

python databases.py REAL TARGET RUNS
"""

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

STEPS = 6  # of each run
_STEPS = "operation_outputs"
_OF_RUN = ("workflow_status", "workflow_input", "workflow_output")
_NUMBERS = """
CREATE TEMP TABLE n AS WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < :runs) SELECT n FROM c
"""
_IDS = """
CREATE TEMP TABLE ids AS SELECT n, lower(hex(randomblob(4))) || printf('-0000-4000-8000-%012d', n) AS id FROM n
"""
_INSTANTS = ("created_at", "updated_at", "completed_at")
_FIRST = f" AND function_id = (SELECT min(function_id) FROM {_STEPS} WHERE workflow_uuid = :model)"


def multiply(real: Path, target: Path, runs: int, model: str = "ok") -> Path:
    """A copy of a real file with only ``runs`` runs in it, each like ``model`` with six steps like its first. Every run has an id,
    an input and instants of its own, a second apart."""
    shutil.copyfile(real, target)
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.executescript("PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF")
        connection.execute(_NUMBERS, {"runs": runs})
        connection.execute(_IDS)
        for table in _OF_RUN:
            _copies(connection, table, model, "SELECT n, id, 0 AS step FROM ids ORDER BY id")
        steps = f"SELECT ids.n, id, s.n AS step FROM ids JOIN n AS s ON s.n <= {STEPS} ORDER BY id, s.n"
        _copies(connection, _STEPS, model, steps, _FIRST)
        for table in (*_OF_RUN, _STEPS):
            connection.execute(f"DELETE FROM {table} WHERE workflow_uuid NOT IN (SELECT id FROM ids)")
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("VACUUM")
    return target


def go_on(database: Path, share: float) -> int:
    """Lets a share of the runs record one step more, as if they had gone on; how many."""
    own = {
        "function_id": str(STEPS + 1),
        "started_at_epoch_ms": "completed_at_epoch_ms + 5",
        "completed_at_epoch_ms": "completed_at_epoch_ms + 9",
    }
    with closing(sqlite3.connect(database)) as connection, connection:
        columns = _columns(connection, _STEPS)
        found = connection.execute(
            f"INSERT INTO {_STEPS} ({', '.join(columns)}) SELECT {', '.join(own.get(name, name) for name in columns)}"
            f" FROM {_STEPS} WHERE function_id = {STEPS} AND CAST(substr(workflow_uuid, -12) AS INTEGER) % :every = 0",
            {"every": round(1 / share)},
        )
        return found.rowcount


def _copies(connection: sqlite3.Connection, table: str, model: str, numbers: str, more: str = "") -> None:
    """One row for each of the numbers, like that of the model."""
    columns = _columns(connection, table)
    own = {
        "workflow_uuid": "k.id",
        "function_id": "k.step",
        "child_workflow_id": "NULL",
        "inputs": "m.inputs || k.n",
        **{
            name: f"m.{name} + 1000 * k.n + 10 * k.step"
            for name in columns
            if name.endswith("epoch_ms") or name in _INSTANTS
        },
    }
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(own.get(name, f'm.{name}') for name in columns)}"
        f" FROM ({numbers}) AS k, {table} AS m WHERE m.workflow_uuid = :model{more}",
        {"model": model},
    )


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


if __name__ == "__main__":
    multiply(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
