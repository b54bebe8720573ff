"""Real databases, unpacked afresh: nothing here ever opens the packed originals for writing."""

import hashlib
import io
import json
import lzma
import os
import shutil
import signal
import sqlite3
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asking import Asker
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from runs import appending, engines
from runs.catalogue import served
from runs.jobs import waking
from tests import browsing, pairing, serving

TESTS = Path(__file__).parent
# A test asks in one snapshot what a person asks in hundreds, on a machine that may be busy.
os.environ.setdefault("DURASCOPE_QUERY_SECONDS", "60")
# nohup, and a shell that starts us in the background, ignore these, and whatever we start would too. A handler of ours goes on
# ignoring them here, but is not inherited.
for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda _number, _frame: None)
settings.register_profile("durascope", deadline=None)
settings.load_profile("durascope")
PACKED = (TESTS / "databases", TESTS.parent / "runs" / "demo" / "databases")
DBOS = tuple(sorted(p.name.removesuffix(".sqlite.xz") for folder in PACKED for p in folder.glob("[cgmz]*.sqlite.xz")))
# Coverage doubles the time of what reads whole databases, and these lead through the same lines as the other two.
UNMEASURED = {"shop-early", "shop-fork", "shop-live", "shop-staging"}
# The files that take longest, longest first: they are begun first, so that no core is left with one of them at the end.
LONGEST = (
    "test_retries_in_bulk", "test_running", "test_browser_compare", "test_browser_retry", "test_browser_pages",
    "test_browser_bulk", "test_retry_killed", "test_cli_retry", "test_browser_live", "test_obelisk_retry",
    "test_browser_payload", "test_cli",
    "test_browser_compare_run", "test_views", "test_parsers", "test_comparing", "test_browser_retry_live",
    "test_browser_states", "test_browser", "test_live_dbos_retry", "test_obelisk_release", "test_api", "test_api_retry",
    "test_hostile_values", "test_appending",
)  # fmt: skip
OBELISK = ("old-0.38.3", "shop", "shop-early", "shop-fork", "shop-live", "shop-staging")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-engines", action="store_true", help="also against other releases of the engines")
    parser.addoption("--soak", action="store_true", help="also what kills and counts for many minutes")
    parser.addoption("--pictures", action="store_true", help="pages as a person would see them, in tests/screenshots")


def pytest_configure(config: pytest.Config) -> None:
    browsing.WITH_PICTURES = config.getoption("--pictures")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        name = (
            item.callspec.params.get("name")
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
            else None
        )
        if item.get_closest_marker("browser") or name in UNMEASURED:
            item.add_marker(pytest.mark.no_cover)
        for marker, flag, what in (
            ("engines", "--all-engines", "another release of an engine"),
            ("soak", "--soak", "takes many minutes"),
        ):
            if item.get_closest_marker(marker) and not config.getoption(flag):
                item.add_marker(pytest.mark.skip(reason=f"{what}: tests/run {flag}"))
    places = {f"{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def packed(name: str) -> Path:
    """The xz file of a database, wherever it lies."""
    suffix = ".tar.xz" if name == "shop-live" else ".sqlite.xz"
    return next(path for folder in PACKED if (path := folder / f"{name}{suffix}").exists())


def unpack(name: str, into: Path) -> Path:
    """The database file, with its -wal and -shm for shop-live, in a folder of its own."""
    into.mkdir(parents=True, exist_ok=True)
    data = lzma.decompress(packed(name).read_bytes())
    if name != "shop-live":
        target = into / f"{name}.sqlite"
        target.write_bytes(data)
        return target
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(into, filter="data")
    (main,) = into.rglob("*.sqlite")
    return main


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """``unpacked("shop")``: a path that is shared by the session and may only be read. Checked at the end: no file changed."""
    base = tmp_path_factory.mktemp("databases")
    paths: dict[str, Path] = {}
    before: dict[Path, str] = {}

    def get(name: str) -> Path:
        if name not in paths:
            paths[name] = unpack(name, base / name)
            before.update(_hashes(paths[name].parent))
        return paths[name]

    yield get
    after = {file: digest for path in paths.values() for file, digest in _hashes(path.parent).items()}
    assert after == before, "a test changed a shared database or left a file beside it"


@pytest.fixture
def fresh(unpacked: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """``fresh("shop")``: a copy for this test alone, which may be written."""

    def get(name: str) -> Path:
        original = unpacked(name)
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(original.parent, folder)
        return folder / original.name

    return get


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], Any]:
    """``oracle("shop")``: the Obelisk engine's own answers about that file."""
    read: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in read:
            read[name] = json.loads(lzma.decompress((TESTS / "databases" / f"{name}.oracle.json.xz").read_bytes()))
        return read[name]

    return get


@pytest.fixture
def read(
    unpacked: Callable[[str], Path], oracle: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Callable[[Any], Any]], Any]:
    """``read("shop", work)``: what ``work`` says of that Obelisk file as of the moment when its oracle was asked."""
    from tests.executions import ask

    def get(name: str, work: Callable[[Any], Any]) -> Any:
        monkeypatch.setenv("DURASCOPE_NOW", oracle(name)["read_at"])
        return ask(unpacked(name), work)

    return get


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs to compare with one another, of a real DBOS application. Only to be read."""
    return pairing.make(tmp_path_factory.mktemp("pairs") / "pairs.sqlite")


@pytest.fixture
def shop(
    fresh: Callable[[str], Path], oracle: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    """``shop("shop-live")``: a copy of that file, at the moment when the engine was asked about it."""

    def get(name: str) -> Path:
        monkeypatch.setenv("DURASCOPE_NOW", oracle(name)["read_at"])
        return fresh(name)

    return get


@pytest.fixture
def sql(fresh: Callable[[str], Path]) -> Callable[..., list[Any]]:
    """``sql("shop", "SELECT …", …)``: plain SQL on a copy, by Python's own SQLite."""

    def get(name: str, statement: str, *params: object) -> list[Any]:
        with closing(sqlite3.connect(fresh(name))) as connection:
            return connection.execute(statement, params).fetchall()

    return get


@pytest.fixture(scope="module")  # not longer: its event loop keeps Django from its database
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = browsing.start(playwright)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def site(unpacked: Callable[[str], Path]) -> Iterator[serving.Served]:
    """The real command over five databases, both engines: shared by the session, only to be read."""
    with serving.served(*(f"{slug}={unpacked(name)}" for slug, name in browsing.SITE.items())) as running:
        yield running


def _hashes(folder: Path) -> dict[Path, str]:
    # SQLite may refresh the bytes of an existing -shm, its scratch index; everything else must stay.
    return {
        path: "shm" if path.name.endswith("-shm") else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="session", autouse=True)
def _originals_stay() -> Iterator[None]:
    before = {folder: _hashes(folder) for folder in PACKED}
    yield
    assert {folder: _hashes(folder) for folder in PACKED} == before, "a test changed a packed database"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Iterator[Path]:
    """A state of our own in a folder of this test: retries, the audit, jobs."""
    from django.db import connections

    from runs.state import place

    monkeypatch.setenv("DURASCOPE_STATE", str(tmp_path / "state"))
    with django_db_blocker.unblock():
        yield place.prepare()
        connections.close_all()
        place.connect({})


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """``notes("WAL")``: a closed database of the tiny engine of tests/notes.py, which this process and those that append know."""
    import notes as tiny

    monkeypatch.setattr(engines, "ENGINES", (*engines.ENGINES, tiny.Notes))
    monkeypatch.setattr(appending, "COMMAND", (sys.executable, "-P", str(TESTS / "notes.py")))
    monkeypatch.setattr(waking, "COMMAND", (sys.executable, "-P", str(TESTS / "notes.py"), "jobs"))

    def get(journal: str = "DELETE") -> Path:
        folder = tmp_path / "notes"
        folder.mkdir()
        return tiny.make(folder / "notes.sqlite", journal)

    return get


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Asker]]:
    """``ask(path, "name=path")``: those databases are served in this process, and an Asker for their JSON."""

    def serve(*specs: Path | str) -> Asker:
        monkeypatch.setenv("DURASCOPE_PATHS", "\n".join(str(spec) for spec in specs))
        served.cache_clear()
        return Asker()

    yield serve
    served.cache_clear()
