"""What is measured: servers as their users start them, each a process of its own, and what they cost: time, CPU, memory."""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.serving import served

TICKS = os.sysconf("SC_CLK_TCK")
DEADLINE = 120.0
ARGUS, DATASETTE = "dbos-argus==0.0.41", "datasette"


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one request, asked several times: milliseconds until the whole answer was there, CPU milliseconds of the server."""

    median: float
    best: float
    cpu: float
    size: int  # bytes of the body, as sent


@dataclass(frozen=True, slots=True)
class Subject:
    """A running server."""

    name: str
    url: str
    pid: int

    def processes(self) -> list[int]:
        """Its processes: the one that was started and all below it."""
        parents = dict(_parents())
        found = [self.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def workers(self) -> list[int]:
        """Those that answer: the processes that were started by the first, or it alone."""
        return self.processes()[1:] or [self.pid]

    def cpu(self) -> float:
        """Seconds that all its processes have computed."""
        return sum(_cpu(pid) for pid in self.processes())

    def ask(self, path: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
        """One request on a connection of its own."""
        with self._connection() as connection:
            return _ask(connection, path, headers)

    def timed(self, path: str, times: int = 15, **headers: str) -> Timing:
        """Asked again and again on one connection, which is one worker's, after three times that don't count."""
        with self._connection() as connection:
            for _ in range(3):
                _ask(connection, path, headers)
            computed = self.cpu()
            took: list[float] = []
            for _ in range(times):
                began = time.perf_counter()
                status, _, body = _ask(connection, path, headers)
                took.append(time.perf_counter() - began)
                if status >= 400:
                    raise AssertionError(f"{self.name} {path}: {status} {body[:300]!r}")
            return Timing(
                statistics.median(took) * 1000, min(took) * 1000, (self.cpu() - computed) / times * 1000, len(body)
            )

    def first(self, path: str, **headers: str) -> float:
        """Milliseconds of one request, asked once."""
        began = time.perf_counter()
        status, _, body = self.ask(path, **headers)
        if status >= 400:
            raise AssertionError(f"{self.name} {path}: {status} {body[:300]!r}")
        return (time.perf_counter() - began) * 1000

    @contextmanager
    def _connection(self) -> Iterator[HTTPConnection]:
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=DEADLINE)
        try:
            yield connection
        finally:
            connection.close()


def memory(pid: int) -> float:
    """MB that a process has in memory, what it shares with others among them."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    return 0.0


def forget(*files: Path) -> None:
    """Takes files out of the page cache: what is read of them next comes from the disk. Never a file that an engine writes."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


@contextmanager
def durascope(folder: Path, *arguments: str, **variables: str) -> Iterator[Subject]:
    """``durascope serve`` on gunicorn with as many workers as it chooses."""
    settings = {"DURASCOPE_STATE": str(folder / "state")} | variables
    with served("serve", *arguments, cwd=folder, **settings) as running:
        yield Subject("durascope", running.url, running.process.pid)


@contextmanager
def argus(folder: Path, database: Path) -> Iterator[Subject | None]:
    """dbos-argus, or None where it can't be had; why is said."""
    python = next(filter(None, map(_at_least_312, _pythons())), None)
    if python is None:
        print("skipped: dbos-argus needs Python 3.12, and there is none")
        yield None
        return
    command = _installed(folder / "argus", python, ARGUS) / "dbos-argus"
    url = f"sqlite+aiosqlite:///{database}"
    with _started(
        "argus", folder, lambda port: [str(command), "--db-url", url, "--port", port, "--log-level", "error"]
    ) as subject:
        yield subject


@contextmanager
def datasette(folder: Path, database: Path) -> Iterator[Subject | None]:
    """datasette on the same file, as an immutable one would not be: somebody may write it."""
    command = _installed(folder / "datasette", sys.executable, DATASETTE) / "datasette"
    settings = ["--setting", "sql_time_limit_ms", "60000"]
    with _started(
        "datasette", folder, lambda port: [str(command), "serve", str(database), "--port", port, *settings]
    ) as subject:
        yield subject


@contextmanager
def _started(name: str, folder: Path, command: Callable[[str], Sequence[str]]) -> Iterator[Subject | None]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command(str(port)), stdout=log, stderr=log, cwd=folder)
    subject = Subject(name, f"http://127.0.0.1:{port}/", process.pid)
    try:
        if _answers(subject, process):
            yield subject
        else:
            print(f"skipped: {name} did not start, see {folder / f'{name}.log'}")
            yield None
    finally:
        process.terminate()
        process.wait(30)


def _answers(subject: Subject, process: "subprocess.Popen[bytes]") -> bool:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until and process.poll() is None:
        try:
            subject.ask("/")
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _installed(folder: Path, python: str, requirement: str) -> Path:
    """The folder of the commands of an environment with that package, made where it is missing."""
    if not (folder / "complete").exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, requirement], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def _pythons() -> Iterator[str]:
    yield sys.executable
    for minor in range(12, 16):
        if found := shutil.which(f"python3.{minor}"):
            yield found
    yield from map(str, sorted(Path("~/.pyenv/versions").expanduser().glob("3.1[2-9]*/bin/python")))


def _at_least_312(python: str) -> str | None:
    program = "import sys; sys.exit(sys.version_info < (3, 12))"
    return (
        None if subprocess.run([python, "-c", program], stderr=subprocess.DEVNULL, check=False).returncode else python
    )


def _ask(connection: HTTPConnection, path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"} | named)
    answer = connection.getresponse()
    found, body = {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    # Whoever is sent on has not seen the page yet.
    return _ask(connection, found["location"], headers) if answer.status == 302 else (answer.status, found, body)


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has just ended
                continue


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:13])) / TICKS
