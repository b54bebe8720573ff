"""Runs of a real DBOS application to compare with one another, and long ones made of its rows by plain SQL."""

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from tests.dbos_files import sql

APPLICATION = Path(__file__).parent / "live" / "dbos" / "pairs.py"


def make(path: Path) -> Path:
    """A closed database with the runs of tests/live/dbos/pairs.py: of version v1, then of v2."""
    for version in ("v1", "v2"):
        subprocess.run(
            [sys.executable, "-W", "ignore", str(APPLICATION), str(path), version],
            cwd=path.parent,
            check=True,
            capture_output=True,
            timeout=120,
        )
    for name in ("tea", "cups"):
        add_long(path, f"long-{name}", [f"step_{number % 7}" for number in range(1500)])
    add_long(path, "long-changed", [f"step_{number % 7}" for number in range(1500) if number not in (700, 900)])
    add_long(path, "long-unrelated", [f"other_{number}" for number in range(1500)])
    return path


def add_long(path: Path, run: str, names: Sequence[str]) -> None:
    """A run like ``plain`` with steps of these names, each of one millisecond."""
    columns = [row[1] for row in sql(path, "PRAGMA table_info(workflow_status)") if row[1] != "workflow_uuid"]
    named = ", ".join(columns)
    sql(
        path,
        f"INSERT INTO workflow_status (workflow_uuid, {named}) SELECT ?, {named} FROM workflow_status"
        " WHERE workflow_uuid = 'plain'",
        run,
    )
    for table in ("workflow_input", "workflow_output"):
        if not sql(path, "SELECT 1 FROM sqlite_schema WHERE name = ?", table):
            continue
        kept = ", ".join(row[1] for row in sql(path, f"PRAGMA table_info({table})") if row[1] != "workflow_uuid")
        sql(
            path,
            f"INSERT INTO {table} (workflow_uuid, {kept}) SELECT ?, {kept} FROM {table} WHERE workflow_uuid = 'plain'",
            run,
        )
    ((output, serialization, at),) = sql(
        path,
        "SELECT output, serialization, started_at_epoch_ms FROM operation_outputs"
        " WHERE workflow_uuid = 'plain' AND function_id = 1",
    )
    rows = (
        "workflow_uuid, function_id, function_name, output, serialization, started_at_epoch_ms, completed_at_epoch_ms"
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            f"INSERT INTO operation_outputs ({rows}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (run, number, name, output, serialization, at + number, at + number + 1)
                for number, name in enumerate(names, 1)
            ],
        )
