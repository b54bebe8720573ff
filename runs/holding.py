"""The second step of what was appended paused: it is released, or deleted again, in a process of its own that opens nothing else.

**The one deletion.** Durascope deletes nothing that an engine wrote, and nothing that an engine may have taken up. A fork that the
engine's replay can't follow is neither: all of its rows were appended by us, paused, and it would wait like that for ever, in the
way of any other retry. So they are deleted again, in one transaction: only where the rows that are there are the very ones that
were recorded when they were appended, all of them still held back; an authorizer lets each statement delete from its one table.

The process is that of runs.appending in everything else: it looks again inside the write lock, and whoever is killed while it works
finds the file either as before or as after.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from runs import clock
from runs.appending import SECONDS, changed, file_mark, is_awaited, module_path, refusal
from runs.clock import parse_instant, rfc3339
from runs.engines import engine_for
from runs.errors import AppendRefused, AppendUnsure, DurascopeError
from runs.retry import Held, Holding
from runs.sources.files import look
from runs.sources.writing import REPLACED, Writing, writing
from runs.statements import Json, deletion

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "runs.holding")
TOUCHED = "It is no longer as it was appended: somebody has taken it up, or taken it back."

Step = Literal["release", "withdraw"]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What was recorded of a run that was appended paused. ``rows``: as runs.appending.Appended has them; ``mark``: of its file."""

    run: str
    new_run: str
    mark: str
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Stepped:
    """What a step changed or deleted, as a record keeps it."""

    at: datetime
    rows: tuple[Json, ...]


def take(path: Path, step: Step, waiting: Waiting, guard: str, *, seconds: float = SECONDS) -> Stepped:
    """Releases the run, or deletes it again; ``guard`` is what the replay's verdict was good for.

    Raises AppendRefused, DatabaseLocked, DiskFull, NotAllowed, Unreadable: nothing was changed then. AppendUnsure: it may have
    been.
    """
    asked = {
        "step": step,
        "run": waiting.run,
        "new_run": waiting.new_run,
        "mark": waiting.mark,
        "rows": named(waiting.rows),
        "guard": guard,
    }
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
        [*COMMAND, os.fspath(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": module_path()},
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(json.dumps(asked).encode(), timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
    try:
        answer = json.loads(said)
    except ValueError:
        raise AppendUnsure(
            "The process that was to do it ended without an answer.", remedy="Look at the run."
        ) from None
    if "refused" in answer:
        raise refusal(answer["refused"])
    at = parse_instant(answer["at"])
    return Stepped(at or clock.now(), tuple(answer["rows"]))


def named(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """Table and key of every row that was recorded, of those too that were copied together."""
    return [[row["table"], key] for row in rows for key in row.get("each", (row["key"],))]


def keys(rows: Sequence[Sequence[Any]]) -> frozenset[str]:
    """Rows by table and key, to compare."""
    return frozenset(json.dumps([table, key], sort_keys=True) for table, key in rows)


def main() -> int:
    """The process: one request on standard input, one answer on standard output."""
    signal.alarm(SECONDS)  # it never holds a lock for ever, whoever waits for it
    asked = json.load(sys.stdin)
    try:
        done = _step(Path(sys.argv[1]), asked)
        answer: Json = {"at": rfc3339(done.at), "rows": list(done.rows)}
    except DurascopeError as problem:
        facts = {"detail": problem.detail, "remedy": problem.remedy, "run": getattr(problem, "run", "")}
        answer = {"refused": {"error": type(problem).__name__, **facts}}
    json.dump(answer, sys.stdout)
    return 0


def _step(path: Path, asked: Mapping[str, Any]) -> Stepped:
    identity = look(path).identity
    if asked["mark"] != file_mark(identity):
        raise AppendRefused(REPLACED)
    with writing(path, identity) as transaction:
        held = _held(transaction, asked)
        moment = clock.now()
        if asked["step"] == "release":
            if held.guard != asked["guard"]:
                raise AppendRefused("Another deployment became active while the replay was asked: ask it again.")
            rows = tuple(changed(transaction, held.release, moment))
        else:
            rows = tuple(_deleted(transaction, held))
        # A new engine over a new reader: what the first one read, it read before the changes.
        engine = _engine(transaction)
        if asked["step"] == "release":
            engine.check_released(asked["run"], asked["new_run"], len(rows))
        else:
            engine.check_withdrawn(asked["new_run"], len(rows))
        if not is_awaited():
            raise AppendRefused("Whoever asked for it is gone.")
        transaction.commit()
    return Stepped(moment, rows)


def _held(transaction: Writing, asked: Mapping[str, Any]) -> Held:
    """What is held back, where that is exactly what was appended. Raises AppendRefused."""
    held = _engine(transaction).held(asked["new_run"])
    if held is None or keys(held.rows) != keys(asked["rows"]):
        raise AppendRefused(TOUCHED)
    return held


def _engine(transaction: Writing) -> Holding:
    engine = engine_for(transaction.reader())
    if not isinstance(engine, Holding):
        raise AppendRefused(f"Nothing is ever appended paused for {engine.label}.")
    return engine


def _deleted(transaction: Writing, held: Held) -> list[Json]:
    made: list[Json] = []
    known: dict[str, tuple[str, ...]] = {}
    for what in held.withdrawal:
        if what.table not in known:
            known[what.table] = transaction.key(what.table)
        statement = deletion(what, known[what.table])
        key = transaction.delete(statement.sql, statement.values, statement.table)
        made.append({"change": "delete", "table": what.table, "key": dict(zip(known[what.table], key, strict=True))})
    return made


if __name__ == "__main__":
    sys.exit(main())
