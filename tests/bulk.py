"""Many failed runs, a server that retries them by its JSON, and what its processes are: for what is proved of several at once."""

import contextlib
import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import apsw

from runs.appending import confirmation, plan_by
from runs.retry import Options
from runs.sources.base import Reader
from runs.sources.files import look
from runs.sources.sqlite import SqliteSource
from tests.dbos_files import sql
from tests.serving import DEADLINE, Served, served

# Real failed runs of the zoo, and how many of their steps a retry keeps: all but the one that failed the run.
KINDS = {"wf-declined": 2, "wf-retry-exhausted": 1, "wf-body-error": 1, "wf-portable-fail": 0}
PATIENCE = 600.0  # seconds for a job to end, on a machine that does much else
RETRIED = "forked_from IS NOT NULL AND forked_from LIKE '%-copy-%'"
SLUG = "zoo"
TABLES = ("workflow_status", "workflow_input", "workflow_output", "operation_outputs")


def multiply(path: Path, count: int) -> list[str]:
    """Adds that many failed runs to the zoo, each a copy of a real one with another id; their ids, oldest first."""
    kinds = list(KINDS)
    made = {f"{kinds[number % len(kinds)]}-copy-{number:04}": kinds[number % len(kinds)] for number in range(count)}
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in TABLES:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(":new" if name == "workflow_uuid" else name for name in columns)
            connection.executemany(
                f"INSERT INTO {table} SELECT {values} FROM {table} WHERE workflow_uuid = :old",
                [{"new": new, "old": old} for new, old in made.items()],
            )
    return list(made)


def digests(path: Path, runs: Sequence[str]) -> list[str]:
    """What is confirmed of each run's plan, all from one look at the file."""
    identity = look(path).identity

    def plans(reader: Reader) -> list[str]:
        return [confirmation(plan_by(reader, run, Options()), identity) for run in runs]

    return SqliteSource(path, path.stem).read(plans)


class Api:
    """JSON of a running server."""

    def __init__(self, running: Served) -> None:
        self._place = urlsplit(running.url)

    def __call__(self, path: str, body: object = None) -> tuple[int, Any]:
        """The status and what is said: of a GET, or of a POST where there is a body."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body)
        with closing(HTTPConnection(self._place.hostname or "", self._place.port, timeout=DEADLINE)) as connection:
            connection.request("GET" if body is None else "POST", path, sent, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def plan(self, run: str) -> str:
        return f"/api/v1/databases/{SLUG}/runs/{quote(run, safe='')}/retry/"

    def body(self, path: Path, runs: Sequence[str]) -> dict[str, Any]:
        """What retries these runs of that file, each as it is planned now."""
        chosen = [
            {"href": self.plan(run), "digest": digest} for run, digest in zip(runs, digests(path, runs), strict=True)
        ]
        return {"runs": chosen, "reason": "the bank is back", "count": len(runs)}

    def start(self, confirmed: dict[str, Any]) -> str:
        """Begins the job; its address."""
        status, said = self("/api/v1/retries/", confirmed)
        while status == 423:  # an engine at full speed has the file to itself now and then: nothing was begun
            status, said = self("/api/v1/retries/", confirmed)
        assert status == 202, said
        return str(said["job"]["href"])

    def finished(self, job: str) -> Any:
        """The job when it is at its end."""
        until = time.monotonic() + PATIENCE
        while not (found := self(job)[1])["finished_at"]:
            assert time.monotonic() < until, found["counts"]
            time.sleep(0.5)
        return found


def differences(before: Path, after: Path) -> Counter[tuple[str, str]]:
    """Rows by table and what happened to them, by SQLite's own comparison of every table."""
    found: Counter[tuple[str, str]] = Counter()
    with closing(apsw.Connection(str(after))) as connection:
        connection.execute("ATTACH ? AS before", (str(before),))
        tables = [name for (name,) in connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")]
        session = apsw.Session(connection, "main")
        session.config(apsw.SQLITE_SESSION_OBJCONFIG_ROWID, True)
        for table in tables:
            session.attach(table)
            session.diff("before", table)
        found.update((change.name, change.op) for change in apsw.Changeset.iter(session.changeset()))
        session.close()
    return found


def is_sound(path: Path) -> bool:
    return sql(path, "PRAGMA integrity_check") == [("ok",)] and sql(path, "PRAGMA foreign_key_check") == []


def retries(path: Path) -> list[str]:
    """The ids of all retries of runs made by ``multiply``."""
    return [new for (new,) in sql(path, f"SELECT workflow_uuid FROM workflow_status WHERE {RETRIED} ORDER BY 1")]


def retried_once(path: Path, runs: Sequence[str]) -> bool:
    """Whether exactly these runs, made by ``multiply``, have one retry each, with its input and every step that is kept."""
    found = sql(
        path,
        "SELECT forked_from, workflow_uuid, (SELECT count(*) FROM workflow_input i WHERE i.workflow_uuid = s.workflow_uuid),"
        " (SELECT count(*) FROM operation_outputs o WHERE o.workflow_uuid = s.workflow_uuid)"
        f" FROM workflow_status s WHERE {RETRIED} ORDER BY 1",
    )
    return found == [(run, f"{run}.retry-1", 1, kept(run)) for run in sorted(runs)]


def kept(run: str) -> int:
    """How many steps a retry of this run keeps."""
    return KINDS[run.rpartition("-copy-")[0]]


@contextmanager
def server(path: Path, state: Path) -> Iterator[Api]:
    """The command over that database, which may be retried."""
    with served(f"{SLUG}={path}", "--allow-retry", SLUG, DURASCOPE_STATE=str(state)) as running:
        yield Api(running)


def processes(state: Path, *, appending: bool = True) -> list[int]:
    """Every process of the servers with that state: master, workers, the one that does jobs, and those that append."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"DURASCOPE_STATE={state}".encode() in (entry / "environ").read_bytes().split(b"\0")
            appends = b"runs.appending" in (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if ours and (appending or not appends) and entry.name != str(os.getpid()):
            found.append(int(entry.name))
    return found


def kill(numbers: Sequence[int]) -> None:
    """``kill -9`` of all, as nearly at once as can be."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
