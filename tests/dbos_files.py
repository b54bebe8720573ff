"""Reading a DBOS file through the engine, and asking the same file with plain SQL."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from runs.clock import from_epoch_ms
from runs.engines.dbos import Dbos
from runs.filters import Filter
from runs.records import Run
from runs.sources.sqlite import SqliteSource
from tests.conftest import DBOS

T = TypeVar("T")
Unpacked = Callable[[str], Path]

OURS = {
    "SUCCESS": "succeeded",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
    "PENDING": "running",
    "ENQUEUED": "queued",
    "DELAYED": "scheduled",
}
MINIS = tuple(name for name in DBOS if name.startswith("mini-"))
GO = tuple(name for name in DBOS if name.startswith("go-"))
ZOO = "zoo-3.4.0"
EVERYTHING = Filter()


def read(path: Path, work: Callable[[Dbos], T]) -> T:
    return SqliteSource(path, path.stem).read(lambda reader: work(Dbos(reader)))


def sql(path: Path, statement: str, *params: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, params).fetchall()


def column(path: Path, statement: str, *params: object) -> list[Any]:
    return [row[0] for row in sql(path, statement, *params)]


def all_runs(engine: Dbos, where: Filter = EVERYTHING) -> tuple[Run, ...]:
    page = engine.runs(where, None, 1000)
    assert page.next is None
    return page.rows


def ids(engine: Dbos, where: Filter) -> set[str]:
    return {run.id for run in all_runs(engine, where)}


def at(milliseconds: int) -> datetime:
    instant = from_epoch_ms(milliseconds)
    assert instant is not None
    return instant
