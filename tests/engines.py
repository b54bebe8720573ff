"""Live DBOS applications as processes of their own, of the installed release or of another in its own environment."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runs import payloads
from runs.engines import engine_for
from runs.sources.base import Reader
from runs.sources.sqlite import SqliteSource
from tests.dbos_files import sql

ROOT = Path(__file__).parent.parent
APPLICATION = ROOT / "tests" / "live" / "dbos" / "application.py"
ENVIRONMENTS = ROOT / ".pytest_cache" / "engines"
DEADLINE = 60.0  # seconds for a retry to end, on a machine that does much else


class Application:
    """A running application; ``folder`` holds its database and what its steps wrote."""

    def __init__(self, folder: Path, name: str, version: str, command: tuple[str, ...]) -> None:
        self.folder = folder
        self.database = folder / "live.sqlite"
        self._process = subprocess.Popen(
            [*command, str(folder), name],
            cwd=folder,
            env={**os.environ, "DBOS__APPVERSION": version},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._await("launched")

    def ask(self, what: str) -> None:
        """``start``, ``one`` or what else it knows; returns when it has ended."""
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        self._await("ended")

    def stop(self) -> None:
        if self._process.poll() is None:
            try:
                self._process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.communicate()

    def _await(self, word: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # releases print greetings of their own
            if line.strip() == word:
                return
        assert self._process.stderr is not None
        raise AssertionError(f"the application ended: {self._process.stderr.read()[-2000:]}")


@contextmanager
def application(
    folder: Path,
    *,
    name: str = "shop",
    version: str = "v1",
    python: str = sys.executable,
    program: Path = APPLICATION,
) -> Iterator[Application]:
    command = (str(program),) if program.suffix != ".py" else (python, "-W", "ignore", str(program))
    running = Application(folder, name, version, command)
    try:
        yield running
    finally:
        running.stop()


def release(version: str) -> str:
    """The Python of an environment with that release of dbos, made where it is missing."""
    python = ENVIRONMENTS / f"dbos-{version}" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", f"dbos=={version}"]
    subprocess.run(pip, check=True)
    return str(python)


def build_go() -> Path:
    """The application in Go, built where that has not been done."""
    program = ENVIRONMENTS / "dbos-go" / "application"
    build = ["go", "build", "-buildvcs=false", "-o", str(program), "."]
    subprocess.run(build, cwd=ROOT / "tests" / "live" / "dbos-go", check=True)
    return program


def executed(folder: Path) -> dict[str, list[str]]:
    """The steps that each run really ran, in order."""
    found: dict[str, list[str]] = {}
    for line in (folder / "executed").read_text().splitlines() if (folder / "executed").exists() else ():
        run, step = line.split(" ")
        found.setdefault(run, []).append(step)
    return found


def wait_until_ended(database: Path, runs: list[str]) -> dict[str, str]:
    """The native status of each run, when all have ended, or after DEADLINE."""
    until = time.monotonic() + DEADLINE
    while True:
        statuses = dict(sql(database, "SELECT workflow_uuid, status FROM workflow_status"))
        found = {run: statuses[run] for run in runs}
        if not {"ENQUEUED", "PENDING"} & set(found.values()) or time.monotonic() > until:
            return found
        time.sleep(0.1)


def output(database: Path, run: str) -> Any:
    """What a run returned."""

    def read(reader: Reader) -> Any:
        body = engine_for(reader).payload(run, "run.output")
        return payloads.to_json(payloads.decode(body.payload.encoding, body.data).tree)

    return json.loads(json.dumps(SqliteSource(database, "live").read(read)))
