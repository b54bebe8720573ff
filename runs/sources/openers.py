"""Which other processes have a file open, as far as this account may know: from /proc, where there is one. It is not opened.

Files are compared by device and inode, not by name: in a container the same file has another path.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Openers:
    """Id and name of each process that was found; ``all_seen``: whether this account could look into every other one."""

    processes: tuple[tuple[int, str], ...]
    all_seen: bool


def openers(path: Path) -> Openers | None:
    """The other processes that have the file, or its -wal, open; None where that can't be told at all."""
    if not (PROC / "self" / "fd").is_dir():
        return None
    real = os.path.realpath(path)
    wanted = {found for name in (real, f"{real}-wal") if (found := _identity(name))}
    processes: list[tuple[int, str]] = []
    all_seen = True
    for pid in _processes():
        if pid == os.getpid():
            continue
        try:
            if any(found in wanted for found in _open(pid)):
                processes.append((pid, _name(pid)))
        except PermissionError:
            all_seen = False
    return Openers(tuple(processes), all_seen)


def _processes() -> Iterator[int]:
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            yield int(entry.name)


def _open(pid: int) -> Iterator[tuple[int, int] | None]:
    """Device and inode of each file that the process has open. Raises PermissionError where it is another account's."""
    try:
        entries = list(os.scandir(PROC / str(pid) / "fd"))
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return
    for entry in entries:
        yield _identity(entry.path)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        about = os.stat(path)  # noqa: PTH116 - thousands of them
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _name(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return "?"
