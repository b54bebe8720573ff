"""Planning and appending retries in tests, as the server does it, and the engine's own fork to compare with."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
from dbos import DBOSClient, SetWorkflowID

from runs import appending, clock
from runs.engines import engine_for
from runs.errors import AlreadyRetried
from runs.retry import FollowUp, Options, Retryable, RetryPlan
from runs.sources.base import Opened
from runs.sources.files import look
from runs.sources.sqlite import SqliteReader, SqliteSource
from runs.statements import statement
from tests.dbos_files import sql

CLOCKS = ("created_at", "updated_at", "retention_timestamp")


def plan(path: Path, run_id: str, **options: Any) -> RetryPlan:
    """What a retry would append to the file."""
    return SqliteSource(path, path.stem).read(lambda reader: appending.plan_by(reader, run_id, Options(**options)))


@dataclass(frozen=True, slots=True)
class Done:
    """What was appended, as far as tests look at it."""

    run: str
    new_run: str
    at: datetime  # what its rows carry


def retry(path: Path, run_id: str, **options: Any) -> Done:
    """Plans and appends, in a process of its own."""
    confirmed = appending.confirmation(plan(path, run_id, **options), look(path).identity)
    moment = clock.now()
    done = appending.append(path, run_id, Options(**options), confirmed, moment)
    return Done(done.run, done.new_run, moment)


def retry_here(path: Path, run_id: str, spoil: str = "", **options: Any) -> Done:
    """The same in this process, which is quicker: nothing else has the file. ``spoil`` changes something before the check."""
    found = plan(path, run_id, **options)
    if found.earlier:
        raise AlreadyRetried(found.reason, run=found.earlier)
    assert found.eligible, found.reason
    moment = clock.now()
    with closing(apsw.Connection(str(path))) as connection, connection:
        for change in found.changes:
            made = statement(change, moment, ("rowid",))
            connection.execute(made.sql, dict(made.values)).fetchall()
            assert connection.changes() == made.count
        connection.execute(spoil)
        engine = engine_for(SqliteReader(connection, Opened.CLOSED))
        assert isinstance(engine, Retryable)
        engine.check_appended(found)
        appending.check_count(found, connection.total_changes())
        connection.set_progress_handler(None)
    return Done(run_id, found.new_run, moment)


def follow(path: Path, done: Done) -> FollowUp:
    def ask(reader: Any) -> FollowUp:
        engine = engine_for(reader)
        assert isinstance(engine, Retryable)
        return engine.follow(done.run, done.new_run, done.at)

    return SqliteSource(path, path.stem).read(ask)


def engine_forks(path: Path, run_id: str, start: int, new_id: str, children: dict[str, str] | None = None) -> None:
    """The same by the engine's own client."""
    client = DBOSClient(system_database_url=f"sqlite:///{path}")
    try:
        with SetWorkflowID(new_id):
            client.fork_workflow(run_id, start, replacement_children=children)
    finally:
        client.destroy()


def everything(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, in an order of its own."""
    tables = [name for (name,) in sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for table in tables:
        columns = [row[1] for row in sql(path, f"PRAGMA table_xinfo({table})")]
        rows = [dict(zip(columns, row, strict=True)) for row in sql(path, f"SELECT * FROM {table}")]
        found[table] = sorted(rows, key=repr)
    return found


def same_but_clocks(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every row, without the clocks of the new runs and without the mark that the engine leaves on an original."""
    found = everything(path)
    for table, rows in found.items():
        for row in rows:
            row.pop("was_forked_from", None)
            if ".retry-" in str(row.get("workflow_uuid")):
                for name in CLOCKS:
                    row.pop(name, None)
        found[table] = sorted(rows, key=repr)
    return found


def clean(path: Path) -> bool:
    return sql(path, "PRAGMA integrity_check") == [("ok",)] and sql(path, "PRAGMA foreign_key_check") == []


def forget_forks(path: Path) -> None:
    """Takes the forks out that the file came with, so that none stands in the way."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM workflow_status WHERE workflow_uuid LIKE '%-fork'")
