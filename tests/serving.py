"""The real command as a process of its own: started on a free port, asked over HTTP, ended with a signal."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "inspector.cli")
READY = re.compile(r"Durascope serves .* at (http://\S+/)\n")
DEADLINE = 60.0  # seconds that anything may take, on a machine that does much else


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Served:
    """A running ``durascope``: its address, the line it printed, and the process."""

    url: str
    line: str
    process: subprocess.Popen[str]
    rest: str = field(default="")
    errors: str = field(default="")

    def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """One request, its path sent exactly as given. Header names: ``Accept_Language`` for Accept-Language."""
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=DEADLINE)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    @property
    def gone(self) -> bool:
        """Whether no process of it is left: it was started as a group of its own."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it and returns its exit code; ``rest`` and ``errors`` are what else it printed."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.rest, self.errors = self.process.communicate(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode


def environment(*path: Path, **variables: str) -> dict[str, str]:
    """Ours, without settings of the person who runs the tests; ``path`` is where modules are looked for first."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DURASCOPE_")}
    return {**clean, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT))), **variables}


def run(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@contextmanager
def served(
    *arguments: str,
    cwd: Path | None = None,
    command: tuple[str, ...] = COMMAND,
    path_first: Path | None = None,
    **variables: str,
) -> Iterator[Served]:
    """The command, serving on a free port from when its line is printed."""
    process = subprocess.Popen(
        [*command, *arguments, "--port", "0"],
        cwd=cwd,
        env=environment(*filter(None, [path_first]), **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    match = READY.fullmatch(line)
    running = Served(match[1] if match else "", line, process)
    try:
        if match is None:
            running.stop()
            raise AssertionError(f"It did not start: {line!r} {running.rest!r} {running.errors!r}")
        yield running
    finally:
        if process.returncode is None:
            running.stop()


def eventually(check: object, seconds: float = DEADLINE) -> bool:
    """Whether ``check()`` becomes true within the time; it is asked ten times a second."""
    assert callable(check)
    until = time.monotonic() + seconds
    while not check():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
