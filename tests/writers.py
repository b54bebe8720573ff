"""Other processes that hold, write and abandon databases, as engines do: sqlite3 of Python, told what to do by line."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROWS = 2000
_PROGRAM = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    connection.execute(line).fetchall()
    print("done", flush=True)
connection.close()
"""


class Writer:
    """A process with one connection. ``do`` returns when the statement is done."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def do(self, *statements: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for statement in statements:
            self._process.stdin.write(statement + "\n")
            self._process.stdin.flush()
            assert self._process.stdout.readline() == "done\n", statement

    def stop(self) -> None:
        """Closes as a well-behaved engine does."""
        self._process.communicate()

    def kill(self) -> None:
        """Ends as an engine does that is killed: nothing is folded in, rolled back or removed."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    writer = Writer(path)
    try:
        yield writer
    finally:
        writer.kill()


def make(path: Path, journal: str) -> Path:
    """A closed database in that journal mode: ``notes(id, text)`` with 2,000 rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
    connection.executemany("INSERT INTO notes (text) VALUES (?)", [(f"note {number}",) for number in range(ROWS)])
    connection.commit()
    connection.close()
    return path
