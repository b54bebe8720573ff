"""Two databases read at once, each by a process of its own, are what each of them is when it is read alone."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from comparisons import database, quietly, rows

from runs.catalogue import Database
from runs.compare import reading
from runs.compare.reading import Reading
from runs.digests import Mark
from runs.engines import digesting
from runs.engines.base import Engine
from runs.engines.dbos import recorded
from runs.engines.dbos import snapshot as dbos_snapshot
from runs.engines.obelisk import history as obelisk_history
from runs.errors import QueryTooSlow, Unreadable
from tests.conftest import DBOS, OBELISK

Unpacked = Callable[[str], Path]

FIRST = "(SELECT min(rowid) FROM operation_outputs WHERE output IS NOT NULL)"
PAIRS = (
    *(("shop-early", "shop"), ("shop", "shop-fork"), ("shop", "shop-staging"), ("shop", "zoo-3.4.0")),
    *(("mini-2.0.0", "mini-3.4.0"), ("mini-3.4.0", "zoo-3.4.0")),
)
CHANGES = {
    "none": "SELECT 1",
    "a byte of a payload": f"UPDATE operation_outputs SET output = output || 'x' WHERE rowid = {FIRST}",
    "a large payload": f"UPDATE operation_outputs SET output = output || hex(zeroblob(20000)) WHERE rowid = {FIRST}",
    "no UTF-8": f"UPDATE operation_outputs SET output = CAST(x'61ff62' AS TEXT) WHERE rowid = {FIRST}",
    "a name that is no UTF-8": "UPDATE operation_outputs SET function_name = CAST(x'61ff62' AS TEXT) WHERE rowid = 1",
    "a number as text": "UPDATE operation_outputs SET started_at_epoch_ms = 'soon' WHERE rowid = 2",
    "progress alone": "UPDATE workflow_status SET priority = 7, executor_id = 'other', updated_at = updated_at + 1",
    "another status": "UPDATE workflow_status SET status = 'PENDING' WHERE rowid = 1",
    "a run less": "DELETE FROM workflow_status WHERE rowid = 3",
    "no runs": "DELETE FROM workflow_status",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept"


def alone(found: Database) -> Reading:
    return reading.read(found, quietly)


def check(a: Database, b: Database, folder: Path) -> None:
    one, two = reading.read_both(a, b, folder, quietly)
    for found, expected in ((one, alone(a)), (two, alone(b))):
        assert replace(found, began_at=0, steps={}) == replace(expected, began_at=0, steps={})
        assert list(found.runs) == list(expected.runs)
        assert {name: replace(each, durations=list(each.durations)) for name, each in found.steps.items()} == {
            name: replace(each, durations=list(each.durations)) for name, each in expected.steps.items()
        }
    # Two copies of one database take the memory of one.
    assert all(one.runs[run_id] is run for run_id, run in two.runs.items() if one.runs.get(run_id) == run)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_are_what_each_is_alone(unpacked: Unpacked, folder: Path, one: str, other: str) -> None:
    check(database(unpacked(one)), database(unpacked(other)), folder)


@pytest.mark.parametrize("change", CHANGES)
def test_both_are_what_each_is_alone_whatever_differs(
    unpacked: Unpacked, fresh: Unpacked, folder: Path, change: str
) -> None:
    path = fresh("zoo-3.4.0")
    rows(path, CHANGES[change])
    check(database(unpacked("zoo-3.4.0")), database(path), folder)


def test_one_file_is_read_once_and_what_was_read_is_not_read_again(
    unpacked: Unpacked, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = database(unpacked("zoo-3.4.0")), database(unpacked("mini-3.4.0"))
    one, same = reading.read_both(a, a, folder, quietly)
    assert one is same
    assert len(list(folder.iterdir())) == 1
    reading.read_both(a, b, folder, quietly)
    monkeypatch.setattr(reading, "COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    again, _ = reading.read_both(a, b, folder, quietly)
    assert again == one
    with pytest.raises(Unreadable, match="ended early"):
        reading.read_both(a, database(unpacked("shop")), folder, quietly)


@pytest.fixture(params=[(2, 3), (6000, 400)], ids=["in pieces", "whole"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Rows in one statement, and ids in one."""
    rows_, ids = request.param
    for module in (digesting, recorded):
        monkeypatch.setattr(module, "SLICE", rows_)
    monkeypatch.setattr(recorded, "CHUNK", ids)
    monkeypatch.setattr(dbos_snapshot, "CHUNK", ids)
    monkeypatch.setattr(obelisk_history, "CHUNK", ids)
    return iter((None,))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("name", [*DBOS, *OBELISK])
def test_events_of_many_runs_are_those_of_each(unpacked: Unpacked, name: str) -> None:
    found = database(unpacked(name))
    ids = list(alone(found).runs)[:60]

    def each(engine: Engine) -> dict[str, tuple[Mark, ...]]:
        return {run_id: engine.marks([run_id])[run_id] for run_id in ids}

    assert reading.marks(found, [*ids, "no such run"]) == found.read(each)


def test_events_that_take_too_long_at_once_are_read_in_halves(unpacked: Unpacked) -> None:
    found = database(unpacked("mini-3.4.0"))
    ids = list(alone(found).runs)
    asked: list[int] = []

    class Slow(Database):
        def read(self, work):  # type: ignore[no-untyped-def]
            def limited(engine: Engine) -> object:
                class Counted:
                    def marks(self, run_ids: list[str]) -> object:
                        asked.append(len(run_ids))
                        if len(run_ids) > 1:
                            raise QueryTooSlow("It took too long.")
                        return engine.marks(run_ids)

                return work(Counted())

            return super().read(limited)

    assert reading.marks(Slow(found.source), ids) == reading.marks(found, ids)
    assert max(asked) == len(ids)
    assert asked.count(1) == len(ids)
