"""Appending a confirmed plan to an engine's own file: started here, done by a process that opens nothing else.

``append`` starts ``python -m runs.appending PATH``, sends it a small JSON object on a line of its standard input, and waits for
a line. The process takes the write lock, plans again inside it, and writes only where the new plan is the very one that was
confirmed. Between two lines it has nothing open, so that a job keeps it (``Appender``): starting takes far longer than an append.
It is a process of its own because POSIX drops every lock that a process has on a file when any descriptor of that file is closed:
a reader in the same process would let the engine write into our transaction, and the engine's commits would be lost.

What was confirmed is named by ``confirmation``: the plan's digest and which file it was made for.
"""

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import runs
from runs import clock, errors
from runs.clock import parse_instant, rfc3339
from runs.engines import engine_for
from runs.errors import AlreadyRetried, AppendRefused, AppendUnsure, DurascopeError, NotEligible
from runs.retry import Change, Copies, Operation, Options, Retryable, RetryPlan, Update, count
from runs.sources.base import Reader, Value
from runs.sources.files import Identity, look
from runs.sources.writing import REPLACED, Writing, obstacle, writing
from runs.statements import Json, new_values, old_values, recorded, statement

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "runs.appending")
SECONDS = 45  # the lock 10, a plan and the changes 5 each at their longest, a commit 2, and a slow start
LOOK_AGAIN = "Look at the plan again."


@dataclass(frozen=True, slots=True)
class Appended:
    """What was appended, as a record keeps it: JSON, without the body of a payload.

    ``rows``: of each changed row its table, key, new values, and ``old`` ones where it was updated; of those that one statement
    copied, what they share, and their ``count``; of what is ``held``, ``each`` one's key as well. ``before`` and ``after`` are
    facts about the run and the file. ``readable``: whether the run that will go on could be read after the commit. ``held``: it was
    appended paused, and waits for its release.
    """

    run: str
    new_run: str
    operation: Operation
    at: datetime
    plan: Json
    rows: tuple[Json, ...]
    before: Json
    after: Json
    readable: bool
    held: bool = False

    @property
    def count(self) -> int:
        """How many rows were changed."""
        return sum(int(str(row.get("count", 1))) for row in self.rows)


def confirmation(plan: RetryPlan, identity: Identity) -> str:
    """What a person confirms: this plan, for this very file."""
    return f"{plan.digest}-{file_mark(identity)}"


def file_of(confirmed: str) -> str:
    """Which file was confirmed, as ``file_mark`` names it."""
    return confirmed.rpartition("-")[2]


def unwritable(path: Path) -> str:
    """Why this account can't append to the file, in words; empty where it can. Raises Unreadable."""
    return obstacle(look(path))


def plan_by(reader: Reader, run_id: str, options: Options) -> RetryPlan:
    """The plan of whichever engine's schema this is; for an engine that is only read, one that says so. Raises RunNotFound."""
    engine = engine_for(reader)
    if isinstance(engine, Retryable):
        return engine.plan(run_id, options)
    engine.run(run_id)
    return RetryPlan(
        run=run_id, operation=options.operation, eligible=False, reason=f"Durascope only reads {engine.label}."
    )


class Appender:
    """The process that appends to one file: started with the first request, kept for the next, ended by ``close``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None
        self._one = threading.Lock()  # a request's answer is the next line: nobody else's

    def append(
        self, run_id: str, options: Options, confirmed: str, moment: datetime, *, seconds: float = SECONDS
    ) -> Appended:
        """As ``append`` of this module."""
        asked = {"run": run_id, "options": _written(options), "confirmed": confirmed, "moment": rfc3339(moment)}
        with self._one:
            said = _asked(self._running(), json.dumps(asked).encode(), time.monotonic() + seconds)
            if said is None:
                self._end(kill=True)
                raise AppendUnsure("The process that appends ended without an answer.", remedy="Look at the run.")
        answer = json.loads(said)
        if "refused" in answer:
            raise refusal(answer["refused"])
        return _read_appended(answer["appended"])

    def close(self) -> None:
        """Ends the process, if there is one."""
        with self._one:
            self._end(kill=False)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process and self._process.poll() is not None:
            self._end(kill=False)
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
                [*COMMAND, os.fspath(self._path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": module_path()},
                start_new_session=True,  # an interrupt in the terminal is not meant for it
            )
        return self._process

    def _end(self, *, kill: bool) -> None:
        if self._process:
            if kill:
                self._process.kill()
            self._process.communicate()
            self._process = None


def append(
    path: Path, run_id: str, options: Options, confirmed: str, moment: datetime, *, seconds: float = SECONDS
) -> Appended:
    """Appends the confirmed plan to the file, or raises and nothing was appended. ``moment`` is the instant that the rows carry: by
    that of its rows a retry is told from another one that is the same in all else.

    Raises AlreadyRetried, AppendRefused (changed meanwhile), NotEligible, DatabaseLocked, DiskFull, NotAllowed, Unreadable. Only
    AppendUnsure says that it may have been appended: the process was ended from outside, and did not answer.
    """
    with closing(Appender(path)) as appender:
        return appender.append(run_id, options, confirmed, moment, seconds=seconds)


def main() -> int:
    """The process: one request on each line of standard input, one answer on a line of standard output."""
    for line in sys.stdin:
        signal.alarm(SECONDS)  # it never holds a lock for ever, whoever waits for it
        print(json.dumps(_answer(Path(sys.argv[1]), json.loads(line))), flush=True)
        signal.alarm(0)
    return 0


def _asked(process: subprocess.Popen[bytes], request: bytes, until: float) -> bytes | None:
    """The process's answer to a request; None where none came until that moment of the monotonic clock."""
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    try:
        process.stdin.write(request + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    looking = select.poll()
    looking.register(process.stdout, select.POLLIN)
    said = bytearray()
    while not said.endswith(b"\n"):
        ready = looking.poll(max(0.0, until - time.monotonic()) * 1000)
        more = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
        if not more:
            return None
        said += more
    return bytes(said)


def _answer(path: Path, asked: Mapping[str, Any]) -> Json:
    options = asked["options"]
    operation = Operation(options["operation"]) if options["operation"] else None
    try:
        chosen = Options(**{**options, "operation": operation})
        done = _append(path, asked["run"], chosen, asked["confirmed"], datetime.fromisoformat(asked["moment"]))
    except DurascopeError as problem:
        facts = {"detail": problem.detail, "remedy": problem.remedy, "run": getattr(problem, "run", "")}
        return {"refused": {"error": type(problem).__name__, **facts}}
    return {"appended": {**asdict(done), "at": rfc3339(done.at)}}


def _append(path: Path, run_id: str, options: Options, confirmed: str, moment: datetime) -> Appended:
    identity = look(path).identity
    if "-" not in confirmed:
        raise AppendRefused("What was confirmed is no digest of a plan.", remedy=LOOK_AGAIN)
    if file_of(confirmed) != file_mark(identity):
        raise AppendRefused(REPLACED, remedy=LOOK_AGAIN)
    with writing(path, identity) as transaction:
        reader = transaction.reader()
        before = _facts(reader, path, run_id)
        plan = plan_by(reader, run_id, options)
        operation = _checked(plan, confirmation(plan, identity), confirmed)
        rows = tuple(changed(transaction, plan.changes, moment, named=plan.held))
        # A new engine over a new reader: what the first one read, it read before the changes.
        engine = engine_for(transaction.reader())
        if isinstance(engine, Retryable):
            engine.check_appended(plan)
        check_count(plan, transaction.changes())
        if not is_awaited():
            raise AppendRefused("Whoever asked for it is gone.")
        at = clock.now()  # before any engine can take it up: what an engine does with it is done since
        transaction.commit()
        after, readable = _look_after(transaction, path, plan)
    return Appended(run_id, plan.new_run, operation, at, _described(plan), rows, before, after, readable, plan.held)


def _checked(plan: RetryPlan, found: str, confirmed: str) -> Operation:
    """The plan's operation. Raises where the plan made inside the lock is not the confirmed one, or must not be appended."""
    if plan.earlier:
        raise AlreadyRetried(plan.reason, run=plan.earlier)
    if found != confirmed:
        raise AppendRefused(f"It changed meanwhile. {plan.reason}".rstrip(), remedy=LOOK_AGAIN)
    if not plan.eligible or plan.operation is None or not plan.changes:
        raise NotEligible(plan.reason)
    return plan.operation


def check_count(plan: RetryPlan, changed: int) -> None:
    """Raises AppendRefused where another number of rows was changed than the plan has: a trigger did more."""
    if changed != count(plan.changes):
        raise AppendRefused(f"{changed:,} rows were changed where the plan has {count(plan.changes):,}.")


def changed(
    transaction: Writing, changes: Iterable[Change], moment: datetime, *, named: bool = False
) -> Iterator[Json]:
    """Makes the changes, in their order; each as a record of what was done. ``named``: with the key of every row, of those too that
    are copied together: whoever deletes them again must know them."""
    keys: dict[str, tuple[str, ...]] = {}
    for change in changes:
        if change.table not in keys:
            keys[change.table] = transaction.key(change.table)
        if isinstance(change, Copies):
            yield _filled(transaction, change, moment, keys[change.table] if named else ())
            continue
        old: Json = {}
        if isinstance(change, Update):
            found = transaction.reader().rows(*old_values(change))
            old = {"old": dict(zip(change.values, map(_text, found[0]), strict=True))} if len(found) == 1 else {}
        made = statement(change, moment, keys[change.table])
        key = transaction.change(made.sql, made.values, made.table, made.columns)
        yield {
            "change": type(change).__name__.lower(),
            "table": change.table,
            "key": dict(zip(keys[change.table], map(_text, key), strict=True)),
            "values": {name: recorded(value) for name, value in new_values(change, moment).items()},
            **old,
        }


def _filled(transaction: Writing, change: Copies, moment: datetime, named: tuple[str, ...]) -> Json:
    """Makes as many rows as one statement does; as one record, whose key they share."""
    made = statement(change, moment, named)
    found = transaction.fill(made.sql, made.values, made.table, made.count)
    new = {name: recorded(value) for name, value in new_values(change, moment).items()}
    key = {name: new.pop(name, _exchanged(change, name, value)) for name, value in change.key.items()}
    record: Json = {"change": "copies", "table": change.table, "key": key, "values": new, "count": made.count}
    if change.between:
        name, *bounds = change.between
        record["between"] = [name, *(_exchanged(change, name, bound) for bound in bounds)]
    if named:
        record["each"] = [dict(zip(named, map(_text, each), strict=True)) for each in found]
    return record


def _exchanged(change: Copies, name: str, value: Value) -> object:
    """A value of an original as the new row has it."""
    return value.replace(*change.replaced) if name in change.within and isinstance(value, str) else _text(value)


def is_awaited() -> bool:
    """Whether the answer will be read: where the process that asked was killed, what is not recorded must not be appended."""
    looking = select.poll()
    looking.register(sys.stdout.fileno(), 0)
    return not any(event & (select.POLLERR | select.POLLNVAL) for _, event in looking.poll(0))


def _look_after(transaction: Writing, path: Path, plan: RetryPlan) -> tuple[Json, bool]:
    """Facts after the commit. Whatever goes wrong here, it was appended."""
    try:
        return _facts(transaction.after(), path, plan.new_run), True
    except DurascopeError:
        return {}, False


def _facts(reader: Reader, path: Path, run_id: str) -> Json:
    run = engine_for(reader).run(run_id)
    state = look(path)
    return {
        "run": run.id,
        "status": run.native_status,
        "opened": reader.opened.value,
        "file": {"device": state.main.device, "inode": state.main.inode, "size_bytes": state.facts().size_bytes},
    }


def _described(plan: RetryPlan) -> Json:
    return {
        "again": [asdict(part) for part in plan.again],
        "kept": [asdict(part) for part in plan.kept],
        "guards": list(plan.guards),
        "effects": list(plan.effects),
        "warnings": list(plan.warnings),
    }


def refusal(refused: Mapping[str, Any]) -> DurascopeError:
    """The error of the process, raised again here."""
    kind = getattr(errors, refused["error"])
    if kind is AlreadyRetried:
        return AlreadyRetried(refused["detail"], remedy=refused["remedy"], run=refused["run"])
    error: DurascopeError = kind(refused["detail"], remedy=refused["remedy"])
    return error


def _read_appended(answer: Mapping[str, Any]) -> Appended:
    exact = {
        "operation": Operation(answer["operation"]),
        "at": parse_instant(answer["at"]),
        "rows": tuple(answer["rows"]),
    }
    return Appended(**{**answer, **exact})


def _written(options: Options) -> Json:
    return {**asdict(options), "operation": options.operation.value if options.operation else None}


def _text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def mark_at(place: str) -> str:
    """The mark of the file that lies there now. Raises Unreadable."""
    return file_mark(look(Path(place)).identity)


def file_mark(identity: Identity) -> str:
    device, inode = identity
    return hashlib.sha256(f"{device}:{inode}".encode()).hexdigest()[:16]


def module_path() -> str:
    """Where the process finds this package, wherever it is started."""
    home = str(Path(runs.__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))


if __name__ == "__main__":
    sys.exit(main())
