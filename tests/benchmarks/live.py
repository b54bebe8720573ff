"""What watching costs an engine: commits in a live file with ten watchers on its pages and without, in turn.

At full speed an engine also wants both cores of a small machine, which the server then takes a part of; at half of it, what is left
is what readers' locks cost.

python -m tests.benchmarks.live FILE SECONDS [COMMITS A SECOND]     writes like an engine; prints the latency of each commit
"""

import itertools
import json
import math
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import subjects
from tests.benchmarks.pages import tag
from tests.benchmarks.subjects import Subject
from tests.serving import ROOT

PAIRS = 5
SECONDS = 6.0
WATCHERS = 10
POLLED, RARELY = 2.0, 9  # seconds between two looks of a live page, or as many times as long as the last took (live.js)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of watching: how many times fewer commits, and how many times the 99th percentile of their latency; medians of pairs."""

    commits: float
    p99: float
    paced: float  # the 99th percentile again, where the engine makes half as many commits as it could
    alone: float  # commits a second without watchers
    cpu: float  # seconds that the server computed a second
    answers: int  # that the watchers got
    locked: int  # of those, "the file is locked": while an engine writes all the time, a reader may wait in vain


def cost(real: Path, folder: Path, journal: str) -> Cost:
    """In a file in that journal mode: DELETE as DBOS in Python writes it, WAL as DBOS in Go and Obelisk do."""
    file = folder / f"live-{journal.lower()}.sqlite"
    shutil.copyfile(real, file)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
    pairs: list[tuple[list[float], list[float]]] = []
    paced: list[tuple[list[float], list[float]]] = []
    answers: list[int] = []
    with subjects.durascope(folder, f"live={file}") as durascope:
        computed = durascope.cpu()
        for _ in range(PAIRS):
            alone = _written(file)
            half = len(alone) / SECONDS / 2
            with _watched(durascope) as asked:
                watched = _written(file)
            answers += asked
            pairs.append((alone, watched))
            alone_half = _written(file, half)
            with _watched(durascope) as asked:
                paced.append((alone_half, _written(file, half)))
            answers += asked
        computed = durascope.cpu() - computed
    return Cost(
        statistics.median(len(alone) / len(watched) for alone, watched in pairs),
        statistics.median(_p99(watched) / _p99(alone) for alone, watched in pairs),
        statistics.median(_p99(watched) / _p99(alone) for alone, watched in paced),
        statistics.median(len(alone) for alone, _ in pairs) / SECONDS,
        computed / (2 * PAIRS * SECONDS),
        len(answers),
        answers.count(423),
    )


def _written(file: Path, rate: float = math.inf) -> list[float]:
    """Seconds that each commit of an engine took, in a process of its own; at most ``rate`` commits a second."""
    program = [sys.executable, "-m", "tests.benchmarks.live", str(file), str(SECONDS), str(rate)]
    found = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    return [float(took) for took in json.loads(found.stdout)]


def _p99(took: list[float]) -> float:
    return sorted(took)[len(took) * 99 // 100]


@contextmanager
def _watched(durascope: Subject) -> Iterator[list[int]]:
    """Ten people look at the file's list, its failures, its numbers and a run; each page asks for itself as pages do."""
    over = threading.Event()
    answers: list[int] = []
    pages = itertools.cycle(
        ("/db/live/runs/", "/db/live/runs/?status=failed", "/db/live/", "/", "/db/live/runs/wf-happy/")
    )

    def watch(page: str, delay: float) -> None:
        known = ""
        over.wait(delay)
        while not over.is_set():
            began = time.monotonic()
            answer = durascope.ask(page, Durascope_Tag=known)
            took = time.monotonic() - began
            answers.append(answer[0])
            if answer[0] == 200:
                known = tag(answer)
            over.wait(max(POLLED, RARELY * took))

    threads = [threading.Thread(target=watch, args=(next(pages), POLLED * n / WATCHERS)) for n in range(WATCHERS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def write(file: Path, seconds: float, rate: float = math.inf) -> list[float]:
    """Runs of six steps, each row a transaction of its own, as DBOS writes them, as fast as the disk takes them, or as often."""
    took: list[float] = []
    start = time.monotonic()
    until = start + seconds
    first = time.time_ns()
    with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as connection:
        for number in itertools.count():
            run = f"live-{first}-{number}"
            for sql in _statements():
                if time.monotonic() > until:
                    return took
                began = time.perf_counter()
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(sql, {"run": run, "now": time.time_ns() // 1_000_000})
                connection.execute("COMMIT")
                took.append(time.perf_counter() - began)
                time.sleep(max(start + len(took) / rate - time.monotonic(), 0))
    return took


def _statements() -> Iterator[str]:
    yield (
        "INSERT INTO workflow_status (workflow_uuid, status, name, created_at, updated_at, application_version, executor_id)"
        " VALUES (:run, 'PENDING', 'live', :now, :now, 'v1', 'local')"
    )
    for step in range(1, 7):
        yield (
            "INSERT INTO operation_outputs (workflow_uuid, function_id, function_name, output, started_at_epoch_ms,"
            f" completed_at_epoch_ms) VALUES (:run, {step}, 'step_{step}', 'gAWVCAAAAAAAAACMBHBhaWSULg==', :now - 3, :now)"
        )
    yield "UPDATE workflow_status SET status = 'SUCCESS', updated_at = :now, completed_at = :now WHERE workflow_uuid = :run"


if __name__ == "__main__":
    print(json.dumps(write(Path(sys.argv[1]), *map(float, sys.argv[2:]))))
