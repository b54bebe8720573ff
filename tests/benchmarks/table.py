"""Everything measured, one part after the other, as lines of a table in Markdown; and the databases it is measured on."""

import lzma
import os
import platform
import re
import shutil
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from tests.benchmarks import live, obelisk_databases, pages, paint, soak, subjects
from tests.benchmarks.databases import MIXED, multiply
from tests.benchmarks.pages import Measured, Work, settle
from tests.benchmarks.subjects import Subject
from tests.serving import ROOT

ZOO = ROOT / "runs" / "demo" / "databases" / "zoo-3.4.0.sqlite.xz"
SHOP = ROOT / "tests" / "databases" / "shop-fork.sqlite.xz"
RUNS, COPIES, STEPS, MANY = 200_000, 83, 10_000, 1_000
HEAD = """
| work | cold | warm | CPU | best | argus | datasette | SQL | × argus | to reach |
|---|---|---|---|---|---|---|---|---|---|"""


class Databases:
    """What is measured on, made where it is missing, in one folder."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder, self.scale = folder, scale
        self.zoo = self._unpacked(ZOO)
        self.shop = self._unpacked(SHOP)

    def dbos(self) -> Path:
        return self._made("dbos.sqlite", lambda file: multiply(self.zoo, file, self._scaled(RUNS), MIXED))

    def obelisk(self) -> Path:
        return self._made(
            "obelisk.sqlite", lambda file: obelisk_databases.multiply(self.shop, file, self._scaled(COPIES))
        )

    def long_dbos(self) -> Path:
        return self._made("long-dbos.sqlite", lambda file: multiply(self.zoo, file, 1, ["wf-payloads"], STEPS))

    def long_obelisk(self) -> Path:
        return self._made("long-obelisk.sqlite", lambda file: obelisk_databases.long_run(self.shop, file, STEPS))

    def many(self) -> Path:
        return self._made("many", self._fill)

    def _fill(self, folder: Path) -> None:
        folder.mkdir()
        ten = self._made("ten.sqlite", lambda file: multiply(self.zoo, file, 10, MIXED))
        for number in range(self._scaled(MANY)):
            file = folder / f"app-{number:04d}.sqlite"
            shutil.copyfile(ten, file)
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute("PRAGMA synchronous=OFF")
                connection.execute(
                    "UPDATE workflow_status SET created_at = created_at - ? % 100000000", (number * 7919_000,)
                )

    def _scaled(self, count: int) -> int:
        return max(round(count * self.scale), 1)

    def _made(self, name: str, make: Callable[[Path], object]) -> Path:
        done = self.folder / f"{self.scale:g}-{name}"
        if not done.exists():
            began, part = time.monotonic(), self.folder / f"part-{name}"
            shutil.rmtree(part, ignore_errors=True)
            part.unlink(missing_ok=True)
            make(part)
            part.rename(done)
            print(f"made {done.name} in {time.monotonic() - began:.0f} s", flush=True)
        return done

    def _unpacked(self, packed: Path) -> Path:
        file = self.folder / packed.stem
        if not file.exists():
            file.write_bytes(lzma.decompress(packed.read_bytes()))
        return file


def report(folder: Path, scale: float, parts: Sequence[str]) -> int:
    """Prints what was asked for; 0."""
    databases = Databases(folder, scale)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )
    for part in parts:
        {"pages": _pages, "long": _long, "many": _many, "start": _start, "live": _live, "memory": _memory}[part](
            databases
        )
    return 0


def _pages(databases: Databases) -> None:
    """The two large files, side by side with others."""
    dbos, obelisk = databases.dbos(), databases.obelisk()
    served = [f"dbos={dbos}", f"obelisk={obelisk}"]
    folder = databases.folder
    link = folder / "dbos.sqlite"  # datasette names a database by its file
    if not link.exists():
        link.symlink_to(dbos)
    print(f"\nDBOS, {_size(dbos)}; Obelisk, {_size(obelisk)}. Milliseconds.{HEAD}", flush=True)
    with ExitStack() as stack:
        started = [
            stack.enter_context(subjects.argus(folder, dbos)),
            stack.enter_context(subjects.datasette(folder, link)),
        ]
        others = [subject for subject in started if subject]
        for name, work, file in (
            ("DBOS", pages.dbos_work(dbos), dbos),
            ("Obelisk", pages.obelisk_work(obelisk), obelisk),
        ):
            for one in pages.measured(work, folder, served, others if name == "DBOS" else [], file):
                print(_line(name, one), flush=True)
        print(f"\nCounting by status in SQL alone: {pages.counted_by_status(dbos):.0f} ms")
        with subjects.durascope(folder, *served) as durascope:
            _far_down(durascope, databases)
            _unchanged(durascope)
            _fleet(durascope)
        with subjects.durascope(folder, *served) as durascope:
            settle(durascope, "/db/dbos/runs/")
            for subject, path in ((durascope, "/db/dbos/runs/"), *((other, _newest(other)) for other in others)):
                print(f"{subject.name}: {_throughput(subject, path)} requests a second, newest 50", flush=True)


def _far_down(durascope: Subject, databases: Databases) -> None:
    settle(durascope, "/runs/?children=show&limit=25&db=dbos")
    first = durascope.timed("/runs/?children=show&limit=25&db=dbos")
    after = pages.far_down(durascope, databases.dbos(), round(199_500 * databases.scale))
    far = durascope.timed(f"/runs/?children=show&limit=25&db=dbos&after={after}")
    print(f"page 8,000 of 25: {far.median:.1f} ms, page 1: {first.median:.1f} ms")


def _unchanged(durascope: Subject) -> None:
    page = "/db/dbos/runs/"
    settle(durascope, page)
    again = durascope.timed(page, 30, Durascope_Tag=pages.tag(durascope.ask(page)))
    print(f"unchanged page asked again: {again.median:.1f} ms ({again.size} bytes), to reach 3")


def _fleet(durascope: Subject) -> None:
    first = durascope.first("/")
    settle(durascope, "/")
    print(f"fleet: {first:.0f} ms at first, {durascope.timed('/').median:.1f} ms after; to reach 150")


def _long(databases: Databases) -> None:
    """One run of 10,000 steps of each engine."""
    dbos, obelisk = databases.long_dbos(), databases.long_obelisk()
    with closing(sqlite3.connect(f"file:{dbos}?mode=ro", uri=True)) as connection:
        (run,) = connection.execute("SELECT workflow_uuid FROM workflow_status").fetchone()
    with closing(sqlite3.connect(f"file:{obelisk}?mode=ro&immutable=1", uri=True)) as connection:
        (parent,) = connection.execute(
            "SELECT execution_id FROM t_state WHERE ffqn = ? ORDER BY corresponding_version DESC LIMIT 1",
            (obelisk_databases.MODEL,),
        ).fetchone()
    with subjects.durascope(
        databases.folder, f"dbos={dbos}", f"obelisk={obelisk}", DURASCOPE_QUERY_SECONDS="60"
    ) as durascope:
        paths = {name: f"/db/{name}/runs/{run_id}/" for name, run_id in (("dbos", run), ("obelisk", parent))}
        firsts = {name: durascope.first(path) for name, path in paths.items()}
        times = {name: durascope.timed(path, 5) for name, path in paths.items()}
        changed = {
            name: _changed(durascope, paths[name], file) for name, file in (("dbos", dbos), ("obelisk", obelisk))
        }
        painted = paint.first_paints([f"{durascope.url.rstrip('/')}{path}" for path in paths.values()])
        for (name, took), seen in zip(times.items(), painted, strict=True):
            print(
                f"{name}, a run of {STEPS:,} steps: {firsts[name]:.0f} ms at first, {took.median:.0f} after,"
                f" {changed[name]:.0f} where its file has just changed"
                f" (CPU {took.cpu:.0f}), {took.size / 1000:.0f} kB; to reach 400, 40 kB;"
                f" first paint {f'{seen:.0f} ms' if seen is not None else 'not measured: no Chromium'} (500)",
                flush=True,
            )


def _changed(durascope: Subject, path: str, file: Path) -> float:
    """Milliseconds of a page that every worker has shown before, where its file has been touched since."""
    for _ in range(8):
        durascope.ask(path)
    took = []
    for _ in range(5):
        os.utime(file)
        took.append(durascope.first(path))
    return statistics.median(took)


def _many(databases: Databases) -> None:
    """Very many small files."""
    folder = databases.many()
    with subjects.durascope(databases.folder, str(folder)) as durascope:
        first = durascope.first("/")
        settle(durascope, "/")
        fleet = durascope.timed("/", 5).median
        merged_first = durascope.first("/runs/")
        settle(durascope, "/runs/")
        merged = durascope.timed("/runs/", 5).median
    print(
        f"{MANY * databases.scale:,.0f} databases: fleet {first:.0f} ms at first (to reach 1,000), {fleet:.0f} after (150)"
    )
    print(f"newest 50 of all: {merged_first:.0f} ms at first, {merged:.0f} after (to reach 300)")


def _start(databases: Databases) -> None:
    """From the command to the first page."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        with subjects.durascope(databases.folder, str(databases.zoo)) as durascope:
            durascope.first("/")
            times.append((time.perf_counter() - began, durascope.cpu()))
    took, computed = min(times)
    print(f"start to first page: {took:.2f} s, CPU {computed:.2f} s; to reach 1.5")


def _live(databases: Databases) -> None:
    """What watching costs engines."""
    for journal in ("DELETE", "WAL"):
        cost = live.cost(databases.zoo, databases.folder, journal)
        print(
            f"ten watchers of a live file, journal {journal}: {cost.commits:.2f} times fewer commits (to reach 1.1),"
            f" p99 {cost.p99:.2f} times (1.3), {cost.paced:.2f} at half speed; the server's CPU {cost.cpu:.0%};"
            f" {cost.alone:.0f} commits a second alone; {cost.answers} answers,"
            f" {cost.locked} of them that it is locked",
            flush=True,
        )


def _memory(databases: Databases) -> None:
    """A worker that has seen everything."""
    dbos, obelisk = databases.dbos(), databases.obelisk()
    work: list[Work] = [*pages.dbos_work(dbos), *pages.obelisk_work(obelisk)]
    paths = [one.paths["durascope"] for one in work if one.name not in ("text of errors", "children only")]
    paths += ["/", "/runs/", "/db/dbos/", "/db/obelisk/", "/api/v1/databases/", "/static/js/durascope.js"]
    with subjects.durascope(databases.folder, f"dbos={dbos}", f"obelisk={obelisk}") as durascope:
        grown = soak.soak(durascope, paths, max(round(soak.REQUESTS * min(databases.scale, 1)), 200))
    print(
        f"memory of the largest worker: {grown.early:.0f} MB after a tenth, {grown.middle:.0f} in the middle,"
        f" {grown.late:.0f} MB after {soak.REQUESTS:,} mixed requests; to reach 120; {grown.refused} answers of 500 and above"
    )


def _line(engine: str, one: Measured) -> str:
    ours = one.timings["durascope"]
    other = {name: f"{timing.median:.1f}" for name, timing in one.timings.items()}
    ratio = f"{one.timings['argus'].median / ours.median:.1f}" if "argus" in one.timings else ""
    cells = (
        f"{engine}: {one.work.name}",
        f"{one.first:.0f}" if one.first else "",
        f"{ours.median:.1f}",
        f"{ours.cpu:.1f}",
        f"{ours.best:.1f}",
        other.get("argus", ""),
        other.get("datasette", ""),
        f"{one.sql:.2f}" if one.sql is not None else "",
        ratio,
        f"{one.work.within:g}",
    )
    return f"| {' | '.join(cells)} |"


def _newest(subject: Subject) -> str:
    if subject.name == "argus":
        return "/api/workflows?limit=50"
    return "/dbos/workflow_status.json?_size=50&_nocount=1&_shape=array&_sort_desc=created_at"


def _throughput(subject: Subject, path: str) -> str:
    """As wrk counts it, with 8 connections."""
    if not shutil.which("wrk"):
        return "no wrk here:"
    said = subprocess.run(
        ["wrk", "-t2", "-c8", "-d8s", f"{subject.url.rstrip('/')}{path}"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    return found[1] if found else "?"


def _size(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:,.0f} MB"
