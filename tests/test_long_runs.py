"""The steps of long runs are read once for a state of their file, and what is settled of them once for all."""

import os
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import pytest

from runs import long_runs
from runs.catalogue import Database
from runs.engines.base import Settled
from runs.engines.obelisk import Obelisk, history
from runs.engines.obelisk import steps as obelisk_steps
from runs.engines.obelisk.schema import Snapshot
from runs.records import Step
from runs.sources.sqlite import SqliteSource

Unpacked = Callable[[str], Path]
RUN = "E_01M81XSTVFAJGFPPEZT10SXXSV"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose steps were read, one after the other; any run with steps is long."""
    asked: list[str] = []
    steps = Obelisk.steps

    def noted(self: Obelisk, run_id: str, settled: Settled | None = None) -> tuple[Step, ...]:
        asked.append(run_id)
        return steps(self, run_id, settled)

    monkeypatch.setattr(Obelisk, "steps", noted)
    monkeypatch.setattr(long_runs, "LONG", 1)
    monkeypatch.setattr(long_runs, "_kept", {})
    return asked


@pytest.fixture
def path(unpacked: Unpacked, tmp_path: Path) -> Path:
    """A file of our own, last written long ago."""
    copied = Path(shutil.copyfile(unpacked("shop-fork"), tmp_path / "shop.sqlite"))
    os.utime(copied, (1_600_000_000, 1_600_000_000))
    return copied


def found(path: Path, run_id: str = RUN) -> tuple[Step, ...]:
    database = Database(SqliteSource(path, "shop")).seen()
    return database.read(lambda engine: long_runs.steps(database, engine, engine.run(run_id)))


def test_they_are_read_again_only_when_the_file_has_changed(path: Path, read: list[str]) -> None:
    first = found(path)
    assert first
    assert found(path) == first
    assert read == [RUN]
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert found(path) == first
    assert read == [RUN, RUN]


def test_of_a_run_that_goes_on_they_are_read_again_when_what_it_waits_for_may_be_due(
    path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = "E_01M81XSVJRZ49SP0SGFKZY40HN"
    for now, times in (("15:30:00", 1), ("15:30:01", 1), ("16:30:00", 2)):
        monkeypatch.setenv("DURASCOPE_NOW", f"2026-11-22T{now}Z")
        found(path, waiting)
        assert read == [waiting] * times


def test_of_a_finished_run_they_say_when_one_that_it_scheduled_is_due(
    path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduling = "E_01M81XSSTKQT5APF7H8VJ3NW6D"
    for now, word in (("2026-11-22T15:30:00Z", "scheduled"), ("2030-01-01T00:00:00Z", "queued")):
        monkeypatch.setenv("DURASCOPE_NOW", now)
        assert f"not awaited; {word}" in [step.detail for step in found(path, scheduling)]


def test_what_was_seen_before_a_change_is_not_taken_for_what_is_there_now(path: Path, read: list[str]) -> None:
    found(path)
    database = Database(SqliteSource(path, "shop")).seen()
    os.utime(path, (1_700_000_000, 1_700_000_000))
    database.read(lambda engine: long_runs.steps(database, engine, engine.run(RUN)))
    assert read == [RUN, RUN]


def test_only_so_many_are_kept(path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_runs, "MOST", len(found(path)) - 1)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    found(path)
    assert not long_runs._kept


def test_none_with_very_long_names_are_kept(path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_runs, "LONGEST", 1)
    found(path)
    assert not long_runs._kept


@pytest.fixture
def lived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The children whose logs were read, one after the other."""
    asked: list[str] = []

    def noted(
        snapshot: Snapshot, run_ids: Iterable[str], without: str | None = None
    ) -> dict[str, list[history.LogRow]]:
        wanted = list(run_ids)
        asked.extend(wanted)
        return history.lives(snapshot, wanted, without)

    monkeypatch.setattr(obelisk_steps, "lives", noted)
    return asked


def test_the_log_of_a_child_that_has_finished_is_read_once(path: Path, read: list[str], lived: list[str]) -> None:
    first = found(path)
    children = [step.child for step in first if step.child]
    assert len(children) > 1
    assert sorted(lived) == sorted(children)
    lived.clear()
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert found(path) == first
    assert not lived


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t_state SET pending_expires_finished = '2026-11-22 15:25:59.000000001+00:00' WHERE execution_id = :child",
        "UPDATE t_state SET state = 'pending_at', result_kind = NULL WHERE execution_id = :child",
        "DELETE FROM t_state WHERE execution_id = :child",
        """UPDATE t_execution_log SET json_value = replace(json_value, '.reserve-stock', '.another')
            WHERE execution_id = :run AND json_value LIKE '%"' || :child || '"%'""",
        """UPDATE t_execution_log SET created_at = '2026-11-22 15:25:00.000000+00:00'
            WHERE execution_id = :run AND json_value LIKE '%"' || :child || '"%'""",
    ],
    ids=[
        "ended at another time",
        "has not finished",
        "is gone",
        "was asked for another function",
        "was asked for at another time",
    ],
)
def test_a_child_is_read_again_that_is_not_what_it_was(
    path: Path, read: list[str], lived: list[str], change: str
) -> None:
    first = found(path)
    changed = next(step for step in first if step.child and step.name.endswith(".reserve-stock"))
    lived.clear()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(change, {"child": changed.child, "run": RUN})
    again = found(path)
    assert set(lived) <= {changed.child}
    assert again == SqliteSource(path, "shop").read(lambda reader: Obelisk(reader).steps(RUN))
    assert [step for step in again if step not in first] == [step for step in again if step.ordinal == changed.ordinal]


def test_what_is_settled_is_what_is_read_anew_in_files_that_went_on_differently(unpacked: Unpacked) -> None:
    """Each of these went on from the first, in its own way: as if one were put in place of the other."""
    settled: dict[str, Settled] = defaultdict(dict)
    used = 0
    for name in ("shop-early", "shop-fork", "shop", "shop-live", "shop-early"):
        used += SqliteSource(unpacked(name), "shop").read(lambda reader: taken_over(Obelisk(reader), settled))
    assert used > 1_000


def taken_over(engine: Obelisk, settled: dict[str, Settled]) -> int:
    """How many steps of its workflows were taken from what is settled, all of them being as they are."""
    used = 0
    for (value,) in engine.reader.rows("SELECT s.execution_id FROM t_state s WHERE s.component_type = 'workflow'"):
        run_id = str(value)
        before = {ordinal: step for ordinal, (_, step) in settled[run_id].items()}
        steps = engine.steps(run_id, settled[run_id])
        assert steps == engine.steps(run_id), run_id
        used += sum(before.get(step.ordinal) is step for step in steps)
    return used


def test_what_follows_from_their_steps_is_made_once_and_anew_for_others(path: Path, read: list[str]) -> None:
    made: list[int] = []

    def count(steps: tuple[Step, ...]) -> int:
        made.append(len(steps))
        return len(steps)

    first, again = found(path), found(path)
    for steps in (first, again):
        for what in ("a", "b", "a"):
            assert long_runs.derived(steps, what, lambda steps=steps: count(steps)) == len(steps)  # type: ignore[misc]
    assert len(made) == 2
    for number in range(2 * long_runs.DERIVED):
        long_runs.derived(first, number, lambda: count(first))
    assert len(long_runs._kept[str(path), RUN].derived) == long_runs.DERIVED
    os.utime(path, (1_700_000_000, 1_700_000_000))
    made.clear()
    long_runs.derived(found(path), "a", lambda: count(first))
    copy = (*first,)
    assert [long_runs.derived(copy, "a", lambda: count(copy)) for _ in range(2)] == [len(copy)] * 2
    assert len(made) == 3, "what is not kept is made each time"
