"""The steps of long runs are read once for a state of their file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runs import long_runs
from runs.catalogue import Database
from runs.engines.obelisk import Obelisk
from runs.records import Step
from runs.sources.sqlite import SqliteSource

Unpacked = Callable[[str], Path]
RUN = "E_01M81XSTVFAJGFPPEZT10SXXSV"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose steps were read, one after the other; any run with steps is long."""
    asked: list[str] = []
    steps = Obelisk.steps

    def noted(self: Obelisk, run_id: str) -> tuple[Step, ...]:
        asked.append(run_id)
        return steps(self, run_id)

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
