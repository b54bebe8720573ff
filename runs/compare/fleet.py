"""Many pairs of small databases, compared by as many processes as there are cores. Nothing of it is kept.

``python -m runs.compare.fleet OPTIONS CONDITION…`` is such a process: it answers each line of its standard input with one, until
there is none. Whatever ends it costs the one pair that it was at.
"""

import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from runs.catalogue import Database
from runs.compare import making, words
from runs.compare.encoding import decode, encode
from runs.compare.failing import Finding, findings
from runs.compare.reading import module_path
from runs.compare.records import Comparison, Options
from runs.errors import DurascopeError, Unreadable
from runs.machine import processors
from runs.sources.sqlite import SqliteSource

COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "runs.compare.fleet")
WORTH_IT = 25  # pairs: what they take, a process takes to begin


@dataclass(frozen=True, slots=True)
class Told:
    """What a fleet's table says of two databases: their relation and what fails the conditions, or the ``problem``."""

    relation: str = ""
    summary: str = ""
    findings: tuple[Finding, ...] = ()
    problem: str = ""


def told(found: Comparison, fail_on: Sequence[str]) -> Told:
    """What is said of a comparison."""
    checked = tuple(finding for finding in findings(found, fail_on) if finding.found)
    return Told(found.relation.value, f"{words.relation(found)} {words.summary(found)}".strip(), checked)


def told_of(
    pairs: Sequence[tuple[Database, Database]], options: Options, fail_on: Sequence[str]
) -> Generator[Told, None, None]:
    """What is said of each of these pairs, in their order."""
    number = min(processors(), len(pairs) // WORTH_IT)
    if number < 2:
        yield from (_told(a, b, options, fail_on) for a, b in pairs)
        return
    idle: SimpleQueue[_Process] = SimpleQueue()
    processes = [_Process(options, fail_on) for _ in range(number)]
    for process in processes:
        idle.put(process)
    threads = ThreadPoolExecutor(number)
    try:
        yield from threads.map(partial(_asked, idle), pairs)
    finally:
        threads.shutdown(cancel_futures=True)
        for process in processes:
            process.stop()


def _told(a: Database, b: Database, options: Options, fail_on: Sequence[str]) -> Told:
    try:
        return told(making.glance(a, b, options), fail_on)
    except DurascopeError as problem:
        return Told(problem=str(problem))


def _asked(idle: "SimpleQueue[_Process]", pair: tuple[Database, Database]) -> Told:
    process = idle.get()
    try:
        return process.ask(*pair)
    finally:
        idle.put(process)


class _Process:
    """A process that compares one pair after another; a new one where it ended early."""

    def __init__(self, options: Options, fail_on: Sequence[str]) -> None:
        self._command = (*COMMAND, json.dumps(encode(options)), *fail_on)
        self._start()

    def ask(self, a: Database, b: Database) -> Told:
        sides = [[each.source.place, each.slug] for each in (a, b)]
        try:
            self._input.write(json.dumps(sides) + "\n")
            self._input.flush()
            return decode(Told, json.loads(self._output.readline()))
        except (OSError, ValueError):
            self.stop()
            self._start()
            return Told(problem=str(Unreadable("The process that compared them ended early.")))

    def stop(self) -> None:
        """Ends it, whatever it is at."""
        self._process.kill()
        self._process.communicate()

    def _start(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": module_path()},
        )
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018  both were asked for
        self._input, self._output = self._process.stdin, self._process.stdout


def main(options: str, *fail_on: str) -> None:
    """The process."""
    wanted = decode(Options, json.loads(options))
    for line in sys.stdin:
        a, b = (Database(SqliteSource(Path(place), slug)) for place, slug in json.loads(line))
        print(json.dumps(encode(_told(a, b, wanted, fail_on))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
