"""When the runs of several databases were created, in one window: every run is counted, in its own part."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from runs.catalogue import Database
from runs.filters import Filter
from runs.histogram import histogram
from runs.records import Status
from runs.sources.sqlite import SqliteSource


def test_the_parts_of_many_databases_sum_to_all_their_runs(unpacked: Callable[[str], Path]) -> None:
    names = ("zoo-3.4.0", "shop", "mini-1.13.0")
    databases = [Database(SqliteSource(unpacked(name), name)) for name in names]
    created, _ = histogram(databases, Filter())
    assert sum(every for every, _ in created.parts) == 52 + 962 + 6
    assert len(created.parts) == 48
    failed, _ = histogram(databases, Filter(statuses=frozenset({Status.FAILED})))
    assert sum(failed for _, failed in failed.parts) == sum(every for every, _ in failed.parts)
    assert created.start is not None
    firsts = []
    for name in ("zoo-3.4.0", "mini-1.13.0"):
        with sqlite3.connect(f"file:{unpacked(name)}?mode=ro", uri=True) as connection:
            firsts += connection.execute("SELECT min(created_at) FROM workflow_status").fetchone()
        connection.close()
    assert created.start.timestamp() * 1000 == min(firsts)


def test_a_database_without_runs_or_that_cannot_be_read_adds_nothing(
    unpacked: Callable[[str], Path], tmp_path: Path
) -> None:
    missing = Database(SqliteSource(tmp_path / "gone.sqlite", "gone"))
    zoo = Database(SqliteSource(unpacked("zoo-3.4.0"), "zoo"))
    assert sum(every for every, _ in histogram([missing, zoo], Filter())[0].parts) == 52
    assert histogram([missing], Filter())[0].parts == ()
    assert histogram([zoo], Filter(workflow="nobody"))[0].parts == ()
