"""What pages cost: each row of the table is one piece of work, asked of Durascope, of others that can do it, and of SQLite."""

import gzip
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import apsw

from tests.benchmarks import subjects
from tests.benchmarks.subjects import Subject, Timing

T = TypeVar("T")

COUNTED = 30.0  # seconds that counting in the background is waited for


@dataclass(frozen=True, slots=True)
class Work:
    """One row. Paths by the name of who is asked; SQL by its parameters. ``within``: the milliseconds to stay in."""

    name: str
    paths: Mapping[str, str]
    within: float
    sql: tuple[str, tuple[object, ...]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cold: Path | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """``first`` is Durascope's on an application just started, with the file out of the page cache; milliseconds."""

    work: Work
    first: float | None
    timings: Mapping[str, Timing]
    sql: float | None


def dbos_work(database: Path) -> list[Work]:
    """The pages of the large DBOS file, with ids and a place far down that are really there."""
    (run,) = _rows(
        database,
        "SELECT workflow_uuid FROM workflow_status WHERE name = 'payloads' ORDER BY created_at DESC"
        " LIMIT 1 OFFSET (SELECT count(*) / 3 FROM workflow_status p WHERE p.name = 'payloads')",
    )[0]
    newest = "SELECT workflow_uuid, status, name, created_at FROM workflow_status {} ORDER BY created_at DESC LIMIT 51"
    failed = newest.format(
        "WHERE status = 'ERROR' AND status IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED')"
    )
    steps = "SELECT function_id, function_name, started_at_epoch_ms FROM operation_outputs WHERE workflow_uuid = ?"
    table = "/dbos/workflow_status.json?_size=50&_nocount=1&_shape=array"
    return [
        Work(
            "newest 50 runs",
            {"durascope": "/db/dbos/runs/", "argus": "/api/workflows?limit=50", "datasette": f"{table}&_sort_desc=created_at"},
            15, (newest.format(""), ()), cold=database,
        ),
        Work(
            "newest 50 failed",
            {
                "durascope": "/db/dbos/runs/?status=failed",
                "argus": "/api/workflows?limit=50&status=ERROR&status=MAX_RECOVERY_ATTEMPTS_EXCEEDED",
                "datasette": f"{table}&_sort_desc=created_at&status=ERROR",
            },
            15, (failed, ()), cold=database,
        ),
        Work(
            "find an id",
            {"durascope": f"/search/?q={run}", "argus": f"/api/workflows?q={run}", "datasette": f"{table}&workflow_uuid={run}"},
            15, ("SELECT workflow_uuid FROM workflow_status WHERE workflow_uuid = ?", (run,)), cold=database,
        ),
        Work(
            "one run of 6 steps",
            {
                "durascope": f"/db/dbos/runs/{run}/",
                "argus": f"/api/workflows/{quote(run)}",
                "datasette": f"/dbos/operation_outputs.json?_shape=array&workflow_uuid={run}",
            },
            10, (steps, (run,)), cold=database,
        ),
        Work("a payload", {"durascope": f"/db/dbos/runs/{run}/payloads/run.input/"}, 10),
        Work("its list as JSON", {"durascope": "/api/v1/databases/dbos/runs/"}, 15),
        Work("text of errors", {"durascope": "/db/dbos/runs/?q=declined", "argus": "/api/workflows?q=declined"}, 100),
        Work("children only", {"durascope": "/db/dbos/runs/?root=false"}, 30),
    ]  # fmt: skip


def obelisk_work(database: Path) -> list[Work]:
    (run,) = _rows(
        database,
        "SELECT execution_id FROM t_state WHERE ffqn LIKE '%.fulfil-order' AND is_top_level = 1 ORDER BY created_at DESC"
        " LIMIT 1 OFFSET (SELECT count(*) / 3 FROM t_state p WHERE p.ffqn LIKE '%.fulfil-order')",
    )[0]
    newest = "SELECT execution_id, ffqn, state, created_at FROM t_state ORDER BY created_at DESC LIMIT 51"
    return [
        Work("newest 50 runs", {"durascope": "/db/obelisk/runs/"}, 15, (newest, ()), cold=database),
        Work("newest 50 failed", {"durascope": "/db/obelisk/runs/?status=failed"}, 15, cold=database),
        Work("find an id", {"durascope": f"/search/?q={run}"}, 15, cold=database),
        Work("one run with its children", {"durascope": f"/db/obelisk/runs/{run}/"}, 15, cold=database),
        Work("text of errors", {"durascope": "/db/obelisk/runs/?q=refused"}, 100),
    ]


def measured(
    work: Sequence[Work], folder: Path, paths: Sequence[str], others: Sequence[Subject], database: Path
) -> Iterator[Measured]:
    """One row after the other, everybody in turn. Cold ones on a server of their own, each."""
    firsts = {one.name: _first(one, folder, paths) for one in work if one.cold}
    with subjects.durascope(folder, *paths) as durascope:
        everybody = [durascope, *others]
        for one in work:
            settle(durascope, one.paths["durascope"])
            timings: dict[str, list[Timing]] = {}
            for _ in range(3):
                for subject in everybody:
                    if path := one.paths.get(subject.name):
                        times = 3 if subject.name == "argus" else 10
                        timings.setdefault(subject.name, []).append(subject.timed(path, times, **one.headers))
            best = {name: min(found, key=lambda timing: timing.median) for name, found in timings.items()}
            yield Measured(one, firsts.get(one.name), best, _bare(database, *one.sql) if one.sql else None)


def settle(durascope: Subject, path: str) -> None:
    """Asks until everything is counted that is counted in the background, by every worker: its page is then steady."""
    until = time.monotonic() + COUNTED
    steady = 0
    while steady < 8 and time.monotonic() < until:
        page = text(durascope.ask(path))
        steady = 0 if "being counted" in page or re.search(r'data-live="[0-9a-f]+-"', page) else steady + 1
        time.sleep(0.05)


def tag(answer: tuple[int, Mapping[str, str], bytes]) -> str:
    """What a page sends to ask whether anything changed since."""
    found = re.search(r'data-live="([0-9a-f]+-?)"', text(answer))
    return found[1] if found else ""


def far_down(durascope: Subject, database: Path, rows: int) -> str:
    """The cursor after so many rows, children too: the one that a list of the rest leads on with."""
    (moment,) = _rows(
        database,
        "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', created_at / 1000, 'unixepoch') FROM workflow_status"
        f" ORDER BY created_at DESC LIMIT 1 OFFSET {rows}",
    )[0]
    page = text(durascope.ask(f"/runs/?{urlencode({'db': 'dbos', 'children': 'show', 'limit': 25, 'until': moment})}"))
    found = re.search(r'rel="next" href="[^"]*after=([A-Za-z0-9_-]+)', page)
    return found[1] if found else ""


def text(answer: tuple[int, Mapping[str, str], bytes]) -> str:
    status, headers, body = answer
    assert status < 400, (status, body[:300])
    return (gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body).decode()


def counted_by_status(database: Path) -> float:
    """Milliseconds of the count that argus and Durascope both make."""
    return _bare(database, "SELECT status, count(*) FROM workflow_status GROUP BY status", ())


def _first(work: Work, folder: Path, paths: Sequence[str]) -> float:
    assert work.cold is not None
    with subjects.durascope(folder, *paths) as fresh:
        fresh.ask("/healthz")
        subjects.forget(work.cold)
        return fresh.first(work.paths["durascope"])


def _bare(database: Path, sql: str, params: tuple[object, ...]) -> float:
    """Milliseconds of the statement alone, on an open connection: the limit."""
    return _on(database, lambda connection: _median(lambda: connection.execute(sql, params).fetchall()))


def _rows(database: Path, sql: str) -> list[tuple[str, ...]]:
    return _on(database, lambda connection: connection.execute(sql).fetchall())


def _on(database: Path, work: Callable[[apsw.Connection], T]) -> T:
    with ExitStack() as stack:
        connection = apsw.Connection(
            f"file:{database}?mode=ro&immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        stack.callback(connection.close)
        return work(connection)


def _median(work: Callable[[], object]) -> float:
    took = []
    for _ in range(7):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
