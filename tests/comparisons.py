"""Pairs of databases to compare: readings made by hand, files of the real engines, and what plain SQL says of them."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

from runs.catalogue import Database
from runs.compare.reading import Reading
from runs.digests import RunDigest
from runs.records import Status
from runs.sources.sqlite import SqliteSource

APPLICATION = Path(__file__).parent / "live" / "dbos" / "compared.py"


def database(path: Path, slug: str = "") -> Database:
    return Database(SqliteSource(path, slug or path.stem))


def execute(path: Path, first: int, count: int, prefix: str = "order", version: str = "v1") -> None:
    """Runs some orders by the real engine, in a process that ends."""
    words = [sys.executable, "-W", "ignore", str(APPLICATION), str(path), version, str(first), str(count), prefix]
    subprocess.run(words, check=True, cwd=path.parent, timeout=120, capture_output=True)


def rows(path: Path, statement: str, *params: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, params).fetchall()


def run(name: str, at: int = 0, **facts: Any) -> RunDigest:
    """A finished run; ``history`` and ``content`` follow its name where they are not given."""
    plain: dict[str, Any] = {
        "id": name,
        "workflow": "order",
        "status": Status.SUCCEEDED,
        "created_at": at,
        "finished_at": at + 5,
        "duration": 5,
        "events": 2,
        "last_at": at + 5,
        "history": digest(name),
        "content": digest("content"),
        "input": digest("input"),
    }
    return RunDigest(**{**plain, **facts})


def reading(*runs: RunDigest) -> Reading:
    return Reading("", 10**18, False, {each.id: each for each in runs}, {})


def digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16).digest()


def quietly(_stage: str, _done: int, _total: int) -> None:
    """Nobody looks."""
