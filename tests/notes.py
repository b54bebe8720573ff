"""A tiny engine for the tests of appending: one table of notes, each a run; a retry adds a note. Run as a module, it is the
process that appends, with this engine added to those that Durascope knows.

``NOTES_PAUSE`` names a folder: inside the transaction, ``inside`` is made there and the process waits until ``go`` is there.
``NOTES_BUSY`` is how many seconds it waits for a lock, ``NOTES_STOP`` after how many failures a job stops.
``NOTES_PAGES`` is how many pages the database may have at most, as a disk that is full.
"""

import os
import sqlite3
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import apsw

from runs import engines
from runs.clock import to_epoch_ms
from runs.errors import AppendRefused, RunNotFound
from runs.records import Run, Status
from runs.retry import Change, Clock, Copy, FollowUp, Insert, Now, Operation, Options, Part, RetryPlan, Trace, Update
from runs.sources.base import Columns, Reader

SCHEMA = """
CREATE TABLE note (id TEXT PRIMARY KEY, status TEXT NOT NULL, body TEXT, made_at INTEGER, copied_from TEXT);
CREATE TABLE line (note TEXT NOT NULL REFERENCES note (id), number INTEGER NOT NULL, text TEXT, PRIMARY KEY (note, number));
CREATE TABLE tick (id INTEGER PRIMARY KEY, text TEXT);
INSERT INTO note VALUES ('n1', 'ERROR', '{"secret": "4111"}', 1, NULL), ('n2', 'SUCCESS', '{}', 2, NULL),
                        ('n3', 'ERROR', '{}', 3, NULL), ('n4', 'ERROR', '{}', 4, NULL), ('n5', 'ERROR', '{}', 5, NULL);
WITH RECURSIVE counted (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM counted WHERE number < 40)
INSERT INTO line SELECT id, number, 'n1 line ' || number FROM note, counted WHERE status = 'ERROR';
CREATE TRIGGER line_length AFTER INSERT ON line WHEN length(new.text) > 500 BEGIN SELECT RAISE(ABORT, 'too long'); END;
"""


def make(path: Path, journal: str = "DELETE") -> Path:
    """A closed database of notes: n1, n3, n4, n5 failed with 40 lines each, n2 succeeded."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.executescript(SCHEMA)
    return path


class Notes:
    """Reads notes, and plans their retry. ``start`` of the options chooses what is wrong with a plan."""

    slug: ClassVar[str] = "notes"
    label: ClassVar[str] = "Notes"

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    @classmethod
    def recognises(cls, tables: Mapping[str, Columns]) -> bool:
        return {"note", "line", "tick"} <= tables.keys()

    def run(self, run_id: str) -> Run:
        found = self.reader.rows("SELECT status, made_at, copied_from FROM note WHERE id = :id", {"id": run_id})
        if not found:
            raise RunNotFound(f"{run_id!r} is none.")
        status, made_at, copied_from = found[0]
        return Run(
            id=run_id,
            workflow="note",
            status={"ERROR": Status.FAILED, "SUCCESS": Status.SUCCEEDED}.get(str(status), Status.QUEUED),
            native_status=str(status),
            created_at=datetime.fromtimestamp(int(str(made_at)) / 1000, UTC),
            forked_from=str(copied_from) if copied_from else None,
        )

    def long_ids(self, longer_than: int) -> list[str]:
        return []

    def plan(self, run_id: str, options: Options) -> RetryPlan:
        run = self.run(run_id)
        operation = options.operation or Operation.FORK
        earlier = self.reader.rows(
            "SELECT id, status FROM note WHERE copied_from = :id ORDER BY made_at DESC", {"id": run_id}
        )
        standing = [str(name) for name, status in earlier if status != "ERROR"]
        new = f"{run_id}.retry-{len(earlier) + 1}"
        facts: dict[str, Any] = {"run": run_id, "operation": operation, "new_run": new, "guards": (run.native_status,)}
        if standing:
            return RetryPlan(**facts, eligible=False, reason=f"{standing[0]} is its retry.", earlier=standing[0])
        if run.status is not Status.FAILED:
            return RetryPlan(**facts, eligible=False, reason=f"It is {run.native_status}: nothing failed.")
        return RetryPlan(
            **facts,
            eligible=True,
            changes=self._changes(run_id, new, options.start),
            again=(Part(41, "the last line", new),),
            kept=tuple(Part(number, "line", new) for number in range(1, 41)),
            effects=("The last line is written twice.",),
        )

    def check_appended(self, plan: RetryPlan) -> None:
        if folder := os.environ.get("NOTES_PAUSE"):
            Path(folder, "inside").touch()
            while not Path(folder, "go").exists():
                time.sleep(0.005)
        ((lines,),) = self.reader.rows("SELECT count(*) FROM line WHERE note = :id", {"id": plan.new_run})
        if lines not in (40, 0):
            raise AppendRefused(f"{lines} lines were copied.")

    def trace(self, run_id: str, operation: Operation | None, moment: datetime) -> Trace:
        if operation is Operation.UNPAUSE:
            return Trace(unsure="Nothing of it bears a moment.")
        made = {"ours": f"{run_id}.retry-*", "moment": to_epoch_ms(moment)}
        found = self.reader.rows("SELECT id FROM note WHERE id GLOB :ours AND made_at = :moment", made)
        return Trace(str(found[0][0]) if found else "")

    def follow(self, plan_run: str, new_run: str, appended_at: datetime) -> FollowUp:
        if self.run(new_run).status is Status.QUEUED:
            return FollowUp(why_not="No worker reads notes.")
        return FollowUp(taken_up_after=timedelta(seconds=1))

    def _changes(self, run_id: str, new: str, start: str) -> tuple[Change, ...]:
        now = Now(Clock.EPOCH_MS)
        note = Copy(
            "note", {"id": run_id}, ("body",), {"id": new, "status": "QUEUED", "made_at": now, "copied_from": run_id}
        )
        lines = tuple(
            Copy(
                "line", {"note": run_id, "number": number}, ("number", "text"), {"note": new},
                within=("text",), replaced=(run_id, new),
            )
            for number in range(1, 41)
        )  # fmt: skip
        wrong: dict[str, tuple[Change, ...]] = {
            "orphan": (Insert("line", {"note": "nobody", "number": 1}),),
            "long": (Insert("line", {"note": run_id, "number": 99, "text": "x" * 501}),),
            "missing": (Copy("line", {"note": run_id, "number": 777}, ("text",), {"note": new, "number": 777}),),
            "two": (Copy("line", {"text": "same"}, ("number",), {"note": new}),),
            "update": (Update("note", {"id": run_id}, {"status": "QUEUED"}),),
            "everything": (Update("note", {"status": "ERROR"}, {"body": None}),),
            "ticking": (Insert("tick", {"text": "a"}),),
        }
        return (note, *lines, *wrong.get(start, ()))


def known() -> None:
    """Adds the engine to those that Durascope knows."""
    engines.ENGINES = (*engines.ENGINES, Notes)  # type: ignore[arg-type]


def main() -> int:
    from runs import appending
    from runs.sources import writing

    known()
    if sys.argv[1:] == ["jobs"]:
        from runs import jobs_process
        from runs.state import place

        place.prepare()  # Django is set up before anything that has models
        from runs.jobs import durable

        durable.STOP_AFTER = int(os.environ.get("NOTES_STOP", durable.STOP_AFTER))
        appending.COMMAND = (sys.executable, "-P", __file__)
        return jobs_process.main()
    if pages := os.environ.get("NOTES_PAGES"):
        apsw.connection_hooks.append(lambda connection: connection.pragma("max_page_count", int(pages)))
    if seconds := os.environ.get("NOTES_BUSY"):
        writing.BUSY_SECONDS = float(seconds)
    return appending.main()


if __name__ == "__main__":
    raise SystemExit(main())
