"""Retries on a disk that is really full: said so, nothing half is left, and the same retry goes through once there is room."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runs import clock
from runs.appending import Appender
from runs.errors import DiskFull
from runs.retry import Options
from tests import bulk
from tests.dbos_files import ZOO, sql

MEBIBYTE = 1 << 20
PAGE = 4096  # what a tmpfs gives out at a time

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to have a small disk of its own")


class Disk:
    """A small disk in memory, of which all but some pages can be taken away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def leave(self, pages: int) -> None:
        """Fills it up but for so many pages."""
        self._filler.unlink(missing_ok=True)
        free = os.statvfs(self.folder).f_bavail
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free - pages, 1) * PAGE)

    def empty(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={16 * MEBIBYTE}", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("nothing may be mounted here")
    yield Disk(folder)
    subprocess.run(["umount", str(folder)], check=True)


def zoo(fresh: Callable[[str], Path], folder: Path, journal: str) -> tuple[Path, list[str]]:
    """A zoo with many failed runs in that folder, closed; the runs."""
    path = Path(shutil.copy(fresh(ZOO), folder / "zoo.sqlite"))
    sql(path, f"PRAGMA journal_mode={journal}")
    return path, bulk.multiply(path, 40)


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
def test_wherever_the_disk_becomes_full_nothing_half_is_left(
    fresh: Callable[[str], Path], disk: Disk, tmp_path: Path, journal: str
) -> None:
    path, runs = zoo(fresh, disk.folder, journal)
    before = Path(shutil.copy(path, tmp_path / "before.sqlite"))
    full = 0
    with closing(Appender(path)) as appender:
        for run, digest in zip(runs, bulk.digests(path, runs), strict=True):
            disk.leave(full)
            try:
                appender.append(run, Options(), digest, clock.now())
                break
            except DiskFull:
                full += 1
            disk.empty()  # to look into a -wal, SQLite itself needs room
            assert bulk.differences(before, path) == {}
            assert bulk.is_sound(path)
        assert full > 3, "it became full at its first write, and at later ones"
        disk.empty()
        appender.append(runs[-1], Options(), bulk.digests(path, runs[-1:])[0], clock.now())
    assert bulk.retried_once(path, [run, runs[-1]])
    assert bulk.is_sound(path)


def test_a_full_disk_is_answered_with_507_and_with_room_the_same_goes_through(
    fresh: Callable[[str], Path], disk: Disk, tmp_path: Path
) -> None:
    path, (run, *_) = zoo(fresh, disk.folder, "DELETE")
    body = {"digest": bulk.digests(path, [run])[0], "reason": "there is room again"}
    with bulk.server(path, tmp_path / "state") as api:
        disk.leave(0)
        status, said = api(api.plan(run), body)
        assert (status, said["error"]) == (507, "DiskFull")
        assert bulk.retries(path) == []
        disk.empty()
        assert api(api.plan(run), body)[0] == 201
    assert bulk.retried_once(path, [run])


def test_where_it_cannot_be_recorded_it_is_not_appended(
    fresh: Callable[[str], Path], disk: Disk, tmp_path: Path
) -> None:
    path, (run, *_) = zoo(fresh, tmp_path, "DELETE")
    body = {"digest": bulk.digests(path, [run])[0], "reason": "there is room again"}
    with bulk.server(path, disk.folder / "state") as api:
        disk.leave(0)
        status, said = api(api.plan(run), body)
        assert (status, said["error"]) == (507, "DiskFull")
        assert bulk.retries(path) == []
        disk.empty()
        assert api(api.plan(run), body)[0] == 201
    assert bulk.retried_once(path, [run])
