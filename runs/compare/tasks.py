"""Comparisons that take longer than a page may: each is asked for by a file in the folder of comparisons, and made by a process.

``KEY.request`` is what is asked; whoever makes it holds a lock on that file, which the kernel gives back when it is killed.
``KEY.progress`` is how far it is, or how it ended without a comparison; ``KEY.cancel`` stops it; ``KEY.starts`` counts
its beginnings.
``python -m runs.compare.tasks FOLDER KEY`` makes one where no jobs process may be started.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runs.catalogue import Database
from runs.compare import making, reading
from runs.compare.encoding import decode, encode
from runs.compare.records import Options, Progress
from runs.errors import DurascopeError
from runs.sources.sqlite import SqliteSource

REQUEST, PROGRESS, CANCEL, STARTS = ".request", ".progress", ".cancel", ".starts"
COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "runs.compare.tasks")
MOST_STARTS = 3  # then it is not begun again: whatever ends its process will do so again
TELL_SECONDS = 0.25  # between two looks at whether it was cancelled, and two notes of how far it is

_started: list[subprocess.Popen[bytes]] = []


class Cancelled(Exception):
    """It is not wanted any more."""


def ask(folder: Path, key: str, a: Database, b: Database, options: Options) -> bool:
    """Asks for a comparison. Whether nobody had asked for the very same before."""
    sides = {name: {"place": database.source.place, "slug": database.slug} for name, database in (("a", a), ("b", b))}
    asked = {**sides, "options": encode(options), "asked": time.time_ns()}
    part = folder / f"{key}.{uuid.uuid4().hex[:8]}.part"
    part.write_text(json.dumps(asked))
    try:
        (folder / f"{key}{REQUEST}").hardlink_to(part)
    except FileExistsError:
        return False
    finally:
        part.unlink()
    for suffix in (PROGRESS, CANCEL, STARTS):
        (folder / f"{key}{suffix}").unlink(missing_ok=True)
    return True


def asked(folder: Path, key: str) -> bool:
    """Whether it is asked for, and neither made nor given up."""
    return (folder / f"{key}{REQUEST}").exists()


def requests(folder: Path) -> list[str]:
    """The keys of all that is asked for, the first first."""
    found = []
    for path in folder.glob(f"*{REQUEST}"):
        with suppress(OSError):
            found.append((path.stat().st_mtime_ns, path.name.removesuffix(REQUEST)))
    return [key for _, key in sorted(found)]


def asked_at(folder: Path, key: str) -> int:
    """When, in nanoseconds since 1970: it tells one request from a later one for the same. 0 where it is not asked for."""
    found = _request(folder, key)
    return int(found["asked"]) if found else 0


def progress_of(folder: Path, key: str) -> Progress | None:
    """How far it is, or how it ended without a comparison."""
    try:
        return decode(Progress, json.loads((folder / f"{key}{PROGRESS}").read_text()))
    except (OSError, ValueError):
        return None


def worked_on(folder: Path, key: str) -> bool:
    """Whether a process is making it."""
    with _alone(folder, key) as alone:
        return not alone


def cancel(folder: Path, key: str) -> None:
    """Stops it, whoever makes it."""
    if not asked(folder, key):
        return
    (folder / f"{key}{CANCEL}").touch()
    with _alone(folder, key) as alone:
        if alone:
            _end(folder, key, Progress("", 0, 0, cancelled=True))


def forget(folder: Path, key: str) -> None:
    """Removes what is said of how it ended."""
    if not asked(folder, key):
        (folder / f"{key}{PROGRESS}").unlink(missing_ok=True)


def start(folder: Path, key: str) -> None:
    """Starts a process that makes it, and outlives whoever started it."""
    _started[:] = [process for process in _started if process.poll() is None]
    _started.append(
        subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            [*COMMAND, os.fspath(folder), key],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": reading.module_path()},
            start_new_session=True,
        )
    )


def make(folder: Path, key: str, *, patience: float = 1) -> str:
    """Makes what is asked for; how it ended, in a word: ``left`` where another process makes it, or nobody asks any more.

    ``patience``: how many seconds to wait for that process, which may be killed; or which only looks.
    """
    with _alone(folder, key, patience) as alone:
        request = _request(folder, key)
        if not alone or not request:
            return "left"
        a, b = (
            # Not from the catalogue: that looks into every file that is served.
            Database(SqliteSource(Path(request[name]["place"]), request[name]["slug"]))
            for name in ("a", "b")
        )
        teller = _Teller(folder, key)
        try:
            with (folder / f"{key}{STARTS}").open("ab") as starts:
                starts.write(b".")
                tried = starts.tell()
            if tried > MOST_STARTS:
                raise DurascopeError(f"The process that compares was ended {MOST_STARTS} times.")
            making.compare(a, b, decode(Options, request["options"]), folder, teller.tell)
        except Cancelled:
            _end(folder, key, Progress(teller.stage, 0, 0, cancelled=True))
            return "cancelled"
        except Exception as problem:
            # Whatever it is must be told: nobody sees this process, and it would be started again.
            words = str(problem) if isinstance(problem, DurascopeError) else f"{type(problem).__name__}: {problem}"
            _end(folder, key, Progress(teller.stage, 0, 0, problem=words))
            return "failed"
        _end(folder, key, None)
        return "made"


def _end(folder: Path, key: str, said: Progress | None) -> None:
    if said:
        _say(folder, key, said)
    else:
        (folder / f"{key}{PROGRESS}").unlink(missing_ok=True)
    for suffix in (CANCEL, STARTS, REQUEST):
        (folder / f"{key}{suffix}").unlink(missing_ok=True)


def _say(folder: Path, key: str, said: Progress) -> None:
    part = folder / f"{key}.{uuid.uuid4().hex[:8]}.part"
    part.write_text(json.dumps(encode(said)))
    part.replace(folder / f"{key}{PROGRESS}")


def _request(folder: Path, key: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / f"{key}{REQUEST}").read_text())
    except (OSError, ValueError):
        return None
    return found


@contextmanager
def _alone(folder: Path, key: str, patience: float = 0) -> Iterator[bool]:
    """Whether nobody else makes it; nobody does where it is not asked for."""
    until = time.monotonic() + patience
    file = _locked(folder, key)
    while file is None and time.monotonic() < until:
        time.sleep(0.05)
        file = _locked(folder, key)
    try:
        yield file is not None
    finally:
        if file:
            os.close(file)


def _locked(folder: Path, key: str) -> int | None:
    """The request with its lock, 0 where there is no request, None where somebody else has its lock."""
    try:
        file = os.open(folder / f"{key}{REQUEST}", os.O_RDWR)
    except FileNotFoundError:
        return 0
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


class _Teller:
    """Notes how far it is, now and then, and stops where it is cancelled."""

    def __init__(self, folder: Path, key: str) -> None:
        self.stage = ""
        self._folder, self._key = folder, key
        self._next = 0.0

    def tell(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == self.stage and now < self._next:
            return
        self.stage, self._next = stage, now + TELL_SECONDS
        if (self._folder / f"{self._key}{CANCEL}").exists():
            raise Cancelled
        _say(self._folder, self._key, Progress(stage, done, total))


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2])
