"""400 damaged databases of both engines: each is read as far as it goes or refused in words, in no time, and left as it was."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import damage_file
from traces import trace
from walking import addresses, client, through

from runs.catalogue import Database, served
from runs.engines.base import Engine
from runs.errors import DurascopeError
from runs.filters import Filter
from runs.sources.sqlite import SqliteSource

# By turns: small files, where most pages matter, with and without a WAL; and those with whatever an engine can record.
ORIGINALS = (
    "mini-3.4.0", "shop-early", "mini-2.5.0", "shop-live", "go-gob-1.8.0", "old-0.38.3", "mini-1.13.0", "zoo-3.4.0",
)  # fmt: skip
ALL = 400
QUICK = 60
PAGED = 8  # of those, how many are looked at as pages too, which takes longer
SECONDS = 5.0  # of this thread's own time; a query's is DURASCOPE_QUERY_SECONDS


def check(seed: int, unpacked: Callable[[str], Path], folder: Path, *, pages: bool) -> bool:
    """Damages a file, reads all of it, and looks whether anything was left. Whether anything could be read."""
    # Eight kinds of damage, eight files: the next file every eighth time.
    name = ORIGINALS[(seed + seed // len(ORIGINALS)) % len(ORIGINALS)]
    original = unpacked(name)
    place = folder / str(seed)
    shutil.copytree(original.parent, place)
    path = place / original.name
    wal = Path(f"{path}-wal")
    damage_file(wal if wal.exists() and seed % 3 == 0 else path, seed)
    before = trace(place)
    began = time.thread_time()
    read = _paged(path) if pages else _asked(SqliteSource(path, "broken"), seed)
    assert time.thread_time() - began < SECONDS, (seed, name)
    assert trace(place) == before, (seed, name)
    shutil.rmtree(place)
    return read


def _asked(source: SqliteSource, seed: int) -> bool:
    try:
        return Database(source).read(lambda engine: through(engine, random.Random(seed))) > 0
    except DurascopeError:
        return False


def _paged(path: Path) -> bool:
    """Every page and the JSON of the file, served as the only one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DURASCOPE_PATHS", f"broken={path}")
        served.cache_clear()
        asking = client()
        found = [asking.get(address) for address in addresses("broken", *_known(path))]
    served.cache_clear()
    for answer in found:
        assert answer.status_code < 500 or answer.status_code == 503, (answer.request["PATH_INFO"], answer.content)
        assert b"Traceback" not in answer.content
    return any(answer.status_code == 200 for answer in found[2:])


def _known(path: Path) -> tuple[list[str], Callable[[str], list[str]]]:
    """Some runs that can still be listed, and the names of their payloads."""

    def listed(engine: Engine) -> list[str]:
        return [run.id for run in engine.runs(Filter(), None, 2).rows]

    database = Database(SqliteSource(path, "broken"))
    try:
        return database.read(listed), lambda _: ["run.input", "run.output", "step.1.output"]
    except DurascopeError:
        return ["wf-ok"], lambda _: ["run.input"]


@pytest.fixture(autouse=True)
def _as_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURASCOPE_QUERY_SECONDS", "5")


@pytest.mark.no_cover  # the same lines again and again
def test_damaged_files_are_read_or_refused_and_left_as_they_were(
    unpacked: Callable[[str], Path], tmp_path: Path
) -> None:
    read = [check(seed, unpacked, tmp_path, pages=seed < PAGED) for seed in range(QUICK)]
    assert 10 < sum(read) < QUICK - 5, "the damage is too great, or too small, to show anything"


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, ALL, 50))
def test_all_damaged_files_are_read_or_refused_and_left_as_they_were(
    first: int, unpacked: Callable[[str], Path], tmp_path: Path
) -> None:
    read = [
        check(seed, unpacked, tmp_path, pages=pages) for seed in range(first, first + 50) for pages in (True, False)
    ]
    assert any(read)
    assert not all(read)
